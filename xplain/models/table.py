"""Rows of a table as items: named columns of numbers and categories become one row of numbers each, and back.

    reader = xplain.table("pipeline.onnx")                     # one input per column, or one for all of them
    reader = xplain.table(model.predict_proba, columns=frame)  # a function of a DataFrame
    a = xplain.explain(reader, frame.head(3), "kernel-shap", background=reader.codes(frame))
    print(a)                                                   # a table: column, value, attribution

A number is its own code. A category's code is its place in the column's list of categories, from 1 on; 0 is no
category, so that a hidden category is never silently taken for the first one.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xplain import native
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, NonFinite, UsageError, unknown
from xplain.core.items import Columns, Items
from xplain.core.layout import Layout
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.price import Price
from xplain.core.query import Answer, Model, Query, Score
from xplain.core.stream import Piece, pieces
from xplain.core.target import SCORES
from xplain.models.frames import columns_of, is_frame, names_of, numbers, row_names, shown
from xplain.models.reading import score_rows

__all__ = ["Table", "table"]

_AT_ONCE = 1024


def table(
    source: Any,
    *,
    columns: Any = None,
    hidden: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    version: str = "",
    price: Any = None,
    **options: Any,
) -> Table:
    """A model of table rows.

    Args:
        source: An ONNX model with one input per column, or one input for all; a function from a ``DataFrame`` (or from
            ``{column: array}``, where pandas is not there) to scores ``[R, K]``; or a loaded model of rows ``[N, S]``.
        columns: Names of the columns in the model's order, or a frame that has them; needed for a function or a single
            input, unless the first rows that are read say it. Categories are taken from a frame as well.
        hidden: What a hidden category becomes, by column, where no baseline row or background says it.
        labels: Class names, where the model does not know them.
        version: Names the version of a function, so that its answers can be remembered.
        price: What an evaluation of a function costs.
        options: What ``xplain.load`` takes for an ONNX model or an endpoint.

    Raises:
        UsageError: a column name that is there twice, or an option that does not fit.
    """
    frame = columns if is_frame(columns) else None
    names = None if columns is None else names_of(columns)
    if hasattr(source, "answers"):
        made = Table(source, names, hidden)
    elif callable(source) and not hasattr(source, "SerializeToString"):
        made = Table(_Asked(source, labels, version, Price.read(price)), names, hidden)
    elif isinstance(source, str) and "://" in source:
        from xplain.models import load

        made = Table(load(source, labels=labels, version=version, price=price, **options), names, hidden)
    else:
        made = _onnx(source, names, hidden, labels, options)
    if frame is not None:
        made.codes(frame)
    return made


def _onnx(
    source: Any, names: tuple[str, ...] | None, hidden: Mapping[str, str] | None, labels: Sequence[str], options: Any
) -> Table:
    """One input for all columns is an ordinary model, gradients and all; one input per column is asked with feeds."""
    from xplain.models.onnx_feeds import OnnxFeeds

    feeds = OnnxFeeds(source, **options)
    inputs = feeds.outline.inputs
    if len(inputs) == 1 and inputs[0].dtype != "str":
        from xplain.models import load

        model: Any = load(source, **options)
        model.outline = _labelled(model.outline, labels)
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
    asked = _Asked(feeds.scores, outline=_labelled(feeds.outline, labels))
    texts = frozenset(spec.name for spec in inputs if spec.dtype == "str")
    return Table(asked, own, hidden, texts)


def _labelled(outline: Outline, labels: Sequence[str]) -> Outline:
    classes = outline.scores.classes
    if labels and classes not in (None, len(labels)):
        raise UsageError(f"{len(labels)} labels were given, but the model has {classes} classes. Give one per class.")
    return replace(outline, labels=tuple(labels)) if labels else outline


class Table:
    """Reads frames; see ``table``.

    Args:
        inner: A model of rows ``[N, S]`` of numbers, or one that is asked with whole columns.
        names: The columns, or None until the first frame.
        hidden: What a hidden category becomes.
        texts: Columns that the model takes as text, whatever a frame holds there.
    """

    answers = frozenset({Score})

    def __init__(
        self,
        inner: Any,
        names: Sequence[str] | None,
        hidden: Mapping[str, str] | None = None,
        texts: frozenset[str] = frozenset(),
    ) -> None:
        self._inner, self._hidden, self._texts = inner, dict(hidden or {}), texts
        self._names = None if names is None else tuple(names)
        self._categories: dict[str, list[str]] = {}
        self.outline: Outline = inner.outline
        self.answers = inner.answers
        if self._names is not None:
            self._check_names(self._names)

    def read(self, source: Any) -> tuple[Model, Items]:
        """Rows as numbers, and the model that answers questions about them.

        Args:
            source: A ``DataFrame``, a mapping of columns, or a list of mappings, one per row.

        Raises:
            UsageError: columns that are missing, unknown or there twice, or no rows.
            NonFinite: a missing value.
        """
        frame = columns_of(source)
        x = self.codes(source)
        assert self._names is not None
        values = tuple(tuple(shown(frame[name][row]) for name in self._names) for row in range(len(x)))
        columns = Columns(self._names, values)
        return _Rows(self._inner, self), Items(x, tuple(str(n) for n in row_names(source, len(x))), columns=columns)

    def codes(self, source: Any) -> Array:
        """Rows as the numbers that methods see, float32 ``[N, S]``: for ``baseline=`` and ``background=``.

        Raises:
            UsageError: columns that are missing, unknown or there twice, or no rows.
            NonFinite: a missing value.
        """
        frame = columns_of(source)
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
        x = np.empty((count, len(self._names)), np.float32)
        for column, name in enumerate(self._names):
            x[:, column] = self._coded(name, frame[name])
        return x

    def values(self, x: Array) -> dict[str, Array]:
        """Numbers ``[R, S]`` as columns again.

        Raises:
            UsageError: a number in a column of categories is the code of none.
        """
        assert self._names is not None
        return {name: self._decoded(name, x[:, k]) for k, name in enumerate(self._names)}

    @property
    def categorical(self) -> tuple[str, ...]:
        """Columns that hold categories."""
        return tuple(self._categories)

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

    def _coded(self, name: str, values: Array) -> Array:
        if name not in self._texts and values.dtype.kind in "fiub":
            if name in self._categories:
                raise UsageError(f"Column {name!r} held categories before, and numbers now. Give it one type.")
            return numbers(name, values)
        if any(value is None or value != value for value in values):
            row = next(k for k, value in enumerate(values) if value is None or value != value)
            raise NonFinite(
                f"Column {name!r} is missing in row {row}. Fill it as the model's training did, or drop it."
            )
        if not isinstance(self._inner, _Asked):
            raise UsageError(
                f"Column {name!r} holds text, but {self.outline.source} takes one row of numbers. Encode it as the "
                "model's training did, or export the model with one input per column."
            )
        known = self._categories.setdefault(name, [])
        for value in sorted({str(value) for value in values}):
            if value not in known:
                known.append(value)
        if name in self._hidden and self._hidden[name] not in known:
            known.append(self._hidden[name])
        return np.array([known.index(str(value)) + 1 for value in values], np.float32)

    def _decoded(self, name: str, codes: Array) -> Array:
        known = self._categories.get(name)
        if known is None:
            return codes
        whole = np.rint(codes).astype(np.int64)
        wrong = (np.abs(codes - whole) > 1e-3) | (whole < 0) | (whole > len(known))
        if not wrong.any() and name in self._hidden:
            whole[whole == 0] = known.index(self._hidden[name]) + 1
        wrong |= whole == 0
        if wrong.any():
            raise UsageError(
                f"A hidden {name!r} would become {float(codes[wrong.argmax()]):g}, which is none of its categories "
                f"({', '.join(known[:5])}{' ...' if len(known) > 5 else ''}). Give a row or rows instead: baseline="
                "reader.codes(row), background=reader.codes(rows), or table(..., hidden={column: category})."
            )
        return np.array([known[k - 1] for k in whole], dtype=object)


class _Rows:
    """Answers questions about rows of numbers by asking the inner model about what they stand for."""

    def __init__(self, inner: Any, reader: Table) -> None:
        self._inner, self._reader = inner, reader
        self.answers: frozenset[type] = inner.answers
        self._whole = isinstance(inner, _Asked)
        names = reader.names
        facts = {**inner.outline.facts, "columns": names, "categories": reader.categorical}
        self.outline = replace(inner.outline, facts=facts, layout=Layout("NS", (len(names),)))
        if self._whole:
            spec = TensorSpec("row", (None, len(names)), "float32")
            self.outline = replace(self.outline, inputs=(spec,), input=spec.name)
        self.price: Price | None = getattr(inner, "price", None)

    def answer(self, query: Query) -> Answer:
        """The answer to one question; questions about the inside of a graph are passed on as they are."""
        if not self._whole:
            return self._inner.answer(query)
        if not isinstance(query, Score) or query.at != "input":
            raise CapabilityError(f"{self.outline.source} is asked with whole columns and answers only Score.")
        start, stop = query.rows
        scores = self._inner.ask(self._values(query))
        return query.target.read({SCORES: scores}, np.arange(start, stop) // query.edits.count).reshape(
            stop - start, -1
        )

    def stream(self, query: Score) -> Iterator[Piece]:
        """The same, piece by piece where the inner model answers in pieces."""
        if self._whole:
            for start in range(*query.rows, _AT_ONCE):
                part = (start, min(start + _AT_ONCE, query.rows[1]))
                yield part, self.answer(replace(query, part=part))
        else:
            yield from pieces(self._inner, query, _AT_ONCE)

    def canonical(self, query: Score) -> list[bytes]:
        """Each row as bytes: what an answer is remembered under, whatever the codes of its categories."""
        columns = self._values(query)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [repr((self._reader.names, row)).encode() for row in rows]

    def __getattr__(self, name: str) -> Any:
        if name == "spent":  # only models that are billed by call have it
            return self._inner.spent
        raise AttributeError(name)

    def _values(self, query: Score) -> dict[str, Array]:
        start, stop = query.rows
        rows = np.empty((stop - start, query.x.shape[1]), np.float32)
        native.fill(query.x, query.edits, start, stop, rows, self.outline.layout)
        return self._reader.values(rows)


class _Asked:
    """A function of whole columns: a ``DataFrame`` where pandas is loaded, else ``{column: array}``."""

    answers = frozenset({Score})

    def __init__(
        self,
        function: Callable[[Any], Any],
        labels: Sequence[str] = (),
        version: str = "",
        price: Price | None = None,
        outline: Outline | None = None,
    ) -> None:
        self._function, self.price = function, price
        self._plain = outline is not None
        name = getattr(function, "__qualname__", type(function).__qualname__)
        self.outline = outline or Outline(
            source=f"function {name}",
            kind="function",
            digest=hashlib.sha256(f"function {name} {version}".encode()).hexdigest() if version else "",
            inputs=(TensorSpec("row", (), "float32"),),
            input="row",
            layout=None,
            scores=ScoreSpec("scores", len(labels) or None, "logits", "none", "what the function returns, as it is"),
            labels=tuple(labels),
            quirks=("It is not known whether the function returns logits or probabilities; logits explain better.",),
        )

    def ask(self, columns: Mapping[str, Array]) -> Array:
        """Scores ``[R, K]``.

        Raises:
            ModelError: what comes back is no row of scores per row.
        """
        given: Any = columns
        pandas = sys.modules.get("pandas")
        if not self._plain and pandas is not None:
            given = pandas.DataFrame(dict(columns))
        try:
            scores = np.asarray(self._function(given), dtype=np.float64)
        except Exception as error:
            error.add_note(f"raised by {self.outline.source} when xplain asked it about {list(columns)[:8]}")
            raise
        count = len(next(iter(columns.values())))
        if scores.ndim == 0 or len(scores) != count:
            raise UsageError(
                f"{self.outline.source} returned {list(scores.shape)} for {count} rows; accepted: [{count}, K]."
            )
        return score_rows(scores, self.outline.source, self.outline.scores.tensor)
