"""How a question's rows are cut into model calls: by a rule that looks at one item alone.

A runtime may round a row otherwise in a batch of another shape, or in another place of it (measured: one row against
two, with onnxruntime, torch and numpy alike). So neither the number of items, nor their order, nor what is known of
them already may decide in which batch a row is asked:

    M >= least   the M rows of an item are asked in calls of R rows that hold no other item's, R near ``most``
    M < least    rows of all items are asked together, in calls of exactly ``least``

A folder that streams by, one row per item, is asked in ``full`` batches: there ``least`` is what a call takes well.

The last call of each is filled up with copies, where the model says that this costs nothing but time; a function is
called without, since each of its rows may be billed. R is recorded with the result ("rows per call"). Another
``batch_size`` is another R, and may change last bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Batches", "Cut", "cut", "fixed", "full", "shared"]

_CHEAP, _TOGETHER = 1e6, 32  # multiplications that take no longer than a call itself; rows that share one, at most
_SMALLEST = 0.6  # of the rows that are wanted at once: how far R may be below, to fill the last call better
_WASTE = 0.05  # of an item's rows: copies that may fill its last call where the number of rows is given


@dataclass(frozen=True, slots=True)
class Cut:
    """How rows are cut.

    Args:
        rows: Rows per call.
        by_item: Whether a call holds rows of one item only; ``of`` of them each.
        of: Rows per item.
    """

    rows: int
    by_item: bool
    of: int

    def parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The rows ``start..stop`` call by call."""
        while start < stop:
            end = start + self.rows
            if self.by_item:
                item, row = divmod(start, self.of)
                end = min(item * self.of + (row // self.rows + 1) * self.rows, (item + 1) * self.of)
            yield start, min(end, stop)
            start = min(end, stop)


class Batches(Protocol):
    """A model that runs here, and evaluates as many rows at once as it is told."""

    fills_up: bool
    """Whether a call may be filled up with copies: it costs time alone."""

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Rows of this shape that cost hardly more than one; from the model and the shape alone.

        More than 1 only where a row has the same bits at every place of a batch.
        """

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """The same of sweeps, whose way back computes by rules of its own."""

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """Rows of a call where items come by one after another, up to ``most``.

        More than 1 only where a row has the same bits at every place of a batch.
        """

    def most_rows(self, item_bytes: int) -> int | None:
        """Rows that it likes best; None for what fits into a processor's caches."""


def shared(weights: float, item: tuple[int, ...]) -> int:
    """Rows of a small model that cost hardly more than one; its weights times the positions bound the work of a row."""
    work = weights * max(1, math.prod(item[-2:]))
    return int(min(_TOGETHER, 2 ** int(math.log2(max(1.0, _CHEAP / max(1.0, work))))))


def cut(per_item: int, most: int, least: int) -> Cut:
    """How to cut rows.

    Args:
        per_item: M, rows of each item.
        most: Rows wanted at once, at most.
        least: Rows per call where items have fewer; 1 or more.
    """
    least = max(1, min(least, most))
    if per_item < least:
        return Cut(least, by_item=False, of=per_item)
    if per_item <= most:
        return Cut(per_item, by_item=True, of=per_item)
    sizes = range(most, max(1, int(_SMALLEST * most)) - 1, -1)
    return Cut(min(sizes, key=lambda rows: -(-per_item // rows) * rows), by_item=True, of=per_item)


def full(most: int) -> int:
    """Rows of a full batch: a power of two, which divides the parts that a folder is read in."""
    return int(min(_TOGETHER, 2 ** int(math.log2(max(1, most)))))


def fixed(per_item: int, rows: int) -> Cut:
    """How to cut rows for a model that takes ``rows`` at once and no other number: by item where few are wasted."""
    wasted = -(-per_item // rows) * rows - per_item
    return Cut(rows, by_item=wasted <= _WASTE * per_item, of=per_item)
