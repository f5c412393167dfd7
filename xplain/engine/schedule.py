"""How many rows go to the model at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xplain.core.abilities import abilities_of
from xplain.core.batches import Cut, cut, fixed
from xplain.core.cores import cores
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Model

__all__ = ["batch_rows", "chunks", "cut_of", "rows_together", "whole_calls"]

# Input bytes per model call, for each core and in all. Two cores: 4 pictures of 224 px. 13 of them are no faster (a row
# of MobileNetV2 takes 3.7 ms in fours and 4.5 in thirteens, of ResNet-50 37 and 39, of ViT-B/32 47 and 44), take three
# times the memory, and let whoever shares the model wait three times as long.
_BYTES_PER_CORE, _LEAST_BYTES, _MOST_BYTES = 5 * 2**18, 5 * 2**19, 8 * 2**20
_MOST = 256
_CLAIMED = 256


def batch_rows(x: Array, batch_size: int | None) -> int:
    """Rows per model call: what the caller said, or as many as fit in 1.25 MiB per core (2.5 to 8 MiB), 1 to 256.

    Raises:
        UsageError: ``batch_size`` is not a whole number of at least 1.
    """
    if batch_size is None:
        item = max(1, x[:1].nbytes)
        return int(max(1, min(_MOST, _bytes() // item)))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(
            option="batch_size", got=batch_size, accepted="a whole number of at least 1, or None to choose"
        )
    return batch_size


def _bytes() -> int:
    """Input bytes of one call on the processors that this process may use."""
    return min(_MOST_BYTES, max(_LEAST_BYTES, cores() * _BYTES_PER_CORE))


def rows_together(model: Model, x: Array) -> int:
    """Rows that a process claims at a time, of those it shares with others: whole requests, at least 256 rows.

    Fewer would let requests wait for one another; more would leave nothing for a second process to ask.
    """
    of_request = abilities_of(model).rows_per_request
    each = batch_rows(x, None) if of_request is None else of_request(x)
    return -(-_CLAIMED // each) * each


def chunks(start: int, stop: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cut ``start..stop`` into pieces of at most ``rows``, across pictures, so that batches stay full."""
    for left in range(start, stop, rows):
        yield left, min(stop, left + rows)


def cut_of(
    model: Model,
    x: Array,
    per_item: int,
    chosen: int | None,
    share: int = 1,
    together: bool = False,
    many: bool = False,
) -> Cut | None:
    """How rows are cut into calls, by the model and the question alone; None for a model that is elsewhere.

    Args:
        model: Who is asked.
        x: Items.
        per_item: Rows of each.
        chosen: Rows per call that a person asked for, at most.
        share: What a row takes, in rows of scores; more than 1 of a sweep.
        together: Whether rows of all items may go together where the model is not filled up.
        many: Whether more items come by than these, so that batches are full.
    """
    own = abilities_of(model).batches
    if own is None or (together and not own.fills_up):
        return None
    most, rows = batch_rows(x, chosen), model.outline.rows
    if chosen is None:
        most = max(1, (own.most_rows(x[:1].nbytes) or most) // share)
    if rows is not None:
        return fixed(per_item, rows)
    item = tuple(x.shape[1:])
    least = own.swept_rows(item) if share > 1 else own.least_rows(item)
    return cut(per_item, most, max(least, own.full_rows(item, most)) if many else least)


def whole_calls(how: Cut, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The calls that hold these rows, in increasing order, whole."""
    done = -1
    for row in rows:
        if row >= done:
            item, m = divmod(row, how.of)
            start = item * how.of + m // how.rows * how.rows
            done = min(start + how.rows, (item + 1) * how.of)
            yield start, done
