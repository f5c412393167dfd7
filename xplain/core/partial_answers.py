"""Answers in pieces: a model may hand over what it has before the whole question is answered.

A model with a method ``stream(query) -> Iterator[((start, stop), rows)]`` yields pieces of its answer to a ``Score`` as
they become known, in any order, each row once. What was yielded before an error is kept and need not be asked again;
models that ask over a wire answer this way, because there every answer costs.

A model on a device works ahead: it takes the whole question, with the rows per run that the caller wants, if any, so
that the next chunk is on its way while one is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from xplain.core.edits import Array
from xplain.core.query import Model, Score

__all__ = ["OF_THE_WIRE", "Overtaken", "Piece", "SaysRows", "Streams", "WorksAhead", "pieces"]

OF_THE_WIRE = ("spent", "calls_made", "trouble", "rows_per_request")
"""What only a model that sends requests has; one that wraps it passes these on."""

Piece: TypeAlias = tuple[tuple[int, int], Array]
"""Rows ``(start, stop)`` and their answer, float64 ``[stop - start, T]``."""


@runtime_checkable
class Streams(Protocol):
    """A model that answers in pieces."""

    def stream(self, query: Score) -> Iterator[Piece]:
        """The answer, piece by piece."""


@runtime_checkable
class Overtaken(Protocol):
    """A model whose answers may still arrive after its stream was closed: what was on its way then is paid as well."""

    def late(self, query: Score) -> list[Piece]:
        """What arrived for this question and was not taken, each piece once."""


@runtime_checkable
class SaysRows(Protocol):
    """A model that knows how many rows it sends in one request."""

    def rows_per_request(self, x: Array) -> int:
        """Rows of items like ``x`` ``[N, *item]`` that share a request."""


@runtime_checkable
class WorksAhead(Protocol):
    """A model that may keep several chunks under way."""

    def ahead(self, query: Score, rows: int | None) -> Iterator[Piece] | None:
        """The answer in pieces of ``rows`` rows (None: as many as the model likes); None where it does not work ahead.

        Pieces come in order. The caller may ask the model other questions between two of them, and may stop early.
        """


def pieces(model: Model, query: Score, rows: int | None, chosen: int | None = None) -> Iterator[Piece]:
    """The answer to ``query`` in pieces of at most ``rows`` rows; None leaves the size to a model that streams.

    ``chosen`` is what a person asked for: a model that works ahead keeps to it, and to its own size without.
    """
    found = model.ahead(query, chosen) if isinstance(model, WorksAhead) else None
    if found is not None:
        yield from found
        return
    start, stop = query.rows
    step = rows or max(1, stop - start)
    parts = ((left, min(stop, left + step)) for left in range(start, stop, step))
    for part in parts if query.cut is None else query.cut.parts(start, stop):
        asked = replace(query, part=part)
        if isinstance(model, Streams):
            yield from model.stream(asked)
        else:
            yield part, np.asarray(model.answer(asked), dtype=np.float64)
