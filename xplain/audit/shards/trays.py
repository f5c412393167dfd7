"""Batches of one shape, written by whoever reads an item: a bad one keeps its row, blank; the last batch is filled up.

Fresh memory costs as much as filling it, and so does handing a tensor from one thread to another: so batches lie in a
ring of buffers, and a reader writes each item to the row that its place among the items says. Lanes that take items
alike share a tray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.reading import Planned, Read
from xplain.core.edits import Array
from xplain.core.lane import LaneRows

__all__ = ["Full", "Tray"]


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """A batch that can be asked.

    Args:
        rows: The rows, as many as a lane takes; their tensors are the tray's own, which are written again later.
        items: The items that stand in the first of them.
        why: Why an item's row is blank; None for a good one.
        seeds: What each item's draws begin with.
    """

    rows: LaneRows
    items: tuple[Planned, ...]
    why: tuple[str | None, ...]
    seeds: tuple[int, ...]

    def of(self, facts: ModelFacts) -> Full:
        """The same batch with the classes that a model has for the items' labels."""
        labels = np.full(len(self.rows.x), -1, np.int64)
        for row, item in enumerate(self.items):
            known = facts.class_of(item.label)
            labels[row] = -1 if known is None else known
        return replace(self, rows=replace(self.rows, labels=labels))


class Tray:
    """Gathers the items of a shard, in their order, for lanes that take them alike.

    Args:
        shape: Shape of a batch.
        dtype: Its numpy type.
        count: Items that will come.
        ahead: Items that may be written beyond the last that was put.
        looked: Batches that may be looked at, at once.
    """

    def __init__(self, shape: Sequence[int], dtype: str, count: int, ahead: int, looked: int) -> None:
        self.rows = shape[0]
        buffers = min(ceil(count / self.rows), looked + ceil(ahead / self.rows))
        self._ring = [np.zeros(shape, np.dtype(dtype)) for _ in range(buffers)]
        self._waiting: list[tuple[Planned, Read, int]] = []
        self._made = 0

    def row(self, place: int) -> Array:
        """Where the item at a place among those of the shard is written; in any thread, before it is put."""
        return np.asarray(self._buffer(place // self.rows)[place % self.rows])

    def put(self, item: Planned, read: Read, seed: int) -> bool:
        """One more item, which was written unless it has an error; whether the batch is full."""
        self._waiting.append((item, read, seed))
        return len(self._waiting) == self.rows

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def take(self) -> Full:
        """What waits, filled up to a batch."""
        items, found, seeds = zip(*self._waiting, strict=True)
        why = tuple(one.error for one in found)
        fill, x = self.rows - len(items), self._buffer(self._made)
        real = np.zeros(self.rows, bool)
        real[: len(items)] = [one is None for one in why]
        x[~real] = 0
        given: tuple[Any, ...] = tuple(one.given for one in found)
        given = (*given, *[None] * fill) if any(one is not None for one in given) else ()
        keys = (*(f"{seed:016x}" for seed in seeds), *[""] * fill)
        self._waiting.clear()
        self._made += 1
        return Full(LaneRows(x, real, keys, np.full(self.rows, -1, np.int64), given), items, why, seeds)

    def _buffer(self, batch: int) -> Array:
        return self._ring[batch % len(self._ring)]
