"""What a person gives, ready for the model: tensors, names, and what is needed to show the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xplain.core.arrays import behind
from xplain.core.card import Card
from xplain.core.caveat import Caveat, joined, of_items
from xplain.core.edits import Array
from xplain.core.positions.coordinates import UNSTATED, Coordinates
from xplain.core.positions.layout import Doubt, Layout

__all__ = ["Columns", "Items", "Passage"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table.

    Args:
        names: S names.
        values: What each item holds, as a person wrote it: N tuples of S texts.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...] = ()

    def __getitem__(self, some: slice) -> Columns:
        """The same columns of some of the items."""
        return Columns(self.names, self.values[some])

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any] | None) -> Columns | None:
        """What ``dataclasses.asdict`` made, also after a journey through JSON."""
        return None if raw is None else cls(tuple(raw["names"]), tuple(tuple(row) for row in raw["values"]))


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and its features.

    Args:
        text: The text as it was given.
        spans: Start and end of each feature in ``text``, half open, in characters; they do not overlap.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The features as text."""
        return tuple(self.text[start:stop] for start, stop in self.spans)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Passage:
        """What ``dataclasses.asdict`` made, also after a journey through JSON."""
        return cls(raw["text"], tuple((start, stop) for start, stop in raw["spans"]))


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Items ready for the model.

    Args:
        x: Tensors ``[N, *item]``.
        names: What each is called.
        pictures: uint8 ``[N, H, W, 3]``, what the model sees, for drawing; or None.
        card: How pictures became tensors, or None.
        columns: The columns, if the items are rows of a table.
        texts: The texts, one per item, if the items are texts.
        layout: How the axes of ``x`` are named, resolved once when the items are read; or what is in doubt.
        warnings: What was done to an item on reading that a person must know.
        sizes: Height and width of each picture as it was given, which the card may have changed; empty for others.
        coordinates: What the axes of the items measure, as the card states it.
        facts: What every result says of these items as a whole, such as which inputs a row holds.
        each: The same of each of them: name to a list of N or an array ``[N, ...]``.
    """

    x: Array
    names: tuple[str, ...]
    pictures: Array | None = None
    card: Card | None = None
    columns: Columns | None = None
    texts: tuple[Passage, ...] = ()
    layout: Layout | Doubt | None = None
    warnings: tuple[Caveat, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    coordinates: Coordinates = UNSTATED
    facts: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: slice) -> Items:
        """Some of the items, with what is known of them."""
        columns = self.columns
        return replace(
            self,
            x=self.x[some],
            names=self.names[some],
            pictures=None if self.pictures is None else self.pictures[some],
            columns=columns if columns is None else replace(columns, values=columns.values[some]),
            texts=self.texts[some],
            sizes=self.sizes[some],
            each={name: entries[some] for name, entries in self.each.items()},
            warnings=of_items(self.warnings, range(*some.indices(len(self)))),
        )

    def alike(self, other: Items) -> bool:
        """Whether the items of both can stand in one batch: of one shape and type, read in one way."""

        def way(one: Items) -> tuple[Any, ...]:
            names = None if one.columns is None else one.columns.names
            shown = tuple((name, np.shape(entries)[1:]) for name, entries in one.each.items())
            how = one.card, one.layout, one.coordinates, one.pictures is None
            return one.x.shape[1:], one.x.dtype, *how, names, shown

        return way(self) == way(other) and not (self.texts or other.texts)  # whose codes are of their own items

    @classmethod
    def joined(cls, parts: Sequence[Items]) -> Items:
        """Items that are ``alike``, one behind the other."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return replace(
            first,
            x=behind([one.x for one in parts]),
            names=tuple(name for one in parts for name in one.names),
            pictures=None if first.pictures is None else np.concatenate([one.pictures for one in parts]),
            sizes=tuple(size for one in parts for size in one.sizes),
            columns=first.columns
            if first.columns is None
            else replace(
                first.columns, values=tuple(row for one in parts if one.columns for row in one.columns.values)
            ),
            each={name: _behind([one.each[name] for one in parts]) for name in first.each},
            warnings=joined([(one.warnings, len(one)) for one in parts]),
        )


def _behind(entries: Sequence[Any]) -> Any:
    """Lists, or arrays, one behind the other."""
    if all(isinstance(one, np.ndarray) for one in entries):
        return np.concatenate(entries)
    return [entry for one in entries for entry in one]
