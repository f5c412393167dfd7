"""LRP without biases may divide by nearly nothing: the result says so, and the advice works."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain

X = np.array([[1.0, -1.0]], np.float32)


def net() -> onnx.ModelProto:
    """One neuron that only its bias opens: 1 - 0.99999 + 2."""
    stored = {
        "w": np.array([[1.0], [0.99999]], np.float32), "b": np.array([2.0], np.float32),
        "v": np.array([[1.0, 0.5]], np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v, k) for k, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_values_that_cancel_are_warned_of() -> None:
    a = xplain.explain(xplain.load(net(), threads=1), X, "lrp", target=0, rule="epsilon", bias=False, epsilon=1e-9)
    assert np.abs(a.values).sum() > 1e4 * np.abs(a.scores).max()
    told = [w.text for w in a.warnings if "cancel" in w.text]
    assert len(told) == 1
    assert "try bias=True, a larger epsilon, or rule='z-plus'." in told[0]


@pytest.mark.parametrize("more", [{"bias": True}, {"epsilon": 0.1, "bias": False}, {"rule": "z-plus", "bias": False}])
def test_what_the_warning_advises_helps(more: dict) -> None:
    a = xplain.explain(xplain.load(net(), threads=1), X, "lrp", target=0, **({"rule": "epsilon"} | more))
    assert not [w for w in a.warnings if "cancel" in w.text]
    assert np.abs(a.values).sum() < 100 * np.abs(a.scores).max()
