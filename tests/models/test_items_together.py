"""Models that put the items of a batch together are asked item by item: each would answer for the others beside it."""

from __future__ import annotations

import nets
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.edits import Untouched
from xplain.core.query import Score
from xplain.core.target import every_score

FLOAT = TensorProto.FLOAT

N = helper.make_node
TOGETHER = {
    "mean": [N("ReduceMean", ["x", "first"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "mean of all": [N("ReduceMean", ["x"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "cumulated": [N("CumSum", ["x", "zero"], ["y"])],
    "softmax": [N("Softmax", ["x"], ["y"], axis=0)],
    "counted from the end": [N("Softmax", ["x"], ["y"], axis=-4)],
    "norm": [N("MeanVarianceNormalization", ["x"], ["y"])],
    "largest": [N("ReduceMax", ["x", "first"], ["m"]), N("Div", ["x", "m"], ["y"])],
}
APART = {
    "of each item": [N("ReduceMean", ["x", "second"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "beside the scores": [N("ReduceMean", ["x"], ["side"]), N("Identity", ["x"], ["y"])],
    "the same for all": [N("ReduceMax", ["x"], ["m"]), N("Mul", ["m", "none"], ["o"]), N("Sub", ["x", "o"], ["y"])],
    "softmax": [N("Softmax", ["x"], ["y"], axis=1)],
}


def _over_items(nodes):
    stored = {
        "first": np.array([0]), "second": np.array([1]), "zero": np.array(0), "none": np.zeros((), "f"),
        "w": np.random.default_rng(3).standard_normal((48, 3)).astype(np.float32),
    }  # fmt: skip
    outputs = {"scores": (FLOAT, ["N", 3]), **({"side": (FLOAT, None)} if nodes[0].output[0] == "side" else {})}
    ends = [N("Flatten", ["y"], ["flat"]), N("MatMul", ["flat", "w"], ["scores"])]
    return nets.model([*nodes, *ends], {"x": (FLOAT, ["N", 3, 4, 4])}, outputs, stored, opset=18)


@pytest.mark.parametrize("nodes", TOGETHER.values(), ids=TOGETHER)
def test_items_that_a_model_puts_together_are_asked_one_at_a_time(nodes):
    """Rows of one call are hidden pictures of one item: put together, each would answer for the others."""
    proto = _over_items(nodes)
    model = xplain.load(proto)
    assert (model.outline.batch, model.outline.rows) == ("fixed", 1)
    assert f"{nodes[0].op_type} (node " in " ".join(model.outline.quirks)
    x = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = xplain.explain(model, x, "occlusion", target=1, patch=2, stride=2, baseline=0.5).values
    for item, values in zip(x, found, strict=True):
        for window in np.ndindex(2, 2):
            place = tuple(slice(2 * k, 2 * k + 2) for k in window)
            hidden = item.copy()
            hidden[:, *place] = 0.5
            clean, without = (session.run(["scores"], {"x": row[None]})[0][0, 1] for row in (item, hidden))
            assert np.allclose(values[place], clean - without, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.INT64])
def test_of_tokens_and_truth_values_the_graph_is_believed(kind):
    """Made-up numbers would all be the same there, and tell nothing."""
    nodes = [
        N("Cast", ["x"], ["r"], to=FLOAT),
        N("ReduceMean", ["r", "first"], ["m"]),
        N("Sub", ["r", "m"], ["scores"]),
    ]
    proto = nets.model(
        nodes, {"x": (kind, ["N", 4])}, {"scores": (FLOAT, ["N", 4])}, {"first": np.array([0])}, opset=18
    )
    model = xplain.load(proto)
    assert (model.outline.batch, model.outline.rows) == ("fixed", 1)


@pytest.mark.parametrize("nodes", APART.values(), ids=APART)
def test_items_that_a_model_keeps_apart_share_calls(nodes):
    assert xplain.load(_over_items(nodes)).outline.batch == "free"


def test_a_sum_over_all_is_that_of_each_item():
    total = helper.make_node("ReduceSum", ["x"], ["scores"], keepdims=1)
    model = xplain.load(nets.model([total], {"x": (FLOAT, ["N", 3])}, {"scores": (FLOAT, [1, 1])}, {}))
    x = np.array([[1, 2, 3], [0, 0, 1]], np.float32)
    assert model.answer(Score(x, Untouched(), every_score)).tolist() == [[6], [1]]
