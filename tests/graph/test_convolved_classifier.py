"""A classifier that is a 1 x 1 convolution at one position: its gradient is a row of weights, or a product."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.targets.leaves import PREDICTED
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Built, build

RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(5, 4)).astype(np.float32)
X = RNG.normal(size=(3, 4, 3, 3)).astype(np.float32)
CLASSES = np.array([4, 0, 2])
last = pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])


def classifier(last: bool) -> onnx.ModelProto:
    """A global average and a convolution to five classes; ``last``: by way of scores ``[N, 1, 1, 5]``."""
    turn = [helper.make_node("Transpose", ["c"], ["t"], name="turn", perm=[0, 2, 3, 1])] if last else []
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"], name="pool"),
        helper.make_node("Conv", ["pooled", "w"], ["c"], name="head"),
        *turn,
        helper.make_node("Reshape", ["t" if last else "c", "flat"], ["y"], name="flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "convolved",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [
            numpy_helper.from_array(WEIGHTS.reshape(5, 4, 1, 1), "w"),
            numpy_helper.from_array(np.array([-1, 5]), "flat"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def cotangents(built: Built, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    runner = session(built.model)
    found = dict(zip([v.name for v in runner.get_outputs()], runner.run(None, {"x": X, **feeds}), strict=True))
    return {tap: found[cotangent] for tap, (_, cotangent) in built.taps.items()}


@last
def test_a_class_is_a_row_of_the_weights(last: bool) -> None:
    built = build(classifier(last), ["pooled", "input"], [Seed("y")])
    found = cotangents(built, target=CLASSES)
    np.testing.assert_array_equal(found["pooled"][:, :, 0, 0], WEIGHTS[CLASSES])
    wanted = np.broadcast_to(WEIGHTS[CLASSES][:, :, None, None] / 9, X.shape)
    np.testing.assert_allclose(found["input"], wanted, rtol=1e-6)
    ops = [node.op_type for node in built.model.graph.node]
    assert "MatMul" not in ops  # no product over all classes on the way back
    assert ops.count("Conv") == 1


@last
def test_any_other_cotangent_goes_back_as_a_product(last: bool) -> None:
    given = RNG.normal(size=(3, 5)).astype(np.float32)
    built = build(classifier(last), ["pooled"], [Seed("y", "inner", "cot")])
    np.testing.assert_allclose(cotangents(built, cot=given)["pooled"][:, :, 0, 0], given @ WEIGHTS, rtol=1e-5)
    assert "MatMul" in [node.op_type for node in built.model.graph.node]


@last
def test_the_predicted_class_is_a_row_too(last: bool) -> None:
    scores = X.mean((2, 3)) @ WEIGHTS.T
    built = build(classifier(last), ["pooled"], [Seed("y")])
    found = cotangents(built, target=np.full(3, PREDICTED))
    np.testing.assert_array_equal(found["pooled"][:, :, 0, 0], WEIGHTS[scores.argmax(1)])
