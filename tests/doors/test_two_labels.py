"""One sigmoid with two labels, and a class that the model masks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import XplainError

W = np.random.default_rng(0).normal(size=(4, 1)).astype(np.float32)
X = np.array([[1, 0, 0, 1], [0, -1, 2, 0]], np.float32)
CARD = {"labels": ["cat", "dog"]}


def onnx_net(head: str) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node(head, ["z"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k]) for n, k in (("x", 4), ("y", 1)))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Net(torch.nn.Module):
    def forward(self, x):
        return torch.sigmoid(x @ torch.from_numpy(W)).squeeze(1)


@pytest.mark.parametrize("door", ["onnx", "torch", "onnx logits"])
def test_the_second_label_has_the_score_and_the_first_its_other_side(door):
    source = {"onnx": onnx_net("Sigmoid"), "torch": Net(), "onnx logits": onnx_net("Identity")}[door]
    model = xplain.load(source, card=CARD)
    np.testing.assert_allclose(xplain.predict(model, X), np.concatenate([-X @ W, X @ W], 1), rtol=1e-5)
    for label, sign in (("dog", 1), ("cat", -1)):
        a = xplain.explain(model, X, "input-x-gradient", target=label)
        np.testing.assert_allclose(a.values, sign * X * W[:, 0], rtol=1e-5)
        assert a.unit == "delta logit, first order"
    best = xplain.explain(model, X, "lrp", rule="epsilon")
    assert best.labels == tuple(int(s > 0) for s in (X @ W)[:, 0])


def test_probabilities_have_the_other_side_of_one():
    model = xplain.load(onnx_net("HardSigmoid"), card=CARD)
    p = xplain.predict(model, X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert model.outline.scores.kind == "probabilities"


def test_a_masked_class_is_no_obstacle_for_the_others():
    def masked(x):
        return np.where([True, True, False], x[:, :3], -np.inf)

    a = xplain.explain(masked, X, "occlusion", patch=1, stride=1)
    assert a.labels == (0, 0)
    with pytest.raises(XplainError, match="-inf"):
        xplain.explain(masked, X, "occlusion", target=2, patch=1, stride=1)


def one_column(x, logits: bool):
    z = np.asarray(x, np.float64) @ W
    return z if logits else 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_a_function_may_return_one_column_for_two_labels(logits, flat):
    def function(x):
        found = one_column(x, logits)
        return found[:, 0] if flat else found

    model = xplain.load(function, card=CARD)
    scores = one_column(X, logits)
    other = -scores if logits else 1 - scores
    np.testing.assert_allclose(xplain.predict(model, X), np.concatenate([other, scores], 1), rtol=1e-6)
    hidden = np.repeat(X[:, None], 4, axis=1) * (1 - np.eye(4, dtype=np.float32))
    expected = scores - one_column(hidden, logits)[..., 0]
    for label, sign in (("dog", 1), ("cat", -1)):
        a = xplain.explain(model, X, "occlusion", patch=1, stride=1, target=label)
        np.testing.assert_allclose(a.values, sign * expected, rtol=1e-4, atol=1e-6)
    assert model.outline.scores.kind == ("logits" if logits else "probabilities")
    best = xplain.explain(model, X, "occlusion", patch=1, stride=1).labels
    assert best == tuple((scores > other)[:, 0].astype(int).tolist())


def test_a_number_that_is_no_probability_after_others_that_were():
    model = xplain.load(lambda x: x[:, :1], card=CARD)
    xplain.predict(model, np.full((2, 4), 0.5, np.float32))
    with pytest.raises(XplainError, match=r"returned 2 as the one number.*Return two columns"):
        xplain.predict(model, np.full((2, 4), 2, np.float32))


def test_an_estimator_with_one_score_for_two_classes_names_both():
    linear_model = pytest.importorskip("sklearn.linear_model")
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(60, 4)), columns=list("abcd"))
    truth = np.where(frame["a"] + frame["b"] > 0, "dog", "cat")
    fitted = linear_model.RidgeClassifier().fit(frame, truth)
    model = xplain.table(fitted, columns=frame)
    margin = fitted.decision_function(frame.head(5))
    for label, sign in (("dog", 1), ("cat", -1)):
        a = xplain.explain(model, frame.head(5), "occlusion", target=label, baseline=0.0)
        np.testing.assert_allclose(a.scores, sign * margin, rtol=1e-6)
        np.testing.assert_allclose(a.values, sign * frame.head(5).to_numpy() * fitted.coef_, rtol=1e-3, atol=1e-5)
    found = xplain.explain(model, frame.head(5), "occlusion", baseline=0.0)
    assert found.labels == tuple(int(m > 0) for m in margin)


@pytest.mark.parametrize("door", ["function", "onnx", "torch"])
def test_a_table_of_two_labels_may_have_one_score(door):
    def function(frame):
        return np.stack([np.asarray(frame[c], np.float64) for c in "abcd"], 1) @ W

    source = {"function": function, "onnx": onnx_net("Identity"), "torch": Net()}[door]
    rows = {name: X[:, k] for k, name in enumerate("abcd")}
    model = xplain.table(source, columns=list("abcd"), labels=["cat", "dog"])
    for label, sign in (("dog", 1), ("cat", -1)):
        a = xplain.explain(model, rows, "occlusion", target=label, baseline=0.0)
        np.testing.assert_allclose(a.values, sign * X * W[:, 0], rtol=1e-4, atol=1e-6)
        assert "logit" in a.unit
