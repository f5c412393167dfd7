"""Memory that one thread writes a question's rows into; another thread has its own, so no run reads another's rows."""

from __future__ import annotations

import math
import threading

import numpy as np

from xplain.core.edits import Array, Edits, Untouched
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.models.reading import as_float32, write_rows

__all__ = ["Buffers"]


class Buffers(threading.local):
    """The input buffer of one thread, and the last question's items as float32.

    Args:
        source: The model for messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._memory: Array | None = None
        self._cast: tuple[Array, Edits, Array] | None = None

    def rows(self, shape: tuple[int, ...], dtype: str) -> Array:
        """The input buffer, seen as an array of this shape; one piece of memory serves all runs of a thread."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        memory = self._memory
        if memory is None or memory.nbytes < size:
            memory = self._memory = np.zeros(size, np.uint8)
        return memory[:size].view(kind).reshape(shape)

    def filled(
        self, query: Score, rows: tuple[int, int], batch: int, dtype: str, layout: Layout, threads: int = 0
    ) -> Array:
        """Rows of a question as a whole batch, the first one repeated behind them; items that lie so are not copied.

        Args:
            query: Items (float32) and edits.
            rows: Start and end.
            batch: Rows of the batch, at least as many.
            dtype: As the model takes them.
            layout: How the items' axes are named.
            threads: At most so many; 0 means all.
        """
        start, stop = rows
        given = query.x[start:stop]
        as_it_is = isinstance(query.edits, Untouched) and given.dtype.name == dtype and stop - start == batch
        if as_it_is and given.flags.c_contiguous and given.flags.aligned:
            return given
        buffer = self.rows((batch, *query.x.shape[1:]), dtype)
        write_rows(query, start, stop, buffer[: stop - start], layout, threads)
        buffer[stop - start :] = buffer[:1]
        return buffer

    def float32(self, query: Score) -> Array:
        """The items of a question as the fill wants them; cast once for all of its parts.

        Parts of one question share their edits, and no other question has them: the caller's array may have been
        written to since.
        """
        known = self._cast
        if known is not None and known[0] is query.x and known[1] is query.edits:
            return known[2]
        cast = as_float32(query.x, self._source)
        if cast is not query.x:
            self._cast = query.x, query.edits, cast
        return cast
