"""Tables exported by skl2onnx: label outputs, ZipMap, and the margins behind the probabilities."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.edits import Coalitions, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Score
from xplain.core.target import every_score, label

pytest.importorskip("skl2onnx")
ensemble = pytest.importorskip("sklearn.ensemble")
linear_model = pytest.importorskip("sklearn.linear_model")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")
NAMES = np.array(["setosa", "versicolor", "virginica"])


def data(classes=3):
    rng = np.random.default_rng(0)
    y = np.arange(150) % classes
    return (rng.normal(size=(150, 4)) + np.eye(4)[y] * 2).astype(np.float32), y


def export(classifier, x, y, **options):
    from skl2onnx import to_onnx

    return to_onnx(classifier.fit(x, y), x[:1], options={id(classifier): options} if options else None)


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_logistic_regression_gives_its_margins(zipmap, scaled):
    x, y = data()
    classifier = linear_model.LogisticRegression(max_iter=500)
    if scaled:
        classifier = pipeline.make_pipeline(preprocessing.StandardScaler(), classifier)
    model = xplain.load(export(classifier, x, NAMES[y], zipmap=zipmap))
    got = model.answer(Score(x, Untouched(), every_score))
    assert np.allclose(got, classifier.decision_function(x), atol=1e-4)
    assert model.outline.labels == tuple(NAMES)
    assert (model.outline.scores.kind, model.outline.scores.link) == ("logits", "softmax")


def test_a_forest_gives_probabilities_and_says_so():
    x, y = data()
    classifier = ensemble.RandomForestClassifier(20, max_depth=4, random_state=0)
    model = xplain.load(export(classifier, x, y))
    assert np.allclose(model.answer(Score(x, Untouched(), every_score)), classifier.predict_proba(x), atol=1e-5)
    assert model.outline.scores.kind == "probabilities"
    assert model.outline.labels == ("0", "1", "2")


def test_boosted_trees():
    x, y = data()
    classifier = ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0)
    model = xplain.load(export(classifier, x, y))
    got = model.answer(Score(x, Untouched(), every_score))
    assert np.allclose(got, classifier.decision_function(x), atol=1e-4)


def test_two_classes():
    x, y = data(2)
    classifier = linear_model.LogisticRegression().fit(x, y)
    model = xplain.load(export(classifier, x, y))
    got = model.answer(Score(x, Untouched(), every_score))
    margin = classifier.decision_function(x)
    assert np.allclose(got, np.stack([-margin, margin], axis=1), atol=1e-4)


def test_columns_are_hidden_one_by_one():
    x, y = data()
    classifier = linear_model.LogisticRegression(max_iter=500)
    model = xplain.load(export(classifier, x, NAMES[y]))
    keep = (1 - np.eye(4)).astype(np.uint8)
    edits = Coalitions(np.arange(4, dtype=np.int32), keep, np.zeros((1, 4), np.float32))
    got = model.answer(Score(x[:5], edits, label(2))).reshape(5, 4)
    whole = classifier.decision_function(x[:5])[:, 2:]
    assert np.allclose(whole - got, x[:5] * classifier.coef_[2], atol=1e-4)


def unfitted():
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    chain = make_pipeline(StandardScaler(), LogisticRegression())
    return [LogisticRegression(), RandomForestClassifier(), GradientBoostingRegressor(), SVC(), chain]


@pytest.mark.parametrize("door", [xplain.load, xplain.table])
def test_an_estimator_is_fitted_first(door):
    for estimator in unfitted():
        with pytest.raises(UsageError, match=f"{type(estimator).__name__} is not fitted, .* Fit it first"):
            door(estimator)
        estimator.fit(np.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 0, 1])
        door(estimator)  # the advice, followed


def test_an_estimator_of_ones_own_need_not_show_that_it_is_fitted():
    from sklearn.base import BaseEstimator, RegressorMixin

    class Own(RegressorMixin, BaseEstimator):
        def fit(self, rows, values):
            self.weight = 2.0  # no name that ends in _, by which scikit-learn knows a fitted one
            return self

        def predict(self, rows):
            return np.asarray(rows)[:, 1] * self.weight

    rows = {"a": [1.0, 2.0], "b": [3.0, 5.0]}
    assert xplain.predict(xplain.load(Own().fit(None, None)), rows)[:, 0] == pytest.approx([6.0, 10.0])


@pytest.mark.parametrize("door", [xplain.load, xplain.table])
def test_a_class_is_no_model(door):
    from sklearn.linear_model import LogisticRegression

    torch = pytest.importorskip("torch")
    for kind in (torch.nn.Linear, LogisticRegression):
        with pytest.raises(
            UsageError, match=rf"{kind.__name__} is a class.*xplain\.{door.__name__}\({kind.__name__}\("
        ):
            door(kind)
    door(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("methods", [3, np.zeros(3), np.array(3), [1], None])
def test_methods_of_a_stream_are_names(methods):
    with pytest.raises(UsageError, match="methods is .*; accepted: a method's name, several in a list"):
        xplain.explain_stream(lambda batch: batch, [np.zeros(3, np.float32)], methods)
