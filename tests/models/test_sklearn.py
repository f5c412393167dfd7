"""Tables exported by skl2onnx: label outputs, ZipMap, and the margins behind the probabilities."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.edits import Coalitions, Untouched
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
