"""How many rows go to the model at once."""

from __future__ import annotations

from collections.abc import Iterator

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Model
from xplain.core.stream import SaysRows

__all__ = ["batch_rows", "chunks", "rows_together"]

# Input bytes per model call. On CPUs a larger batch gains under 20 % and then loses again to cache misses
# (224 px: 8 MiB is 13 pictures), so memory stays small without giving up speed.
_BYTES = 8 * 2**20
_MOST = 256
_CLAIMED = 256


def batch_rows(x: Array, batch_size: int | None) -> int:
    """Rows per model call: what the caller said, or as many as fit in about 8 MiB of input, 1 to 256.

    Raises:
        UsageError: ``batch_size`` is not a whole number of at least 1.
    """
    if batch_size is None:
        item = max(1, x[:1].nbytes)
        return int(max(1, min(_MOST, _BYTES // item)))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(f"batch_size is {batch_size!r}; accepted: a whole number of at least 1, or None to choose.")
    return batch_size


def rows_together(model: Model, x: Array) -> int:
    """Rows that a process claims at a time, of those it shares with others: whole requests, at least 256 rows.

    Fewer would let requests wait for one another; more would leave nothing for a second process to ask.
    """
    each = model.rows_per_request(x) if isinstance(model, SaysRows) else batch_rows(x, None)
    return -(-_CLAIMED // each) * each


def chunks(start: int, stop: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cut ``start..stop`` into pieces of at most ``rows``, across pictures, so that batches stay full."""
    for left in range(start, stop, rows):
        yield left, min(stop, left + rows)
