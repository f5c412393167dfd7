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
from dataclasses import fields
from typing import Any

import numpy as np

from xplain.core.abilities import is_model
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.outline import class_names
from xplain.core.price import Price
from xplain.models import load
from xplain.models.options import AskedOptions, FeedsOptions, OnnxOptions, options_for, refuse
from xplain.models.outlines import labelled
from xplain.models.rows.asked import of_columns, of_feeds
from xplain.models.rows.dataframes import is_rows, names_of
from xplain.models.rows.estimators import is_estimator, refuse_class
from xplain.models.rows.table import Table, of_estimator

__all__ = ["table"]


def table(
    source: Any,
    *,
    columns: Any = None,
    hidden: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
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
        scores: What an estimator is asked for: ``predict_proba``, ``decision_function`` or ``predict``; None: the first
            that it has.
        options: What the source's own door takes: ``version`` and ``price`` of a function or an estimator, and what
            ``xplain.load`` takes for an ONNX model, a torch module or an endpoint.

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
        raise UsageError(
            option("scores", scores), f" says what an estimator is asked for; {type(source).__name__} is none."
        )
    known = class_names(labels, numbers=True)
    if is_estimator(source) and not is_model(source):
        made = of_estimator(source, options_for(AskedOptions, options, source), scores, names, hidden, known)
    else:
        made = _opened(source, names, hidden, known, options)
    if is_rows(columns):
        made.learn(columns)
    return made


def _opened(
    source: Any,
    names: tuple[str, ...] | None,
    hidden: Mapping[str, Any] | None,
    labels: tuple[str, ...],
    options: dict[str, Any],
) -> Table:
    if is_model(source):
        refuse(options)
        return Table(source, names, hidden)
    if isinstance(source, str) and "://" in source:
        return Table(load(source, labels=labels, **options), names, hidden)
    refuse_class(source, "table")
    if hasattr(source, "named_modules"):
        return _of_rows(source, names, hidden, labels, options)
    if callable(source) and not hasattr(source, "SerializeToString"):
        asked = options_for(AskedOptions, options, source)
        return Table(of_columns(source, labels, asked.version, Price.read(asked.price)), names, hidden)
    return _onnx(source, names, hidden, labels, options)


def _of_rows(
    source: Any,
    names: tuple[str, ...] | None,
    hidden: Mapping[str, Any] | None,
    labels: Sequence[str],
    options: dict[str, Any],
) -> Table:
    """An ordinary model of rows of numbers; two labels are told to it first, for it may have one number for both."""
    model: Any = load(source, **({"card": {"labels": list(labels)}} if len(labels) == 2 else {}) | options)
    model.outline = labelled(model.outline, labels)
    return Table(model, names, hidden)


def _onnx(
    source: Any,
    names: tuple[str, ...] | None,
    hidden: Mapping[str, Any] | None,
    labels: Sequence[str],
    options: dict[str, Any],
) -> Table:
    """One input for all columns is an ordinary model, gradients and all; one input per column is asked with feeds."""
    from xplain.models.onnx.feeds import OnnxFeeds

    whole = options_for(OnnxOptions, options, source)
    feeds = OnnxFeeds(source, FeedsOptions(**{one.name: getattr(whole, one.name) for one in fields(FeedsOptions)}))
    inputs = feeds.outline.inputs
    if len(inputs) == 1 and inputs[0].dtype != "str":
        return _of_rows(source, names, hidden, labels, options)
    options_for(FeedsOptions, options, source)  # the others are for models of one input
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
            "Say which it takes with ",
            option("columns"),
            ".",
        )
    asked = of_feeds(feeds.scores, labelled(feeds.outline, labels))
    texts = frozenset(spec.name for spec in inputs if spec.dtype == "str")
    return Table(asked, own, hidden, texts)
