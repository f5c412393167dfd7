"""The model behind ``xplain.table``: rows of named columns become rows of numbers, and back when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from xplain import native
from xplain.core.abilities import Abilities, Piece, abilities_of
from xplain.core.batches import cut
from xplain.core.declaring.wording import Sentence, named, option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, NonFinite, UsageError, unknown
from xplain.core.items import Columns, Items
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline, TensorSpec
from xplain.core.partial_answers import pieces
from xplain.core.positions.layout import Layout
from xplain.core.price import Price
from xplain.core.query import Answer, Model, Query, Score
from xplain.core.target import SCORES, every_score
from xplain.core.trees import Ensemble, Trees
from xplain.models.options import AskedOptions
from xplain.models.rows.asked import of_columns
from xplain.models.rows.columns import MISSING, Column, ColumnSpec
from xplain.models.rows.dataframes import columns_of, plain, row_names, shown
from xplain.models.rows.estimators import asked_of
from xplain.models.rows.function import Function

__all__ = ["Rows", "Table", "of_estimator"]

_AT_ONCE = 1024
_MOST_TOLD = 8
"""Columns of the typical row that a result spells out."""


class Table:
    """Reads frames; see ``xplain.models.table``.

    Args:
        inner: A model of rows ``[N, S]`` of numbers, or one that is asked with whole columns.
        names: The columns, or None until the first frame.
        hidden: What a hidden column becomes.
        texts: Columns that the model takes as text, whatever a frame holds there.
    """

    answers: frozenset[type[Any]] = frozenset({Score})

    def __init__(
        self,
        inner: Any,
        names: Sequence[str] | None,
        hidden: Mapping[str, Any] | None = None,
        texts: frozenset[str] = frozenset(),
    ) -> None:
        self._inner, self._hidden, self._texts = inner, dict(hidden or {}), texts
        self._names = None if names is None else tuple(names)
        self._columns: dict[str, Column] = {}
        self._seen: Array | None = None  # the rows of columns=
        self.abilities: Abilities = Abilities(read=self.read, codes=self, price=abilities_of(inner).price)
        self.outline: Outline = inner.outline
        self.answers = inner.answers
        if self._names is not None:
            self._check_names(self._names)

    def read(self, source: Any) -> tuple[Model, Items]:
        """Rows as numbers, and the model that answers questions about them.

        Args:
            source: A ``DataFrame``, one row of one, a mapping of columns, or a list of mappings, one per row.

        Raises:
            UsageError: columns that are missing, unknown or there twice, or no rows.
            NonFinite: an infinite value, or a gap where the model takes text.
        """
        frame = self._frame(source)
        x = self._coded(frame)
        assert self._names is not None
        cells = [[shown(value) for value in plain(frame[name])] for name in self._names]
        columns = Columns(self._names, tuple(zip(*cells, strict=True)))
        return Rows(self._inner, self), Items(x, tuple(str(n) for n in row_names(source, len(x))), columns=columns)

    def codes(self, source: Any) -> Array:
        """Rows as the numbers that methods see, float32 ``[N, S]``; ``baseline=``, ``background=`` take rows too.

        Raises:
            UsageError: columns that are missing, unknown or there twice, or no rows.
            NonFinite: an infinite value, or a gap where the model takes text.
        """
        return self._coded(self._frame(source))

    def learn(self, source: Any) -> None:
        """The rows that the model was trained on, or some like them: types, categories, and what is typical."""
        frame = columns_of(source)
        if any(len(values) for values in frame.values()):
            self._seen = self._coded(frame)
        elif self._names is None:
            self._check_names(tuple(frame))
            self._names = tuple(frame)

    def apart(self) -> Table:
        """The same reader with a memory of its own, for rows of somebody who is not to teach this one anything."""
        other = copy(self)
        columns = {name: column.apart() for name, column in self._columns.items()}
        able = replace(self.abilities, read=other.read, codes=other)
        vars(other).update(_columns=columns, abilities=able)
        return other

    @property
    def specs(self) -> tuple[ColumnSpec, ...]:
        """What is known of each column; what is typical, where ``columns=`` gave rows."""
        found = [self._column(name).spec for name in self.names]
        if self._seen is None or len(self._seen) < 2:
            return tuple(found)
        row = self.values(self.typical(self._seen)[0])
        cells = [plain(row[one.name])[0] for one in found]
        return tuple(
            replace(one, typical=None if cell is None or cell != cell else cell)
            for one, cell in zip(found, cells, strict=True)
        )

    def _frame(self, source: Any) -> dict[str, Any]:
        """Columns by name; an array ``[N, S]`` has the names that are known."""
        if isinstance(source, np.ndarray) and source.ndim == 2 and self._names is not None:
            if source.shape[1] != len(self._names):
                raise UsageError(
                    f"The rows are an array {list(source.shape)}; the model takes "
                    f"{counted(len(self._names), 'column')}: "
                    f"{', '.join(self._names)}."
                )
            return columns_of(dict(zip(self._names, source.T, strict=True)))
        return columns_of(source)

    def _coded(self, frame: Mapping[str, Any]) -> Array:
        if self._names is None:
            self._check_names(tuple(frame))
            self._names = tuple(frame)
        for name in frame:
            if name not in self._names:
                advice = "Drop it, or say which columns the model takes: ", option("columns"), "."
                raise unknown("column", name, self._names, advice)
        missing = [name for name in self._names if name not in frame]
        if missing:
            raise UsageError(f"The rows lack the column {missing[0]!r}; the model takes {', '.join(self._names)}.")
        count = len(frame[self._names[0]])
        if count == 0:
            raise UsageError("There is nothing to explain: the table has no rows.")
        return np.stack([self._column(name).code(frame[name]) for name in self._names], axis=1)

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            self._columns[name] = Column(name, name in self._texts, "" if self.exact else self.outline.source)
        return self._columns[name]

    def values(self, x: Array) -> dict[str, Any]:
        """Numbers ``[R, S]`` as columns again.

        Raises:
            UsageError: a number that stands for no value, in a column of other things than numbers.
        """
        assert self._names is not None
        return {name: self._column(name).values(self._filled(name, x[:, k])) for k, name in enumerate(self._names)}

    def _filled(self, name: str, codes: Array) -> Array:
        """A 0, which is no category, becomes what ``hidden`` says."""
        column = self._column(name)
        if name not in self._hidden or column.kind == "number" or column.switch or codes.all():
            return codes
        return np.where(codes == 0, column.code_of(self._hidden[name]), codes)

    def typical(self, x: Array) -> tuple[Array, str]:
        """The row that hidden columns become where nothing says it, ``[1, S]``, and a sentence about it.

        Median of numbers and times, most frequent category, of the rows that ``columns=`` gave, else of ``x``; what
        ``hidden`` says goes first.

        Raises:
            UsageError: there is one row only.
        """
        assert self._names is not None
        rest = [name for name in self._names if name not in self._hidden]
        rows, whose = self._known(x, rest[0]) if rest else (x, "")
        codes = np.empty((1, len(self._names)), np.float32)
        for k, name in enumerate(self._names):
            column = self._column(name)
            codes[0, k] = column.typical(rows[:, k]) if name in rest else column.code_of(self._hidden[name])
        told = [f"{name} {self._column(name).said(code)}" for name, code in zip(self._names, codes[0], strict=True)]
        told = [*told[:_MOST_TOLD], *(["..."] if len(told) > _MOST_TOLD else [])]
        said = (
            (f"median or most frequent value of {counted(len(rows), 'row')}, ", whose)
            if rest
            else ("as ", named("hidden"), " says")
        )
        return codes, Sentence("A hidden column becomes what is typical (", *said, f"): {', '.join(told)}.")

    def known(self, x: Array) -> tuple[Array, str]:
        """The rows ``[B, S]`` that ``columns=`` gave, else ``x``, and a sentence about them.

        Raises:
            UsageError: there is one row only.
        """
        rows, whose = self._known(x, self.names[0])
        return rows, Sentence(f"Replacements are drawn from {counted(len(rows), 'row')}, ", whose, ".")

    def _known(self, x: Array, name: str) -> tuple[Array, str]:
        if self._seen is not None and len(self._seen) > 1:
            return self._seen, Sentence("those of ", named("columns"))
        if len(x) > 1:
            return x, "those that are explained"
        raise UsageError(
            f"It is not known what a hidden column becomes, such as {name!r}: one row says nothing of what is typical. "
            "Give typical rows, ",
            option("background", python="rows", shell="rows.csv"),
            ", or one row, ",
            option("baseline", python="row", shell="row.csv"),
            "; or say it: ",
            option("hidden", python="{column: value}", shell="COLUMN=VALUE"),
            ".",
        )

    @property
    def exact(self) -> bool:
        """Whether the model is asked with whole columns, and not with rows of numbers."""
        return isinstance(self._inner, Function) and self._inner.takes == "rows"

    @property
    def gaps(self) -> bool:
        """Whether a value is missing in any row that was read."""
        return any(column.gaps for column in self._columns.values())

    @property
    def categorical(self) -> tuple[str, ...]:
        """Columns that hold categories."""
        return tuple(name for name, column in self._columns.items() if column.kind == "category")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the model's order; empty until the first frame."""
        return self._names or ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.brief}>"

    def answer(self, query: Query) -> Answer:
        """Rows are read first: ``model, items = reader.read(frame)``.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(f"{self.outline.source} takes rows of a table; ask the model that read(rows) returns.")

    def _check_names(self, names: tuple[str, ...]) -> None:
        inner = self.outline
        if inner.layout is not None and len(inner.layout.axes) != 2:
            raise UsageError(
                f"{inner.source} takes items of {list(inner.layout.item)} ({inner.layout.axes}), not the rows of a "
                "table; a model of tables takes [N, S], or one input per column."
            )
        if inner.layout is not None and len(names) != inner.layout.item[0]:
            raise UsageError(
                f"The table has {counted(len(names), 'column')} ({', '.join(names[:8])}); {inner.source} takes "
                f"{inner.layout.item[0]}. Say which it takes, in its order, with ",
                option("columns"),
                ".",
            )
        for name in self._hidden:
            if name not in names:
                raise unknown("column in option hidden:", name, names, option="hidden")


class Rows:
    """Answers questions about rows of numbers by asking the inner model about what they stand for."""

    def __init__(self, inner: Any, reader: Table) -> None:
        self._inner, self._reader = inner, reader
        self._whole = reader.exact
        # a model that sees categories by numbers of its own splits by those, which these rows do not hold
        unread = {Ensemble} if self._whole and reader.categorical else set()
        self.answers: frozenset[type[Any]] = inner.answers - unread
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
            late=None if self._apart else inner.late,
            price=inner.price,
            billed=inner.billed,
            rows_per_request=inner.rows_per_request,
            trouble=inner.trouble,
            canonical=self.canonical,
            codes=self._reader,
        )

    def answer(self, query: Query) -> Answer:
        """The answer to one question; questions about the inside of a graph are passed on as they are."""
        if isinstance(query, Ensemble):
            return self._trees()
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
        values = {SCORES: scores, self.outline.scores.tensor: scores}
        return query.target.read(values, np.arange(start, stop) // query.edits.count).reshape(stop - start, -1)

    def _trees(self) -> Trees:
        """The trees of the inner model, which split by a column's own numbers."""
        trees: Trees = self._inner.trees() if self._whole else self._inner.answer(Ensemble())
        return trees.where_gap_is(MISSING)

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
                query = replace(query, cut=cut(query.per_item, _AT_ONCE, batches.least_rows(item)))
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


def of_estimator(
    source: Any,
    options: AskedOptions,
    scores: str | None = None,
    names: tuple[str, ...] | None = None,
    hidden: Mapping[str, Any] | None = None,
    labels: tuple[str, ...] = (),
) -> Table:
    """A fitted estimator as a model of rows; see ``xplain.models.table``."""
    asked = asked_of(source, scores)
    model = of_columns(asked, labels, options.version, Price.read(options.price))
    return Table(model, names or asked.columns or None, hidden)
