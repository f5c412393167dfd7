"""TreeSHAP: equal to shap.TreeExplainer and to all coalitions, from estimators and from their files."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.errors import CapabilityError, UsageError

pytest.importorskip("sklearn", reason="the trees are scikit-learn's and its peers'")

COLUMNS = 6
RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(160, COLUMNS)), 3).astype(np.float32)
X[::7, 2] = 0.0
Y = ((X[:, 0] > 0) ^ (X[:, 1] + X[:, 2] > 0.3)).astype(int)
MANY = np.clip(np.round(X[:, 0] + X[:, 3]), -1, 1).astype(int) + 1
ITEMS, BACKGROUND = X[:4], X[60:75]


def fitted(name: str) -> tuple[Any, dict[str, Any]]:
    """An estimator, and how it is asked so that its score is the sum of its trees."""
    from sklearn import ensemble, tree

    raw = {"scores": "decision_function"}
    if name == "lightgbm":
        lightgbm = pytest.importorskip("lightgbm")
        data = lightgbm.Dataset(X, label=Y, free_raw_data=False)
        return lightgbm.train(
            {"objective": "binary", "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}, data, 8
        ), {}
    if name == "xgboost":
        xgboost = pytest.importorskip("xgboost")
        model = xgboost.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1).fit(X, X[:, 0] * X[:, 1] + X[:, 2])
        return model, {}
    makers = {
        "forest": (ensemble.RandomForestClassifier(6, max_depth=4, random_state=0), Y, {}),
        "forest of three classes": (ensemble.RandomForestClassifier(5, max_depth=3, random_state=0), MANY, {}),
        "regressing forest": (ensemble.ExtraTreesRegressor(5, max_depth=4, random_state=0), X[:, 0] * X[:, 1], {}),
        "boosting": (ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0), Y, raw),
        "regressing boosting": (
            ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0),
            X[:, 0] * X[:, 2],
            {},
        ),
        "histogram boosting": (ensemble.HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=5), Y, raw),
        "tree": (tree.DecisionTreeRegressor(max_depth=5, random_state=0), X[:, 0] * X[:, 1], {}),
    }
    estimator, wanted, how = makers[name]
    return estimator.fit(X, wanted), how


NAMES = ["lightgbm", "xgboost", "forest", "forest of three classes", "regressing forest", "boosting"]
NAMES += ["regressing boosting", "histogram boosting", "tree"]


def peer(model: Any, kind: str, target: int) -> tuple[np.ndarray, float]:
    shap = pytest.importorskip("shap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"data": BACKGROUND} if kind == "interventional" else {}
        how = "tree_path_dependent" if kind == "path-dependent" else kind
        explainer = shap.TreeExplainer(model, feature_perturbation=how, **given)
        values = np.asarray(explainer.shap_values(ITEMS, check_additivity=False))
    base = np.atleast_1d(explainer.expected_value)
    if values.ndim == 3:
        return values[..., target], float(base[target])
    return values, float(base[-1])


@pytest.mark.parametrize("kind", ["interventional", "path-dependent"])
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_shaps_tree_explainer(name: str, kind: str) -> None:
    model, how = fitted(name)
    target = int(hasattr(model, "classes_"))  # shap has the second class's margin
    theirs, base = peer(model, kind, target)
    reader = xplain.table(model, columns=[f"c{k}" for k in range(COLUMNS)], **how)
    given = {"background": BACKGROUND} if kind == "interventional" else {"kind": kind}
    a = xplain.explain(reader, rows(ITEMS), "tree-shap", target=target, **given)
    np.testing.assert_allclose(a.values, theirs, atol=1e-6)
    np.testing.assert_allclose(a.base, base, atol=1e-6)
    np.testing.assert_allclose(a.values.sum(axis=1), a.scores - a.base, atol=1e-5)
    assert a.cost.queries <= 2 * len(ITEMS)


def rows(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"c{k}": x[:, k] for k in range(COLUMNS)}


@pytest.mark.parametrize("name", ["forest", "boosting", "lightgbm"])
def test_interventional_values_are_those_of_all_coalitions(name: str) -> None:
    model, how = fitted(name)
    reader = xplain.table(model, columns=[f"c{k}" for k in range(COLUMNS)], **how)
    ours, exact = (
        xplain.explain(reader, rows(ITEMS), method, target=0, background=BACKGROUND)
        for method in ("tree-shap", "exact-shapley")
    )
    np.testing.assert_allclose(ours.values, exact.values, atol=1e-5)
    np.testing.assert_allclose(ours.base, exact.base, atol=1e-5)


def test_probabilities_are_explained_before_their_link_and_the_result_says_so() -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=6, random_state=0).fit(X, Y)
    reader = xplain.table(model, columns=rows(X))
    a = xplain.explain(reader, rows(ITEMS), "tree-shap", target=1, kind="path-dependent")
    margin = model.decision_function(ITEMS)
    np.testing.assert_allclose(a.values.sum(axis=1) + a.base, margin, atol=1e-5)
    assert "log-odds" in a.unit
    assert any("before the model's sigmoid" in text for text in a.said)
    other = xplain.explain(
        xplain.table(model, columns=rows(X)), rows(ITEMS), "tree-shap", target=0, kind="path-dependent"
    )
    np.testing.assert_allclose(other.values, -a.values, atol=1e-6)


def test_gaps_and_zeros_go_where_the_library_sends_them() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x = X.astype(np.float64).copy()
    x[::3, 0] = np.nan
    for more in ({}, {"zero_as_missing": True}, {"use_missing": False}):
        model = lightgbm.train(
            {"objective": "regression", "verbose": -1, "min_data_in_leaf": 4, "num_threads": 1, **more},
            lightgbm.Dataset(x, label=X[:, 1] * (X[:, 2] > 0) + np.isnan(x[:, 0])),
            6,
        )
        reader = xplain.table(model, columns=[f"c{k}" for k in range(COLUMNS)])
        a = xplain.explain(reader, rows(x[:9]), "tree-shap", target=0, kind="path-dependent")
        np.testing.assert_allclose(a.each["sum of the trees"], model.predict(x[:9]), atol=1e-6)
        assert not [text for text in a.said if "something else" in text]


def onnx_of(name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = fitted(name)
        if name in ("lightgbm", "xgboost"):
            tools = pytest.importorskip("onnxmltools")
            from onnxmltools.convert.common.data_types import FloatTensorType

            kind = [("x", FloatTensorType([None, COLUMNS]))]
            convert = tools.convert_lightgbm if name == "lightgbm" else tools.convert_xgboost
            more = {"zipmap": False} if name == "lightgbm" else {}
            return convert(model, initial_types=kind, **more).SerializeToString()
        skl2onnx = pytest.importorskip("skl2onnx")
        options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
        return skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "histogram boosting"])
def test_a_file_is_explained_as_the_estimator_that_it_was_exported_from(name: str) -> None:
    model = xplain.load(onnx_of(name))
    target = 1 if "forest" in name and "regressing" not in name else 0
    a = xplain.explain(model, ITEMS, "tree-shap", target=target, background=BACKGROUND)
    theirs, _ = peer(fitted(name)[0], "interventional", target)
    classes = model.outline.scores.classes
    sign = -1.0 if classes == 2 and name in ("lightgbm", "boosting") else 1.0  # shap has the second class's margin
    np.testing.assert_allclose(sign * a.values, theirs, atol=1e-6)
    np.testing.assert_allclose(a.values.sum(axis=1), a.scores - a.base, atol=1e-4)
    assert not [text for text in a.said if "something else" in text]
    with pytest.raises(UsageError, match="number of training rows at each split"):
        xplain.explain(model, ITEMS, "tree-shap", target=target, kind="path-dependent")


def test_who_is_no_sum_of_trees_says_what_fits() -> None:
    from sklearn.linear_model import LogisticRegression

    reader = xplain.table(LogisticRegression().fit(X, Y), columns=rows(X))
    with pytest.raises(CapabilityError, match="tree-shap needs Ensemble, .*Methods that fit: .*kernel-shap"):
        xplain.explain(reader, rows(ITEMS), "tree-shap", target=1)


def test_a_single_row_needs_no_background_where_paths_are_followed() -> None:
    model, how = fitted("boosting")
    reader = xplain.table(model, columns=[f"c{k}" for k in range(COLUMNS)], **how)
    a = xplain.explain(reader, rows(ITEMS[:1]), "tree-shap", target=0)
    assert a.facts["kind"] == "path-dependent"


def test_trees_are_explained_by_their_trees_where_no_method_is_named() -> None:
    model, how = fitted("boosting")
    reader = xplain.table(model, columns=rows(X), **how)
    a = xplain.explain(reader, rows(ITEMS), target=1)
    assert a.method == "tree-shap"
    assert a.facts["kind"] == "interventional"  # from the rows of columns=
    assert a.facts["method chosen"].startswith("tree-shap: the model is a sum of trees")
