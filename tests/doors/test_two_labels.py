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
