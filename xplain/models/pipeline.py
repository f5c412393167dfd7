"""Chunks in flight: while one is run, the next is filled, and the one before is handed over.

A ``Place`` is where that happens: CPU memory with a worker thread, a CUDA device behind ONNX Runtime, or one behind
torch. It has ``depth`` slots, each with an input and outputs of its own, and ``in_flight`` alone decides the order:

    fill(0) run(0) fill(1) run(1) | fetch(0) fill(0) run(0) | fetch(1) fill(1) run(1) | ... | fetch fetch

A slot is filled again only after its last run was fetched, so no buffer is overwritten while somebody reads it, and
``fetch`` is the only call that waits: once per chunk, for that chunk alone, while the other slot's work is queued.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias

from xplain.core.batches import Cut
from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.positions.layout import Layout
from xplain.core.query import Score

__all__ = ["Chunk", "Place", "in_flight", "item_ranges", "rows_at_once"]

Chunk: TypeAlias = tuple[tuple[int, int], dict[str, Array]]
"""Rows ``(start, stop)`` and the values of every output, a row each."""

# Not measured yet, for want of a device: rows of 224 px, float32, that fill a large GPU, in memory that any has.
_INPUT_BYTES, _MOST_ROWS = 96 * 2**20, 256
_ITEM_BYTES = 256 * 2**20


class Place(Protocol):
    """Where the chunks of one question are filled and run.

    ``fill`` and ``run`` put work in order and return; ``fetch`` waits for one slot's run. The caller keeps the order
    that the module's text shows.
    """

    depth: int
    """Slots, so chunks that can be under way at once."""

    def fill(self, slot: int, start: int, stop: int) -> None:
        """Write the edited rows ``start..stop`` into the slot's input."""

    def run(self, slot: int, count: int) -> None:
        """Run the model on the slot's first ``count`` rows, after what ``fill`` put in order."""

    def fetch(self, slot: int, count: int) -> Mapping[str, Array]:
        """The outputs of the slot's last run, ``count`` rows each, in memory of their own."""

    def settle(self) -> None:
        """Wait for everything under way, whatever became of it; afterwards memory may be freed. Never raises."""


def in_flight(place: Place, first: int, last: int, rows: int, how: Cut | None = None) -> Iterator[Chunk]:
    """Runs rows ``first..last`` in chunks of ``rows``, the last one shorter, ``place.depth`` of them under way.

    ``how`` cuts them otherwise, into chunks of at most ``rows``.

    The next chunk is put in order before a finished one is handed over, so that what the caller does with it takes no
    time from the device. When a chunk fails, those before it are handed over first; the place is settled in any case,
    also when the caller stops early.

    Raises:
        Exception: what the place raised, after the chunks that were under way.
    """
    waiting: deque[tuple[int, int, int]] = deque()

    def fetched() -> Chunk:
        slot, left, right = waiting.popleft()
        return (left, right), dict(place.fetch(slot, right - left))

    try:
        for number, (left, right) in enumerate((how or Cut(rows, by_item=False, of=1)).parts(first, last)):
            slot = number % place.depth
            done = fetched() if len(waiting) == place.depth else None
            try:
                place.fill(slot, left, right)
                place.run(slot, right - left)
            except Exception:
                if done is not None:
                    yield done
                while waiting:
                    yield fetched()
                raise
            waiting.append((slot, left, right))
            if done is not None:
                yield done
        while waiting:
            yield fetched()
    finally:
        place.settle()


def rows_at_once(item_bytes: int) -> int:
    """Rows of a chunk where the caller does not say: a power of two, at most 256, and at most 96 MiB of input."""
    return int(2 ** int(math.log2(max(1, min(_MOST_ROWS, _INPUT_BYTES // max(1, item_bytes))))))


def item_ranges(query: Score, layout: Layout) -> Iterator[tuple[int, Score]]:
    """The question in parts whose items fit on a device, each a question of its own, and its first row.

    Args:
        query: Items and edits; only the items that ``query.rows`` touches are in the parts.
        layout: The items' layout, to tell arrays of one item from arrays of all.
    """
    count = max(1, query.edits.count)
    (first, last), step = query.rows, max(1, _ITEM_BYTES // max(1, query.x[:1].nbytes))
    for start in range(first // count, -(-last // count), step):
        items = slice(start, min(start + step, -(-last // count)))
        offset = items.start * count
        rows = max(first, offset) - offset, min(last, items.stop * count) - offset
        yield offset, replace(query, x=query.x[items], edits=_of(query, items, layout), part=rows)


def _of(query: Score, items: slice, layout: Layout) -> Edits:
    """The edits of some items: arrays with an item axis are cut, those that all items share are not."""
    edits, total = query.edits, len(query.x)
    if isinstance(edits, Untouched) or items == slice(0, total):
        return edits
    fill = edits.fill
    if fill.ndim == query.x.ndim and fill.shape[0] == total > 1:
        fill = fill[items]

    def positions(array: Array, whole: bool = False) -> Array:
        return array if array.size == math.prod(layout.item if whole else layout.plane) else array[items]

    match edits:
        case Windows():
            return replace(edits, fill=fill, boxes=edits.boxes[items] if edits.boxes.ndim == 3 else edits.boxes)
        case Coalitions():
            keep = edits.keep[items] if edits.keep.ndim == 3 else edits.keep
            return replace(edits, fill=fill, keep=keep, labels=positions(edits.labels, edits.whole))
        case Ranked():
            return replace(edits, fill=fill, rank=positions(edits.rank))
        case Full():
            return replace(edits, fill=fill, masks=edits.masks[items] if edits.per_item else edits.masks)
        case SoftGrid():
            return edits.of(items, total, query.x.ndim)
