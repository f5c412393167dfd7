"""Estimators that were fitted on tables: which of their functions is asked, and what its numbers are.

An estimator is anything with a ``predict``: scikit-learn's, LightGBM's, XGBoost's, CatBoost's, and boosters. Nothing of
these libraries is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.errors import UsageError
from xplain.core.trees import Trees
from xplain.models.rows.trees import reader_of

__all__ = ["Asked", "asked_of", "is_estimator", "refuse_class"]

Kind: TypeAlias = Literal["logits", "probabilities", "decisions"]

_WAYS = ("predict_proba", "decision_function", "predict")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an estimator.

    Args:
        function: From rows to scores.
        kind: What the scores are.
        labels: Names of the classes, where the estimator knows them.
        columns: Names of the columns it was fitted on, where it knows them.
        frames: Whether it was fitted on a frame, and so wants one.
        found: One sentence on what is asked, for a person to check.
        trees: How to read the trees that it adds up; None for one that is no sum of trees.
    """

    function: Callable[[Any], Any]
    kind: Kind
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    frames: bool
    found: str
    trees: Callable[[], Trees] | None = None


def is_estimator(source: Any) -> bool:
    """Whether this can be asked to predict rows and is no function itself."""
    return callable(getattr(source, "predict", None)) and not callable(source) and not isinstance(source, type)


def refuse_class(source: Any, door: str) -> None:
    """Refuse a class, which can be called as a function can but makes a model in place of scores.

    Args:
        source: What was given as a model.
        door: The function of ``xplain`` that got it.

    Raises:
        UsageError: it is a class.
    """
    if isinstance(source, type):
        name = source.__name__
        raise UsageError(f"{name} is a class, not a model. Make an instance: xplain.{door}({name}(...)).")


def asked_of(estimator: Any, scores: str | None = None) -> Asked:
    """What is asked: probabilities where there are any, else the decision function, else predictions.

    Args:
        estimator: A fitted one.
        scores: ``predict_proba``, ``decision_function`` or ``predict``, to ask for that.

    Raises:
        UsageError: it has no such function, or was not fitted.
    """
    name = type(estimator).__name__
    if hasattr(estimator, "get_booster") or hasattr(
        estimator, "booster_"
    ):  # both have a frame's names in a place of own
        return _sklearn(estimator, name, scores)
    if hasattr(estimator, "num_model_per_iteration") and hasattr(estimator, "feature_name"):
        return _lightgbm(estimator)
    if hasattr(estimator, "inplace_predict"):
        return _xgboost(estimator)
    return _sklearn(estimator, name, scores)


def _must_be_fitted(estimator: Any, name: str, way: str) -> None:
    """Refuse an estimator that was never fitted.

    scikit-learn looks for attributes that end in ``_``, which somebody's own estimator may lack though it is fitted:
    so one that looks unfitted is asked about a row of zeros, and refused only if it says itself that it is not fitted.
    """
    validation, errors = (sys.modules.get(f"sklearn.{part}") for part in ("utils.validation", "exceptions"))
    if validation is None or errors is None or not callable(getattr(estimator, "fit", None)):
        return
    try:
        validation.check_is_fitted(estimator)
    except errors.NotFittedError:
        try:
            getattr(estimator, way)(np.zeros((1, 1)))
        except errors.NotFittedError:
            raise UsageError(f"{name} is not fitted, so it has nothing to explain. Fit it first.") from None
        except Exception:  # one column may be the wrong number: that it is fitted is all that is asked
            return
    except Exception:  # what scikit-learn cannot judge is judged when it is asked
        return


def _sklearn(estimator: Any, name: str, scores: str | None) -> Asked:
    able = [way for way in _WAYS if callable(getattr(estimator, way, None))]
    if scores is not None and scores not in able:
        raise UsageError(option="scores", got=scores, accepted=f"{', '.join(able)}, which {name} has")
    way = scores or able[0]
    _must_be_fitted(estimator, name, way)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, (list, tuple)) and len(classes) and isinstance(classes[0], np.ndarray):
        raise UsageError(
            f"{name} predicts {len(classes)} outputs at once; explain one: xplain.table(lambda rows: "
            "estimator.predict_proba(rows)[0], columns=frame)."
        )
    labels = () if classes is None else tuple(str(one) for one in np.asarray(classes).tolist())
    columns = tuple(str(one) for one in np.asarray(getattr(estimator, "feature_names_in_", ())).tolist())
    if not columns and hasattr(estimator, "booster_"):
        columns = tuple(estimator.booster_.feature_name())
        columns = () if all(one == f"Column_{k}" for k, one in enumerate(columns)) else columns
    function, kind = getattr(estimator, way), _kind(way, labels)
    if kind == "decisions":
        function = _decided(estimator, np.asarray(classes))
    trees = reader_of(estimator, way)
    return Asked(function, kind, labels, columns, bool(columns), f"what {name}.{way} returns", trees)


def _kind(way: str, labels: tuple[str, ...]) -> Kind:
    if way == "predict_proba":
        return "probabilities"
    return "decisions" if way == "predict" and labels else "logits"


def _decided(estimator: Any, classes: Any) -> Callable[[Any], Any]:
    return lambda rows: np.asarray(estimator.predict(rows)).reshape(-1, 1) == classes[None, :]


def _lightgbm(booster: Any) -> Asked:
    columns = tuple(booster.feature_name())
    named = not all(one == f"Column_{k}" for k, one in enumerate(columns))
    found = "what Booster.predict(raw_score=True) returns"
    function, trees = partial(booster.predict, raw_score=True), reader_of(booster, "margins")
    return Asked(function, "logits", (), columns if named else (), named, found, trees)


def _xgboost(booster: Any) -> Asked:
    def margins(rows: Any) -> Any:
        from importlib import import_module

        data = import_module("xgboost").DMatrix(rows, enable_categorical=True)
        return booster.predict(data, output_margin=True)

    columns = tuple(booster.feature_names or ())
    found = "what Booster.predict(output_margin=True) returns"
    return Asked(margins, "logits", (), columns, bool(columns), found, reader_of(booster, "margins"))
