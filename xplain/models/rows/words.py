"""Where the words of a text are, and what a text is without some of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown

__all__ = ["SPLITS", "Spans", "Split", "rebuilt", "split_with"]

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
        raise unknown("split", split, [*SPLITS, "tokens"])
    return tuple(found.span() for found in SPLITS[split].finditer(text))


def rebuilt(text: str, spans: Spans, present: Array, mask: str | None = None) -> str:
    """The text with the spans where ``present`` is false deleted, or each replaced by ``mask``.

    A deleted word takes one of the gaps beside it along, so that no double space is left and a comma closes up.
    """
    parts: list[str] = []
    at = 0
    for (start, stop), here in zip(spans, present, strict=False):
        parts.append(text[at:start])
        at = stop
        if here:
            parts.append(text[start:stop])
        elif mask is not None:
            parts.append(mask)
        else:
            before = "".join(parts)
            after = text[stop : stop + 1]
            if not before or before[-1].isspace():
                if after in _CLINGS or after.isspace():  # also at the end, where after is empty
                    before = before.rstrip()
                if not before:
                    at += len(text[stop:]) - len(text[stop:].lstrip())
            parts = [before]
    parts.append(text[at:])
    return "".join(parts)
