"""Fitted estimators are models of their table: asked for what they are, in the types that they were fitted on."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(18, 80, 300).round(),
            "zip": rng.integers(0, 5, 300),
            "job": pd.Categorical(rng.choice(["nurse", "clerk", "cook"], 300)),
            "member": rng.random(300) < 0.5,
        }
    )
    y = ((frame.age > 40).astype(int) + (frame.job == "nurse") + (frame.zip == 2) > 1).astype(int)
    return frame, y


def shapley(score, row, background):
    """Shapley values by their definition, with columns taken from background rows one by one."""
    names = list(row.columns)

    @functools.cache
    def worth(kept):
        mixed = background.copy()
        for name in kept:
            mixed[name] = pd.Series([row[name].iloc[0]] * len(mixed), index=mixed.index).astype(row[name].dtype)
        return score(mixed).mean()

    found = np.zeros(len(names))
    orders = list(itertools.permutations(names))
    for order in orders:
        for k, name in enumerate(order):
            found[names.index(name)] += (worth(frozenset(order[: k + 1])) - worth(frozenset(order[:k]))) / len(orders)
    return found


def fitted(kind, frame, y):
    if kind in ("lightgbm", "booster"):
        lgb = pytest.importorskip("lightgbm")
        model = lgb.LGBMClassifier(n_estimators=12, verbose=-1, n_jobs=1).fit(frame, y)
        return model if kind == "lightgbm" else model.booster_
    if kind in ("xgboost", "xgb booster"):
        xgb = pytest.importorskip("xgboost")
        model = xgb.XGBClassifier(n_estimators=12, n_jobs=1, enable_categorical=True).fit(frame, y)
        return model if kind == "xgboost" else model.get_booster()
    pytest.importorskip("sklearn")
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import LinearSVC

    if kind == "boosting":
        return HistGradientBoostingClassifier(max_iter=12, categorical_features="from_dtype").fit(frame, y)
    prepare = ColumnTransformer([("n", StandardScaler(), ["age", "zip"]), ("c", OneHotEncoder(), ["job", "member"])])
    last = {
        "pipeline": LogisticRegression(),
        "svc": LinearSVC(),
        "regressor": RandomForestRegressor(n_estimators=6, random_state=0),
    }[kind]
    return make_pipeline(prepare, last).fit(frame, y)


WAYS = {
    "lightgbm": ("probabilities", lambda m: lambda t: m.predict_proba(t)[:, 1]),
    "booster": ("logits", lambda m: lambda t: m.predict(t, raw_score=True)),
    "xgboost": ("probabilities", lambda m: lambda t: m.predict_proba(t)[:, 1]),
    "xgb booster": (
        "logits",
        lambda m: lambda t: m.predict(__import__("xgboost").DMatrix(t, enable_categorical=True), output_margin=True),
    ),
    "boosting": ("probabilities", lambda m: lambda t: m.predict_proba(t)[:, 1]),
    "pipeline": ("probabilities", lambda m: lambda t: m.predict_proba(t)[:, 1]),
    "svc": ("logits", lambda m: m.decision_function if False else lambda t: m.decision_function(t)),
    "regressor": ("logits", lambda m: lambda t: m.predict(t)),
}


@pytest.mark.parametrize("kind", WAYS)
def test_an_estimator_is_a_model_of_its_table(kind, people):
    frame, y = people
    model = fitted(kind, frame, y)
    kind_of_scores, way = WAYS[kind]
    reader = xplain.table(model, columns=frame)
    assert reader.outline.scores.kind == kind_of_scores
    row, background = frame.iloc[[7]], frame.iloc[40:46]
    scores = xplain.predict(reader, frame.head(20))
    np.testing.assert_allclose(scores[:, -1], way(model)(frame.head(20)), rtol=1e-6)
    a = xplain.explain(reader, row, "exact-shapley", target=scores.shape[1] - 1, background=background)
    np.testing.assert_allclose(a.values[0], shapley(way(model), row, background), atol=2e-5)
    if kind_of_scores == "probabilities":
        assert reader.outline.labels == ("0", "1")


def test_an_estimator_that_was_fitted_on_an_array_is_given_one(people):
    pytest.importorskip("sklearn")
    import warnings

    from sklearn.linear_model import LinearRegression, Perceptron

    x = people[0][["age", "zip"]].to_numpy(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LinearRegression().fit(x, people[1])
        rows = people[0][["age", "zip"]].head(3)
        a = xplain.explain(xplain.table(model), rows, "exact-shapley", baseline={"age": 0.0, "zip": 0})
        np.testing.assert_allclose(a.values, model.coef_ * rows.to_numpy(), rtol=1e-4)
        decided = xplain.table(Perceptron().fit(x, people[1]), scores="predict", columns=["age", "zip"])
        assert decided.outline.scores.kind == "decisions"
        assert set(xplain.predict(decided, rows).reshape(-1)) <= {0.0, 1.0}
    with pytest.raises(UsageError, match=r"scores is 'predict_proba'; accepted: predict, which LinearRegression has"):
        xplain.table(model, scores="predict_proba")


def test_a_torch_module_has_its_gradients():
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 2).eval()
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    a = xplain.explain(xplain.table(net, columns=rows), rows, "input-x-gradient", target=0)
    np.testing.assert_allclose(a.values, rows.to_numpy() * net.weight[0].detach().numpy(), rtol=1e-5)
    assert a.columns.names == ("a", "b")


def test_an_estimator_needs_no_door(people):
    frame, y = people
    model = fitted("pipeline", frame, y)
    reader = xplain.table(model, columns=frame)
    wanted = xplain.explain(reader, frame.head(2), "exact-shapley", background=frame.head(8))
    found = xplain.explain(model, frame.head(2), "exact-shapley", background=frame.head(8))
    np.testing.assert_allclose(found.values, wanted.values, atol=1e-6)
    np.testing.assert_allclose(xplain.predict(model, frame.head(3)), model.predict_proba(frame.head(3)))
