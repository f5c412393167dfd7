"""What is asked with whole columns: functions of frames, fitted estimators, ONNX models with an input for each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.price import Price
from xplain.models.rows.dataframes import as_array, numbers_of
from xplain.models.rows.estimators import Asked
from xplain.models.rows.function import Function, outline_of

__all__ = ["of_columns", "of_feeds"]


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
    function = _framed(asked.function) if asked.frames else _stacked(asked.function)
    return Function(function, outline, price, "rows", trees=asked.trees)


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
