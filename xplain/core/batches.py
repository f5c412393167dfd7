"""How a question's rows are cut into model calls: by a rule that looks at one item alone.

A runtime may round a row otherwise in a batch of another shape, or in another place of it (measured: one row against
two, with onnxruntime, torch and numpy alike). So neither the number of items, nor their order, nor what is known of
them already may decide in which batch a row is asked:

    M >= least   the M rows of an item are asked in calls of R rows that hold no other item's, R near ``most``
    M < least    rows of all items are asked together, in calls of exactly ``least``

The last call of each is filled up with copies, where the model says that this costs nothing but time. R is recorded
with the result ("rows per call"). Another ``batch_size`` is another R, and may change last bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Batches", "Cut", "cut"]

_SMALLEST = 0.6  # of the rows that are wanted at once: how far R may be below, to fill the last call better


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


@runtime_checkable
class Batches(Protocol):
    """A model that runs here, and evaluates as many rows at once as it is told."""

    @property
    def fills_up(self) -> bool:
        """Whether a call may be filled up with copies: it costs time alone."""

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Rows of this shape that cost hardly more than one; from the model and the shape alone."""


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
