"""Rows of a table as questions: the model that answers about numbers by asking about what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain import native
from xplain.core.abilities import Abilities, Piece, abilities_of
from xplain.core.batches import cut
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, NonFinite
from xplain.core.layout import Layout
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.partial_answers import pieces
from xplain.core.price import Price
from xplain.core.query import Answer, Query, Score
from xplain.core.target import SCORES, every_score
from xplain.models.reading import read_target
from xplain.models.rows.columns import MISSING
from xplain.models.rows.dataframes import as_array, numbers_of, plain
from xplain.models.rows.estimators import Asked
from xplain.models.rows.function import Function, outline_of

if TYPE_CHECKING:
    from xplain.models.rows.table import Table

__all__ = ["Rows", "of_columns", "of_feeds"]

_AT_ONCE = 1024


class Rows:
    """Answers questions about rows of numbers by asking the inner model about what they stand for."""

    def __init__(self, inner: Any, reader: Table) -> None:
        self._inner, self._reader = inner, reader
        self.answers: frozenset[type] = inner.answers
        self._whole = reader.exact
        names = reader.names
        facts = {**inner.outline.facts, "columns": names, "categories": reader.categorical}
        self.outline = replace(inner.outline, facts=facts, layout=Layout("NS", (len(names),), "columns of a table"))
        if self._whole:
            spec = TensorSpec("row", (None, len(names)), "float32")
            self.outline = replace(self.outline, inputs=(spec,), input=spec.name)

    @property
    def abilities(self) -> Abilities:
        """What the inner model's answers cost; rows are remembered under what they stand for."""
        inner = abilities_of(self._inner)
        return Abilities(
            stream=self.stream,
            price=inner.price,
            billed=inner.billed,
            rows_per_request=inner.rows_per_request,
            trouble=inner.trouble,
            canonical=self.canonical,
            codes=self._reader,
        )

    def answer(self, query: Query) -> Answer:
        """The answer to one question; questions about the inside of a graph are passed on as they are."""
        if not self._apart:
            return self._inner.answer(query)
        if not isinstance(query, Score) or query.at != "input":
            if not self._whole:
                raise NonFinite(
                    f"A value is missing in the rows, where {self.outline.source} has no gradient. Fill it as the "
                    "model's training did, or use a method that needs scores alone, such as kernel-shap."
                )
            raise CapabilityError(f"{self.outline.source} is asked with whole columns and answers only Score.")
        start, stop = query.rows
        scores = self._inner.ask(self._values(query), stop - start) if self._whole else self._numbers(query)
        if self._inner.outline.scores is not self.outline.scores:  # what its first scores told
            self.outline = replace(self.outline, scores=self._inner.outline.scores)
        return read_target(query, (start, stop), {SCORES: scores, self.outline.scores.tensor: scores})

    def stream(self, query: Score) -> Iterator[Piece]:
        """The same, piece by piece where the inner model answers in pieces."""
        if self._apart:
            for start in range(*query.rows, _AT_ONCE):
                part = (start, min(start + _AT_ONCE, query.rows[1]))
                yield part, self.answer(replace(query, part=part))
        else:
            item = tuple(query.x.shape[1:])
            batches = abilities_of(self._inner).batches
            if batches is not None and query.cut is None:
                query = replace(query, cut=cut(query.edits.count, _AT_ONCE, batches.least_rows(item)))
            yield from pieces(self._inner, query, _AT_ONCE)

    def canonical(self, query: Score) -> list[bytes]:
        """Each row as bytes: what an answer is remembered under, whatever the codes of its categories."""
        columns = self._values(query)
        rows = zip(*map(plain, columns.values()), strict=True)
        return [repr((self._reader.names, row)).encode() for row in rows]

    @property
    def _apart(self) -> bool:
        """Whether edited rows are made here and asked one by one: as whole columns, or because they have gaps."""
        return self._whole or self._reader.gaps

    def _edited(self, query: Score) -> Array:
        start, stop = query.rows
        rows = np.empty((stop - start, query.x.shape[1]), np.float32)
        native.fill(query.x, query.edits, start, stop, rows, query.layout_in(self.outline))
        return rows

    def _values(self, query: Score) -> dict[str, Any]:
        return self._reader.values(self._edited(query))

    def _numbers(self, query: Score) -> Array:
        """Scores ``[R, K]`` of a model of rows of numbers, a missing one as NaN."""
        rows = self._edited(query)
        rows[rows == np.float32(MISSING)] = np.nan
        found: Array = self._inner.answer(Score(rows, Untouched(), every_score, account=query.account))
        return found


def of_columns(
    asked: Callable[[Any], Any] | Asked, labels: tuple[str, ...] = (), version: str = "", price: Price | None = None
) -> Function:
    """A model of a function of whole columns: of a ``DataFrame`` where pandas is loaded, else ``{column: array}``.

    Args:
        asked: The function, or what is asked of an estimator; one that was fitted on rows without names gets such.
        labels: Names of the classes; those that an estimator knows where there are none.
        version: Names what the function does.
        price: What an evaluation costs.
    """
    row = TensorSpec("row", (), "float32")
    if not isinstance(asked, Asked):
        return Function(_framed(asked), outline_of(asked, row, version, labels), price, "rows")
    labels = labels or asked.labels
    scores = ScoreSpec("scores", len(labels) or None, asked.kind, "none", asked.found)
    outline = outline_of(asked.function, row, version, labels, scores)
    return Function(_framed(asked.function) if asked.frames else _stacked(asked.function), outline, price, "rows")


def of_feeds(scores: Callable[[Any], Any], outline: Outline) -> Function:
    """A model with an input for each column, which is given arrays by name."""
    return Function(lambda columns: scores(_arrays(columns)), outline, takes="rows")


def _framed(function: Callable[[Any], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def ask(columns: Mapping[str, Any]) -> Any:
        pandas = sys.modules.get("pandas")
        return function(_arrays(columns) if pandas is None else pandas.DataFrame(dict(columns)))

    return ask


def _stacked(function: Callable[[Any], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """For who was fitted on rows without names, which are all that it takes without a warning."""
    return lambda columns: function(np.stack([numbers_of(values) for values in columns.values()], axis=1))


def _arrays(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_array(values) for name, values in columns.items()}
