"""Several inputs in one row: where each lies, how its part is laid out, cut into players, and read as a map again.

    row [N, P]   left [3, 16, 16] at 0 | right [3, 16, 16] at 768 | columns [5] at 1536

A method that explains a row knows nothing of its inputs; whoever shows the result cuts it up by these segments, which
therefore travel with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["INPUTS", "Segment", "picture_of", "players", "segments_of", "values_of"]

INPUTS = "inputs"
"""Name of the fact of a result that says what its rows hold."""

_CHANNELS = 4
"""Channels at most of what is taken for a picture."""


def picture_of(name: str) -> str:
    """What a result calls the pictures that were given of an input, uint8 ``[N, H, W, 3]``."""
    return f"{name}: picture"


def values_of(name: str) -> str:
    """What a result calls the numbers that were given of an input, as texts."""
    return f"{name}: values"


@dataclass(frozen=True, eq=False)
class Segment:
    """What the row holds of one input.

    Args:
        name: The input.
        shape: Of an item of it, or of what its numbers become.
        start: Where it begins in the row.
        table: What its whole numbers are looked up in, ``[V, *rest]``; None where the row holds the input itself.
        extents: Of an item as a person gives it.
        card: How pictures become this input; None where they do not, or the model's own card says it.
        columns: Names of its numbers, where it is a row of a table.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    table: Array | None = None
    extents: tuple[int, ...] = ()
    card: Card | None = None
    columns: tuple[str, ...] = ()

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + prod(self.shape)

    @property
    def looked_up(self) -> bool:
        """Whether what a person gives are whole numbers, and the row holds what they are looked up as."""
        return self.extents != self.shape

    @property
    def channel(self) -> int | None:
        """The axis of an item that holds channels, or a token's vector, which a map has not; None where none does.

        A picture's channels stand in front, or last where only that axis is short.
        """
        if self.looked_up:
            return len(self.extents)
        if len(self.shape) != 3:
            return None
        return 0 if self.shape[0] <= _CHANNELS else 2 if self.shape[2] <= _CHANNELS else None

    @property
    def pictured(self) -> bool:
        """Whether an item of it is a picture."""
        return self.channel is not None and not self.looked_up

    @property
    def letters(self) -> str:
        """How a picture's axes are named."""
        return "NHWC" if self.channel == 2 else "NCHW"

    @property
    def places(self) -> tuple[int, ...]:
        """The shape of its map."""
        if self.looked_up:
            return self.extents
        return tuple(n for axis, n in enumerate(self.shape) if axis != self.channel)

    def map_of(self, rows: Array, repeated: bool) -> Array:
        """Its map ``[N, *places]`` in values of rows ``[N, P]``.

        Args:
            rows: Values of all inputs.
            repeated: Whether all channels of a position hold the same value, which is taken once, instead of added up.
        """
        own = rows[:, self.start : self.stop].reshape(len(rows), *self.shape)
        axes = tuple(range(1 + len(self.extents), own.ndim)) if self.looked_up else ()
        if self.pictured and self.channel is not None:
            axes = (1 + self.channel,)
        if not axes:
            return np.ascontiguousarray(own)
        return np.ascontiguousarray(own.mean(axis=axes) if repeated else own.sum(axis=axes))

    def players(self, cells: int) -> Array:
        """Which player each of its numbers belongs to, from 0, int ``[size]``; see ``players``."""
        places = self.places
        if self.pictured:
            rows, columns = (np.minimum(np.arange(n) * cells // n, cells - 1) for n in places)
            labels = np.unique(rows[:, None] * cells + columns, return_inverse=True)[1].reshape(places)
            axis = self.channel or 0
            return np.broadcast_to(np.expand_dims(labels, axis), self.shape).reshape(-1)
        size = prod(places)
        return np.repeat(np.arange(size), prod(self.shape) // size)

    def told(self) -> dict[str, Any]:
        """What a result says of it, as plain values; ``segments_of`` reads it."""
        told = {"name": self.name, "shape": list(self.shape), "extents": list(self.extents)}
        return {**told, "columns": list(self.columns)} if self.columns else told


def players(segments: Sequence[Segment], cells: int = 4) -> Array:
    """One set of players over all inputs, int32 ``[P]``: a picture's cells, a token, a column, each alone.

    Args:
        segments: What the row holds.
        cells: Cells per axis of a picture.
    """
    labels, first = [], 0
    for one in segments:
        own = one.players(cells)
        labels.append(own + first)
        first += int(own.max()) + 1
    return np.concatenate(labels).astype(np.int32)


def segments_of(facts: Mapping[str, Any], width: int) -> tuple[Segment, ...]:
    """What the rows of a result hold; none where it is of one input.

    Args:
        facts: Of a result, which may have come from a file that nobody vouches for.
        width: Numbers in a row.

    Raises:
        UsageError: they do not say it.
    """
    told = facts.get(INPUTS)
    if told is None:
        return ()
    found: list[Segment] = []
    start = 0
    try:
        for one in told:
            shape, extents = (tuple(int(n) for n in one[key]) for key in ("shape", "extents"))
            segment = Segment(
                str(one["name"]), shape, start, None, extents, None, tuple(map(str, one.get("columns", ())))
            )
            sound = shape and min(shape) > 0 and extents == shape[: len(extents)] and extents
            if not sound or (segment.columns and len(segment.columns) != prod(shape)):
                raise ValueError
            found.append(segment)
            start = segment.stop
        if start != width or len({one.name for one in found}) < len(found):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UsageError(
            f"The result's fact {INPUTS!r} does not say what its {width} numbers per item belong to; explain again."
        ) from None
    return tuple(found)
