"""Answers in pieces: a model may hand over what it has before the whole question is answered."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from xplain.core.abilities import Piece, abilities_of
from xplain.core.query import Model, Score

__all__ = ["Piece", "pieces"]


def pieces(model: Model, query: Score, rows: int | None, chosen: int | None = None) -> Generator[Piece, None, None]:
    """The answer to ``query`` in pieces of at most ``rows`` rows; None leaves the size to a model that streams.

    ``chosen`` is what a person asked for: a model that works ahead keeps to it, and to its own size without.
    """
    able = abilities_of(model)
    found = None if able.ahead is None else able.ahead(query, chosen)
    if found is not None:
        yield from found
        return
    start, stop = query.rows
    step = rows or max(1, stop - start)
    parts = ((left, min(stop, left + step)) for left in range(start, stop, step))
    for part in parts if query.cut is None else query.cut.parts(start, stop):
        asked = replace(query, part=part)
        if able.stream is not None:
            yield from able.stream(asked)
        else:
            yield part, np.asarray(model.answer(asked), dtype=np.float64)
