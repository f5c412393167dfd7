"""Names of classes as they are compared: with their synonyms and WordNet numbers, without what nobody sees."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["class_pairs", "folded", "ways_of"]

_WNID = re.compile(r"(n\d{8})[\s:,_-]+(.+)")


def class_pairs(first: Sequence[str], second: Sequence[str]) -> dict[int, int]:
    """Which class of a second model each class of a first one is, by their names: whole names first, then synonyms.

    A class whose name stands for none there, or for several, has no entry.
    """
    found: dict[int, int] = {}
    for whole in (True, False):
        places: dict[str, set[int]] = {}
        for k, name in enumerate(second):
            for way in _called(name, whole):
                places.setdefault(way, set()).add(k)
        for k, name in enumerate(first):
            hits = {place for way in _called(name, whole) for place in places.get(way, ())}
            if k not in found and len(hits) == 1:
                found[k] = hits.pop()
    return found


def _called(name: str, whole: bool) -> list[str]:
    """What a class is called, as names are compared; ``whole``: without its single synonyms."""
    ways = ways_of(name)
    return [folded(way) for way in (ways[: 2 if _WNID.fullmatch(name) else 1] if whole else ways)]


def ways_of(name: str) -> list[str]:
    """What else a label is called: its synonyms, and its WordNet number where it begins with one."""
    found = _WNID.fullmatch(name)
    number, rest = (found[1], found[2]) if found else ("", name)
    return [*([number] if number else []), rest, *rest.split(",")]


def folded(name: str) -> str:
    """A name as names are compared: as cards keep them, without what cannot be printed, and without case."""
    return "".join(c for c in name if c.isprintable()).strip().casefold()
