"""Positions repeated over a plane: exactly, and in a form that ONNX Runtime's own rewriting keeps right."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from finite import session
from onnx import helper, numpy_helper

from tests.nets import cnn
from xplain.core.rules import Rules
from xplain.graph.ops.convolution import nearest
from xplain.graph.passes import prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Sweeper, build

RNG = np.random.default_rng(5)


def repeater(factors: tuple[int, ...]):
    sweeper = Sweeper(prepare(cnn(), Rules()))
    t = sweeper.tracer
    out = nearest(t, t.value("plane"), factors)
    info = helper.make_tensor_value_info
    sides = ["n", "c", *(f"side {i}" for i in range(len(factors)))]
    kept = [node for node in t.emitted if out.name in node.output]
    numbers = [tensor for tensor in t.initializers if tensor.name in kept[0].input]
    graph = helper.make_graph(kept, "g", [info("plane", 1, sides)], [info(out.name, 1, None)], numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("factors", [(2, 2), (3, 2), (7, 7), (14, 1), (64, 3), (5,), (2, 3, 2)])
def test_every_position_is_repeated_and_none_is_mistaken_for_its_neighbour(factors: tuple[int, ...]) -> None:
    long = [1] * (len(factors) - 1)
    for sides in ([4] * len(factors), [1500, *long], [*long, 1500]):
        x = RNG.standard_normal((1, 2, *sides)).astype(np.float32)
        expected = x
        for axis, factor in enumerate(factors):
            expected = expected.repeat(factor, 2 + axis)
        np.testing.assert_array_equal(session(repeater(factors)).run(None, {"plane": x})[0], expected)


def tokens():
    """Tokens seen as a picture and pooled, as hierarchical transformers do: a Transpose on both sides of the pool."""
    weights = {name: RNG.standard_normal((16, 16)).astype(np.float32) for name in ("w", "v")}
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "w"], ["m"]),
        helper.make_node("Transpose", ["m"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["first"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["p"], ["again"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["again", "v"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    kept = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [info("x", 1, ["n", 16, 8, 8])], [info("y", 1, ["n", 4, 4, 16])], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_pool_between_transposes_is_swept_alike_at_every_level_of_optimisation() -> None:
    """ONNX Runtime moves a Transpose past a Resize, and took scales of two axes for those of the four."""
    built = build(tokens(), ("input",), [Seed("y", "inner", "cot")], Rules())
    x, cotangent = (RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 16, 8, 8), (2, 4, 4, 16)))
    found = []
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        runner = ort.InferenceSession(built.model.SerializeToString(), options)
        found.append(runner.run([built.taps["input"][1]], {"x": x, "cot": cotangent})[0])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)
