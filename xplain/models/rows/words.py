"""Where the words of a text are, and what a text is without some of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown

__all__ = ["SPLITS", "Spans", "Split", "called_of", "rebuilt", "split_with", "texts_of"]

Spans: TypeAlias = tuple[tuple[int, int], ...]
Split: TypeAlias = Callable[[str], Sequence[tuple[int, int]]]

_WORD = r"\w+(?:['’\-]\w+)*"
SPLITS = {
    "words": re.compile(_WORD),
    "marks": re.compile(rf"{_WORD}|[^\w\s]"),
    "sentences": re.compile(r"[^.!?\s][^.!?]*[.!?]*"),
    "characters": re.compile(r"\S"),
}
"""``words`` (``don't`` and ``well-made`` are one each; punctuation always stays), ``marks`` (punctuation marks are
features too), ``sentences``, ``characters``."""

_CLINGS = ",.;:!?)]}»”’%"  # marks that follow a word without a space


def split_with(split: str | Split, text: str) -> Spans:
    """The spans of a text's features, half open.

    Raises:
        UnknownName: no such way of splitting.
        UsageError: a function's spans are no increasing, separate parts of the text.
    """
    if callable(split):
        spans = tuple((int(start), int(stop)) for start, stop in split(text))
        ends = [0, *[edge for span in spans for edge in span], len(text)]
        if any(left > right for left, right in pairwise(ends)) or any(a == b for a, b in spans):
            raise UsageError(
                f"split: the spans {list(spans)[:8]} are no separate parts, in order, of a text of {len(text)}."
            )
        return spans
    if split not in SPLITS:
        raise unknown("split", split, [*SPLITS, "tokens", "ids"])
    return tuple(found.span() for found in SPLITS[split].finditer(text))


def rebuilt(text: str, spans: Spans, present: Array, mask: str | None = None) -> str:
    """The text with the spans where ``present`` is false deleted, or each replaced by ``mask``.

    A deleted word takes one of the gaps beside it along, so that no double space is left and a comma closes up.
    """
    parts: list[str] = []
    at = 0
    for k in np.flatnonzero(~np.asarray(present[: len(spans)], bool)):
        start, stop = spans[k]
        parts.append(text[at:start])
        at = stop
        if mask is not None:
            parts.append(mask)
            continue
        _drop_empty(parts)
        after = text[stop : stop + 1]
        if not parts or parts[-1][-1].isspace():
            while parts and (after in _CLINGS or after.isspace()):  # also at the end, where after is empty
                parts[-1] = parts[-1].rstrip()
                if parts[-1]:
                    break
                parts.pop()
            if not parts:
                at += _spaces(text, stop)
    parts.append(text[at:])
    return "".join(parts)


def _drop_empty(parts: list[str]) -> None:
    while parts and not parts[-1]:
        parts.pop()


def _spaces(text: str, start: int) -> int:
    """How many spaces follow a place."""
    at = start
    while at < len(text) and text[at].isspace():
        at += 1
    return at - start


def texts_of(source: Any, model: str) -> list[str]:
    """What a person gives as a list of texts.

    Raises:
        UsageError: no text.
    """
    given = [source] if isinstance(source, str) else list(source) if isinstance(source, Sequence) else None
    if given is None or not all(isinstance(one, str) for one in given):
        raise UsageError(f"The items are {type(source).__name__}; {model} takes a text or a list of texts.")
    if not given:
        raise UsageError("There is nothing to explain: the list of texts is empty.")
    return given


def called_of(texts: Sequence[str]) -> list[str]:
    """What each text is called in a message."""
    return ["The text"] if len(texts) == 1 else [f"Text {n}" for n in range(1, len(texts) + 1)]
