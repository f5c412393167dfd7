"""A BatchNormalization with statistics that the model computes, as converters write Keras' LayerNormalization."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from nets import FLOAT, model
from onnx import helper

from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules import lrp_tables as lrp
from xplain.rules.deeplift import RESCALE

torch = pytest.importorskip("torch")
GAMMA, BETA = np.linspace(0.5, 1.5, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)


def keras() -> onnx.ModelProto:
    """Rows become the channels of one item; the norm's own scale and shift are ones and zeros."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["rows"]),
        helper.make_node("Squeeze", ["rows", "ends"], ["table"]),
        helper.make_node("ReduceMean", ["table", "last"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["table", "last"], ["middle"], keepdims=1),
        helper.make_node("Sub", ["table", "middle"], ["c"]),
        helper.make_node("Mul", ["c", "c"], ["cc"]),
        helper.make_node("ReduceMean", ["cc", "last"], ["variance"], keepdims=0),
        helper.make_node("Shape", ["mean"], ["count"]),
        helper.make_node("Expand", ["one", "count"], ["ones"]),
        helper.make_node("Expand", ["zero", "count"], ["zeros"]),
        helper.make_node("BatchNormalization", ["rows", "ones", "zeros", "mean", "variance"], ["n"], epsilon=1e-3),
        helper.make_node("Reshape", ["n", "back"], ["m"]),
        helper.make_node("Mul", ["m", "gamma"], ["s"]),
        helper.make_node("Add", ["s", "beta"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    stored = {
        "flat": np.array([1, -1, 6, 1]), "back": np.array([-1, 6]), "ends": np.array([0, 3]), "last": np.array([1]),
        "one": np.float32(1), "zero": np.float32(0), "gamma": GAMMA, "beta": BETA, "w": W,
    }  # fmt: skip
    return model(nodes, {"x": (FLOAT, ["N", 6])}, {"y": (FLOAT, ["N", 3])}, stored, opset=18)


W = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 0])


def test_gradients_go_through_the_statistics() -> None:
    x = torch.tensor(X, requires_grad=True)
    y = torch.layer_norm(x, (6,), torch.tensor(GAMMA), torch.tensor(BETA), 1e-3) @ torch.tensor(W)
    y[torch.arange(4), torch.tensor(CLASSES)].sum().backward()
    built = build(keras(), ["input"], [Seed("y")], returns=Returns(own=True))
    made, g = session(built.model).run(["y", "cotangent/input"], {"x": X, "target": CLASSES})
    np.testing.assert_allclose(made, y.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(g, x.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("rules", [RESCALE, lrp.epsilon()], ids=lambda table: table.name)
def test_other_tables_pass_through_too(rules: Rules) -> None:
    built = build(keras(), ["input"], [Seed("y")], rules)
    x0 = np.random.default_rng(2).normal(size=X.shape).astype(np.float32)
    feeds = {"x": X, "target": CLASSES} | ({"baseline": x0} if rules.reference else {})
    found = session(built.model).run(["cotangent/input"], feeds)[0]
    assert np.isfinite(found).all()
    if rules.reference:
        y, y0 = (session(keras()).run(["y"], {"x": v})[0][np.arange(4), CLASSES] for v in (X, x0))
        np.testing.assert_allclose((found * (X - x0)).sum(1), y - y0, rtol=1e-3, atol=1e-4)
