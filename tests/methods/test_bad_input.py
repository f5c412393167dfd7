"""What goes wrong with black boxes, and what xplain then says."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import BudgetError, NonFinite, UsageError
from xplain.testing import Formula, linear

GAMES = ["ablation", "anchors", "banzhaf", "exact-shapley", "kernel-shap", "lime", "linear-shap", "partition-shap"]
GAMES += ["qii", "shapley-sampling"]
X = np.array([[1.0, -2.0, 0.5, 3.0]], np.float32)


@pytest.mark.parametrize(
    ("method", "samples", "least"),
    [("kernel-shap", 20, 48), ("banzhaf", 20, 48), ("lime", 20, 25), ("shapley-sampling", 20, 76)],
)
def test_more_features_than_samples(method: str, samples: int, least: int) -> None:
    x = np.ones((1, 20), np.float32)
    with pytest.raises(UsageError, match=f"20 features need at least {least} samples"):
        xplain.explain(linear(np.ones(20)), x, method, samples=samples)
    xplain.explain(linear(np.ones(20)), x, method, samples=least)


def test_fewer_than_two_replacements() -> None:
    with pytest.raises(UsageError, match="samples is 1; accepted: at least 2: so many replacements"):
        xplain.explain(linear(np.ones(4)), X, "qii", samples=1)


@pytest.mark.parametrize("method", GAMES)
def test_a_single_feature_is_worth_everything(method: str) -> None:
    if method == "anchors":
        a = xplain.explain(linear(np.ones(1), -1.0), np.full((1, 1), 3.0, np.float32), method)
        assert a.notes["rule"] == [(0,)]
        return
    options = {"qii": {"background": np.zeros((1, 1), np.float32)}, "lime": {"penalty": 0}}.get(method, {})
    a = xplain.explain(linear(np.ones(1)), np.full((1, 1), 3.0, np.float32), method, **options)
    assert a.values[0, 0] == pytest.approx(3.0)


# anchors take decisions alone; there the door to the model refuses NaN
@pytest.mark.parametrize("method", [*(m for m in GAMES if m != "anchors"), "rise", "occlusion"])
def test_scores_that_are_no_numbers(method: str) -> None:
    def breaks(rows: np.ndarray) -> np.ndarray:
        scores = rows.sum(axis=1).astype(float)
        return np.where((rows == 0).any(axis=1), np.nan, scores)

    options = {"rise": {"cells": 2}, "qii": {"background": np.zeros((1, 4), np.float32)}}.get(method, {})
    with pytest.raises(NonFinite, match="The score of '0' for item 0 under edit .* is nan"):
        xplain.explain(Formula(breaks, "NS", (4,)), X, method, **options)


@pytest.mark.parametrize(
    ("method", "least"), [("kernel-shap", 15), ("shapley-sampling", 13), ("banzhaf", 17), ("lime", 9), ("qii", 8)]
)
def test_a_budget_below_the_minimum_says_the_minimum(method: str, least: int) -> None:
    two = np.concatenate([X, X + 1])
    drawn = {"background": two} if method == "qii" else {}
    model = Formula(lambda rows: np.sin(rows.astype(float)).sum(axis=1), "NS", (4,))
    with pytest.raises(BudgetError, match=f"method '{method}' needs at least {2 * least} more .* for 2 items") as error:
        xplain.explain(model, two, method, samples=100, max_queries=2 + 2 * least - 1, **drawn)
    assert error.value.left == 2 * least - 1
    assert model.rows == 2  # nothing was asked but the predictions
    assert (
        xplain.explain(model, two, method, samples=100, max_queries=2 + 2 * least, **drawn).cost.queries
        <= 2 + 2 * least
    )


def test_a_callable_that_raises_says_which_method_was_asking() -> None:
    calls = []

    def fails(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        if len(calls) > 2:
            raise RuntimeError("the model fell over")
        return rows.sum(axis=1)

    with pytest.raises(RuntimeError, match="the model fell over") as error:
        xplain.explain(Formula(fails, "NS", (4,)), X, "kernel-shap")
    assert any("kernel-shap" in note for note in error.value.__notes__)


def test_backgrounds_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"The background is \[3, 5\]; accepted: \[B, \*item\] with items \[4\]"):
        xplain.explain(linear(np.ones(4)), X, "kernel-shap", background=np.zeros((3, 5)))


def test_windows_and_features_at_once() -> None:
    with pytest.raises(UsageError, match="patch and stride describe windows; leave them out when features are given"):
        xplain.explain(linear(np.ones(4)), X, "occlusion", patch=1, features="columns")
    with pytest.raises(UsageError, match="'inpaint' paints features over; say which"):
        xplain.explain(linear(np.ones(4)), X, "occlusion", baseline="inpaint")
    with pytest.raises(UsageError, match="Baseline 'inpaint' needs pictures"):
        xplain.explain(linear(np.ones(4)), X, "ablation", baseline="inpaint")
