"""Affine tensors: only linear operators between input and score, never a product of two that depend on the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)


def model(*nodes: Any) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(W, "w"), numpy_helper.from_array(W[0], "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def test_a_linear_graph_is_proved_and_no_coalition_is_tried() -> None:
    """The softmax behind the logits is no hindrance: the score is the logit."""
    linear = model(node("Gemm", "x w b", "z"), node("Neg", "z", "s"), node("Softmax", "s", "y"))
    a = xplain.explain(linear, X, "linear-shap", target=1)
    np.testing.assert_allclose(a.values, -W[:, 1] * X, rtol=1e-4, atol=1e-5)
    assert a.notes["proof"] == "the graph has only linear operators between input and score"
    assert a.cost.queries == 2 * (1 + 1 + 4)


@pytest.mark.parametrize(
    "nodes",
    [
        (node("MatMul", "x w", "z"), node("Tanh", "z", "y")),
        (node("MatMul", "x w", "z"), node("Mul", "z z", "y")),
        (node("MatMul", "x w", "p"), node("Relu", "p", "q"), node("Sub", "p q", "y")),
    ],
    ids=["slope", "product of two", "branch"],
)
def test_what_is_not_linear_is_not_called_so(nodes: tuple[Any, ...]) -> None:
    loaded = xplain.load(model(*nodes))
    assert not loaded.outline.layer("y").affine
    with pytest.raises(xplain.XplainError, match="not additive in these features"):
        xplain.explain(loaded, X, "linear-shap", target=0)


def test_a_sum_of_curves_over_a_background_is_an_expectation() -> None:
    """Additive but not linear: the mean over the background is not the value at its mean."""
    background = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    curves = xplain.load(model(node("Tanh", "x", "t"), node("MatMul", "t w", "y")))
    a = xplain.explain(curves, X, "linear-shap", target=0, background=background)
    expected = W[:, 0] * (np.tanh(X) - np.tanh(background).mean(axis=0))
    np.testing.assert_allclose(a.values, expected, atol=1e-5)
    assert "random coalitions" in a.notes["proof"]
