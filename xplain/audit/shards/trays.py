"""Items of a lane, gathered into batches of one shape: a bad item keeps its row, blank; the last is filled up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.reading import Planned, Read
from xplain.core.edits import Array
from xplain.core.lane import Lane, LaneRows

__all__ = ["Full", "Tray"]


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """A batch that can be asked.

    Args:
        tray: Whose it is.
        rows: The rows, as many as the lane takes; they are the tray's own, which fills them again later.
        items: The items that stand in the first of them.
        why: Why an item's row is blank; None for a good one.
        seeds: What each item's draws begin with.
    """

    tray: Tray
    rows: LaneRows
    items: tuple[Planned, ...]
    why: tuple[str | None, ...]
    seeds: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Tray:
    """Gathers the items of one lane, in their order.

    Fresh memory costs as much as filling it, so the batches lie in a ring of buffers.

    Args:
        lane: The lane.
        facts: Its model.
        buffers: Batches that may be looked at, at once.
    """

    lane: Lane
    facts: ModelFacts
    buffers: int
    _ring: list[Array] = field(default_factory=list)
    _made: int = 0
    _waiting: list[tuple[Planned, Read, int]] = field(default_factory=list)

    def put(self, item: Planned, read: Read, seed: int) -> None:
        """One more row."""
        if read.items is not None:
            self._buffer()[len(self._waiting)] = read.items.x[0]
        self._waiting.append((item, read, seed))

    @property
    def full(self) -> bool:
        """Whether a batch is full."""
        return len(self._waiting) == self.lane.rows

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def take(self) -> Full:
        """What waits, filled up to a batch."""
        items, found, seeds = zip(*self._waiting, strict=True)
        why = tuple(one.error if one.items is None else None for one in found)
        rows, x = self.lane.rows, self._buffer()
        real = np.zeros(rows, bool)
        real[: len(items)] = [one is None for one in why]
        x[~real] = 0
        labels = np.full(rows, -1, np.int64)
        for row, item in enumerate(items):
            known = self.facts.class_of(item.label)
            labels[row] = -1 if known is None else known
        given = (*(one.given for one in found), *[None] * (rows - len(items))) if self.facts.door else ()
        keys = (*(f"{seed:016x}" for seed in seeds), *[""] * (rows - len(items)))
        self._waiting.clear()
        self._made += 1
        return Full(self, LaneRows(x, real, keys, labels, given), items, why, seeds)

    def _buffer(self) -> Array:
        place = self._made % self.buffers
        if place == len(self._ring):
            self._ring.append(np.zeros((self.lane.rows, *self.lane.item), np.dtype(self.facts.dtype)))
        return self._ring[place]
