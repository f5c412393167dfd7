"""shap's own explainers say the same."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.testing import Formula, linear

shap = pytest.importorskip("shap")

RNG = np.random.default_rng(4)
PLAYERS = 7
W = RNG.normal(size=(3, PLAYERS))
X = RNG.normal(size=(2, PLAYERS)).astype(np.float32)
BACKGROUND = RNG.normal(size=(5, PLAYERS)).astype(np.float32)


def function(rows: np.ndarray) -> np.ndarray:
    a, b, c = (np.asarray(rows, dtype=np.float64) @ w for w in W)
    return np.tanh(a) * b + np.sin(c)


MODEL = Formula(function, "NS", (PLAYERS,))


def ours(method: str, **options: object) -> np.ndarray:
    return np.array(xplain.explain(MODEL, X, method, **options).notes["feature_values"])


@pytest.mark.parametrize("method", ["kernel-shap", "exact-shapley"])
def test_kernel_explainer_with_all_coalitions(method: str) -> None:
    explainer = shap.KernelExplainer(function, BACKGROUND.astype(np.float64))
    theirs = explainer.shap_values(X.astype(np.float64), nsamples=2**PLAYERS, l1_reg=False, silent=True)
    np.testing.assert_allclose(ours(method, background=BACKGROUND), theirs, atol=1e-6)


def test_linear_explainer() -> None:
    weights = RNG.normal(size=PLAYERS)
    masker = shap.maskers.Independent(BACKGROUND.astype(np.float64), max_samples=len(BACKGROUND))
    theirs = shap.LinearExplainer((weights, 0.3), masker).shap_values(X.astype(np.float64))
    a = xplain.explain(linear(weights, 0.3), X, "linear-shap", background=BACKGROUND)
    np.testing.assert_allclose(a.notes["feature_values"], theirs, atol=1e-6)


@pytest.mark.parametrize(("context", "fixed"), [("both", None), ("absent", 0), ("present", 1)])
def test_partition_explainer_on_the_same_hierarchy(context: str, fixed: int | None) -> None:
    # scipy's linkage: left, right, distance, leaves below
    linkage = np.array([[0, 3, 1, 2], [1, 2, 1, 2], [7, 4, 2, 3], [5, 6, 2, 2], [8, 9, 3, 5], [11, 10, 4, 7]], float)
    masker = shap.maskers.Partition(BACKGROUND.astype(np.float64), clustering=linkage, max_samples=len(BACKGROUND))
    explainer = shap.PartitionExplainer(function, masker)
    theirs = explainer(X.astype(np.float64), max_evals=5000, fixed_context=fixed, silent=True).values
    found = ours("partition-shap", hierarchy=linkage, context=context, background=BACKGROUND, samples=5000)
    np.testing.assert_allclose(found, theirs, atol=1e-6)


def test_partition_stops_at_its_samples_and_stays_complete() -> None:
    a = xplain.explain(MODEL, X, "partition-shap", samples=12)
    np.testing.assert_allclose(np.sum(a.notes["feature_values"], axis=1), a.scores - a.base, atol=1e-9)
    assert all(groups > 0 for groups in a.notes["whole_groups"])
    assert a.cost.queries <= 2 * (1 + 1 + 12)


def test_hierarchy_messages() -> None:
    with pytest.raises(xplain.XplainError, match="The hierarchy has 1 row for 7 features"):
        xplain.explain(MODEL, X, "partition-shap", hierarchy=np.array([[0, 1]]))
    with pytest.raises(xplain.XplainError, match="joins 0 and 0 in row 0, which do not exist yet or overlap"):
        xplain.explain(MODEL, X, "partition-shap", hierarchy=np.zeros((6, 2)))
