"""Rows of a table as items: named columns of anything become one row of numbers each, and back.

    reader = xplain.table("pipeline.onnx")               # one input per column, or one for all of them
    reader = xplain.table(estimator, columns=frame)      # fitted; or a function of a DataFrame
    a = xplain.explain(reader, frame.head(3), "kernel-shap", background=frame)
    print(a)                                             # a table: column, value, attribution

A model that is asked with whole columns is given the very values, in the types of ``columns=`` (categories, whole
numbers, switches, times, gaps); methods see the numbers that stand for them, see ``xplain.models.rows.columns``. A
model of rows of numbers is given the numbers.

What a hidden column becomes is never guessed: a background or baseline says it, or ``hidden=``, or else the typical
row (median of numbers, most frequent category) of the rows that are known, and the result says so; of one row nothing
is typical, and a background is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, abilities_of, is_model
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError, unknown
from xplain.core.items import Columns, Items
from xplain.core.outline import Outline, class_names
from xplain.core.price import Price
from xplain.core.query import Answer, Model, Query, Score
from xplain.models.outlines import labelled
from xplain.models.rows.asked import Rows, of_columns, of_feeds
from xplain.models.rows.columns import Column
from xplain.models.rows.dataframes import columns_of, is_rows, names_of, plain, row_names, shown
from xplain.models.rows.estimators import asked_of, is_estimator
from xplain.models.rows.function import Function

__all__ = ["Table", "table"]

_MOST_TOLD = 8
"""Columns of the typical row that a result spells out."""


def table(
    source: Any,
    *,
    columns: Any = None,
    hidden: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    version: str = "",
    price: Any = None,
    scores: str | None = None,
    **options: Any,
) -> Table:
    """A model of table rows.

    Args:
        source: An ONNX model with one input per column, or one input for all; a fitted estimator (scikit-learn,
            LightGBM, XGBoost ...); a torch module of rows ``[N, S]``; a function from a ``DataFrame`` (or from
            ``{column: array}``, where pandas is not there) to scores ``[R, K]``; or a loaded model of rows.
        columns: Names of the columns in the model's order, or a frame that has them, best the one that the model was
            trained on: its types are those in which the model is asked, its categories all that there are, and its
            typical row what hidden columns become where nothing else says it. Needed for a function or a single input,
            unless the first rows that are read say it.
        hidden: What a hidden column becomes, by column, where no baseline row or background says it.
        labels: Class names, where the model does not know them.
        version: Names the version of a function, so that its answers can be remembered.
        price: What an evaluation of a function costs.
        scores: What an estimator is asked for: ``predict_proba``, ``decision_function`` or ``predict``; None: the first
            that it has.
        options: What ``xplain.load`` takes for an ONNX model, a torch module or an endpoint.

    Raises:
        UsageError: something that is no model, a column name that is there twice, or an option that does not fit.
    """
    if is_rows(source) or isinstance(source, np.ndarray):
        raise UsageError(
            f"The model is {type(source).__name__}, which are rows. Give the model first and the rows by name: "
            "xplain.table(model, columns=frame)."
        )
    names = None if columns is None else names_of(columns)
    if scores is not None and not is_estimator(source):
        raise UsageError(f"scores={scores!r} says what an estimator is asked for; {type(source).__name__} is none.")
    made = _opened(
        source, names, hidden, class_names(labels, numbers=True), scores, version=version, price=price, **options
    )
    if is_rows(columns):
        made.learn(columns)
    return made


def _opened(
    source: Any,
    names: tuple[str, ...] | None,
    hidden: Mapping[str, Any] | None,
    labels: tuple[str, ...],
    scores: str | None,
    **options: Any,
) -> Table:
    if is_model(source):
        return Table(source, names, hidden)
    version, price = options.pop("version"), options.pop("price")
    if is_estimator(source):
        asked = asked_of(source, scores)
        return Table(of_columns(asked, labels, version, Price.read(price)), names or asked.columns or None, hidden)
    if isinstance(source, str) and "://" in source:
        return Table(_load(source, labels=labels, version=version, price=price, **options), names, hidden)
    if hasattr(source, "named_modules"):
        model: Any = _load(source, **_of_two(labels), **options)
        model.outline = labelled(model.outline, labels)
        return Table(model, names, hidden)
    if callable(source) and not hasattr(source, "SerializeToString"):
        return Table(of_columns(source, labels, version, Price.read(price)), names, hidden)
    return _onnx(source, names, hidden, labels, options)


def _load(source: Any, **options: Any) -> Any:
    from xplain.models import load  # which imports this file's room

    return load(source, **options)


def _onnx(
    source: Any, names: tuple[str, ...] | None, hidden: Mapping[str, Any] | None, labels: Sequence[str], options: Any
) -> Table:
    """One input for all columns is an ordinary model, gradients and all; one input per column is asked with feeds."""
    from xplain.models.onnx.feeds import OnnxFeeds

    feeds = OnnxFeeds(source, **options)
    inputs = feeds.outline.inputs
    if len(inputs) == 1 and inputs[0].dtype != "str":
        model: Any = _load(source, **_of_two(labels), **options)
        model.outline = labelled(model.outline, labels)
        return Table(model, names, hidden)
    wide = [spec.name for spec in inputs if any(n not in (None, 1) for n in spec.shape[1:])]
    if wide:
        raise UsageError(
            f"{feeds.outline.source} has {len(inputs)} inputs, and {wide[0]!r} holds more than one column. Export the "
            "model with one input per column, or with one input for all."
        )
    own = tuple(spec.name for spec in inputs)
    if names is not None and set(names) != set(own):
        raise UsageError(
            f"The columns given are {', '.join(names)}; {feeds.outline.source} has {', '.join(own)}. "
            "Say which it takes with columns=."
        )
    asked = of_feeds(feeds.scores, labelled(feeds.outline, labels))
    texts = frozenset(spec.name for spec in inputs if spec.dtype == "str")
    return Table(asked, own, hidden, texts)


def _of_two(labels: Sequence[str]) -> dict[str, Any]:
    """Two labels are told to a model before it is read, for it may have one number for both."""
    return {"card": {"labels": list(labels)}} if len(labels) == 2 else {}


class Table:
    """Reads frames; see ``table``.

    Args:
        inner: A model of rows ``[N, S]`` of numbers, or one that is asked with whole columns.
        names: The columns, or None until the first frame.
        hidden: What a hidden column becomes.
        texts: Columns that the model takes as text, whatever a frame holds there.
    """

    answers = frozenset({Score})

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
        self.abilities = Abilities(read=self.read, codes=self, price=abilities_of(inner).price)
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

    def _frame(self, source: Any) -> dict[str, Any]:
        """Columns by name; an array ``[N, S]`` has the names that are known."""
        if isinstance(source, np.ndarray) and source.ndim == 2 and self._names is not None:
            if source.shape[1] != len(self._names):
                raise UsageError(
                    f"The rows are an array {list(source.shape)}; the model takes {len(self._names)} columns: "
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
                raise unknown("column", name, self._names, "Drop it, or say which columns the model takes: columns=.")
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
        said = f"median or most frequent value of {len(rows)} rows, {whose}" if rest else "as hidden= says"
        return codes, f"A hidden column becomes what is typical ({said}): {', '.join(told)}."

    def known(self, x: Array) -> tuple[Array, str]:
        """The rows ``[B, S]`` that ``columns=`` gave, else ``x``, and a sentence about them.

        Raises:
            UsageError: there is one row only.
        """
        rows, whose = self._known(x, self.names[0])
        return rows, f"Replacements are drawn from {len(rows)} rows, {whose}."

    def _known(self, x: Array, name: str) -> tuple[Array, str]:
        if self._seen is not None and len(self._seen) > 1:
            return self._seen, "those of columns="
        if len(x) > 1:
            return x, "those that are explained"
        raise UsageError(
            f"It is not known what a hidden column becomes, such as {name!r}: one row says nothing of what is typical. "
            "Give typical rows, background=rows, or one row, baseline=row; or say it: hidden={column: value}."
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
                f"The table has {len(names)} columns ({', '.join(names[:8])}); {inner.source} takes "
                f"{inner.layout.item[0]}. Say which it takes, in its order, with columns=."
            )
        for name in self._hidden:
            if name not in names:
                raise unknown("column in hidden=:", name, names)
