"""A row has the same bits at every place of a batch, or batches hold one item's rows alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain


def summed(width: int, op: str = "ReduceSum") -> onnx.ModelProto:
    """Sizes of numbers, then their sum or another operator, then two scores."""
    weights = np.random.default_rng(0).standard_normal((1, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node(op, ["a", "axis"], ["s"], keepdims=1),
        helper.make_node("MatMul", ["s", "w"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])
    found = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1]), "axis")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [found], stored), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("width", "op", "together"), [(6, "ReduceSum", 1), (16, "ReduceSum", 32), (6, "ReduceMax", 32)]
)
def test_rows_share_a_call_where_their_sums_begin_alike(width, op, together):
    model = xplain.load(summed(width, op))
    assert model.least_rows((width,)) == together
    assert model.full_rows((width,), 32) == together


def test_an_item_has_its_bits_alone_and_in_company():
    model = xplain.load(summed(6))
    x = np.random.default_rng(1).standard_normal((7, 6)).astype(np.float32)
    whole = xplain.explain(model, x, "saliency")
    for n in range(len(x)):
        alone = xplain.explain(model, x[n : n + 1], "saliency")
        np.testing.assert_array_equal(alone.values[0], whole.values[n])
        np.testing.assert_array_equal(alone.scores, whole.scores[n : n + 1])
    np.testing.assert_array_equal(xplain.predict(model, x)[3:4], xplain.predict(model, x[3:4]))
