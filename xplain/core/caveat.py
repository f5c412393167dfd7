"""What a person must know before they believe a result: the one channel for warnings.

Methods put caveats into ``Reading.warnings``, models into ``Outline.warnings``; ``Result.warnings`` holds both,
and the command line, the figure, the page, the notebook and ``str`` show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from xplain.core.declaring.wording import Words, said
from xplain.core.keeping.plain import plain

__all__ = ["Caveat", "Kind", "caveat_of", "each", "joined", "of_items", "sentences", "worded"]

Kind: TypeAlias = Literal[
    "incomplete",
    "budget",
    "baseline",
    "empty",
    "rejected",
    "unchanged",
    "layout",
    "input",
    "output",
    "units",
    "model",
    "other",
]
"""What a caveat is about, for programs: values that do not add up, a sample cut short, what hidden parts become, a map
without a positive value, a rule that was not accepted, rules that change nothing, axes, what was done to the input,
which output is read, what a unit of the values means, how the model was run, anything else."""

_MOST_NAMES = 3
"""Items that a sentence names before it counts."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """One warning.

    Args:
        text: One or more sentences for a person: what is so, what it means, and what to do. The first one stands alone,
            for a figure has room for no more. A ``Sentence`` where it names options.
        kind: What it is about, for a program.
        item: Index of the item that it is about; None for all.
    """

    text: str
    kind: Kind = "other"
    item: int | None = None

    def __str__(self) -> str:
        return plain(self.text)

    @property
    def brief(self) -> str:
        """The first sentence."""
        first, stop, _ = self.text.partition(". ")
        return first + stop.rstrip()


def worded(caveats: Iterable[Caveat], words: Words) -> tuple[Caveat, ...]:
    """The caveats as a door says them."""
    return tuple(replace(one, text=said(one.text, words)) for one in caveats)


def caveat_of(raw: Mapping[str, Any]) -> Caveat:
    """What ``dataclasses.asdict`` made, also after a journey through JSON; a kind that is not known becomes other."""
    kind = raw.get("kind", "other")
    return Caveat(raw["text"], kind if kind in get_args(Kind) else "other", raw.get("item"))


def each(texts: Iterable[str], kind: Kind = "other") -> tuple[Caveat, ...]:
    """One caveat per item that has something to say; an empty text has nothing."""
    return tuple(Caveat(text, kind, item) for item, text in enumerate(texts) if text)


def of_items(caveats: Iterable[Caveat], items: Sequence[int]) -> tuple[Caveat, ...]:
    """The caveats of some items, which are numbered anew."""
    place = {item: k for k, item in enumerate(items)}
    return tuple(
        one if one.item is None else replace(one, item=place[one.item])
        for one in caveats
        if one.item is None or one.item in place
    )


def joined(parts: Sequence[tuple[Sequence[Caveat], int]]) -> tuple[Caveat, ...]:
    """The caveats of attributions laid one after another: (caveats, number of items) of each.

    What all of them say of all their items is said of all; what some say is said of their items.
    """
    told = [{(one.text, one.kind) for one in caveats if one.item is None} for caveats, _ in parts]
    common = set.intersection(*told) if told else set()
    found = [Caveat(one.text, one.kind) for one in parts[0][0] if (one.text, one.kind) in common] if parts else []
    start = 0
    for caveats, count in parts:
        for one in caveats:
            if (one.text, one.kind) not in common:
                of = range(count) if one.item is None else (one.item,)
                found += [replace(one, item=start + item) for item in of]
        start += count
    return tuple(dict.fromkeys(found))


def sentences(caveats: Sequence[Caveat], names: Sequence[str], brief: bool = False) -> list[str]:
    """The caveats as texts for a person, each with the items it is about where it is not about all.

    Args:
        caveats: Of one attribution.
        names: What its items are called.
        brief: The first sentence of each.
    """
    about: dict[str, list[int | None]] = {}
    for one in caveats:
        about.setdefault(one.brief if brief else one.text, []).append(one.item)
    found = []
    for text, items in about.items():
        of = [item for item in dict.fromkeys(items) if item is not None]
        if None in items or len(names) == len(of):
            found.append(text)
            continue
        called = ", ".join(names[item] for item in of[:_MOST_NAMES])
        more = f" and {len(of) - _MOST_NAMES} more of {len(names)}" if len(of) > _MOST_NAMES else ""
        found.append(f"{called}{more}: {text}")
    return found
