"""Names with options of their own, as one text says them: ``"slic:50,compactness=20"``, ``"deletion:steps=8,road"``."""

from __future__ import annotations

import re

__all__ = ["parsed", "several"]


def parsed(text: str) -> tuple[str, dict[str, str]]:
    """A name with options of its own: ``"slic:50,compactness=20"`` is ``("slic", {"": "50", "compactness": "20"})``.

    The first value may stand without its option's name. A comma parts two options only where a name and ``=`` follow:
    names of layers and columns may have commas of their own.
    """
    name, _, rest = text.partition(":")
    words: dict[str, str] = {}
    for k, word in enumerate(filter(None, _NEXT.split(rest))):
        key, equals, value = word.partition("=")
        if k == 0 and not (equals and _KEY.fullmatch(key)):
            key, value = "", word
        words[key] = value
    return name, words


def several(text: str) -> list[str]:
    """Names with commas between, each with its options: ``"deletion:steps=8,seed=1,road"`` is two."""
    return [one.strip() for one in _BETWEEN.split(text) if one.strip()]


_KEY = re.compile(r"\w[\w-]*")
_NEXT = re.compile(rf",(?={_KEY.pattern}=)")
_BETWEEN = re.compile(rf",(?!{_KEY.pattern}=)")
