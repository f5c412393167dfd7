"""Models whose tensors are called what emitted graphs call their own inputs and outputs."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from finite import session
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import ModelError
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build

FLOAT = TensorProto.FLOAT
W = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)


def net(inner="h", weight="w"):
    nodes = [helper.make_node("MatMul", ["x", weight], [inner]), helper.make_node("Relu", [inner], ["y"])]
    return nets.model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 6])}, {weight: W})


@pytest.mark.parametrize("method", ["saliency", "deeplift", "lrp"])
@pytest.mark.parametrize("name", ["target", "baseline", "cotangent/x", "value/x", "received"])
def test_a_tensor_with_one_of_our_names_is_no_obstacle(name, method):
    found, wanted = (xplain.explain(xplain.load(model, threads=1), X, method, target=2) for model in (net(name), net()))
    np.testing.assert_array_equal(found.values, wanted.values)


@pytest.mark.parametrize("name", ["target", "attribution"])
def test_it_can_be_compiled_too(name):
    model = xplain.compile(xplain.load(net(name), threads=1), method="saliency")
    assert [v.name for v in model.graph.input] == ["x", "target"]
    assert "attribution" in [v.name for v in model.graph.output]


def test_a_name_that_must_stay_is_refused_with_what_to_do():
    with pytest.raises(ModelError, match="The model has a tensor 'target', .* Rename it in the model"):
        build(net(weight="target"), ["input"], [Seed("y")])


# ---------------------------------------------------------------------- names of nodes


def chain(named):
    """Thirty small layers whose nodes are called ``named(operator, number)``."""
    nodes, stored, at = [], {}, "x"
    for k in range(30):
        stored[f"w{k}"] = np.random.default_rng(k).standard_normal((4, 4)).astype(np.float32) / 2
        nodes.append(helper.make_node("MatMul", [at, f"w{k}"], [f"c{k}"], name=named("MatMul", k)))
        nodes.append(helper.make_node("LeakyRelu", [f"c{k}"], [f"r{k}"], name=named("LeakyRelu", k)))
        at = f"r{k}"
    nodes.append(helper.make_node("Identity", [at], ["y"], name=named("Identity", 0)))
    return nets.model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 4])}, stored)


NAMES = {
    "as we count": lambda op, k: f"{op}.{k}",
    "our operators": lambda op, k: f"{('Mul', 'Cast', 'HardSigmoid', 'Identity')[k % 4]}.{k + 30 * len(op)}",
    "our outputs": lambda op, k: f"output/cotangent/input.{k + 30 * len(op) - 180}",
    "none": lambda op, k: "",
}


@pytest.mark.parametrize("method", ["saliency", "deeplift", "lrp", "guided-backprop", "occlusion"])
@pytest.mark.parametrize("names", NAMES)
def test_nodes_may_be_called_as_ours_are(names, method):
    found, wanted = (
        xplain.explain(xplain.load(chain(way), threads=1), X, method, target=2)
        for way in (NAMES[names], lambda op, k: f"layer {op} {k}")
    )
    np.testing.assert_array_equal(found.values, wanted.values)


@pytest.mark.parametrize("names", NAMES)
def test_compiled_files_have_no_two_nodes_of_one_name(names):
    model = xplain.compile(xplain.load(chain(NAMES[names]), threads=1), method="integrated-gradients", steps=4)
    labels = [node.name for node in model.graph.node if node.name]
    assert len(labels) == len(set(labels))
    session(model).run(None, {"x": X})


def test_a_function_that_is_called_twice_repeats_its_names():
    """Inlined, its nodes would be two of each name."""
    body = [
        helper.make_node("MatMul", ["a", "b"], ["h"], name="product"),
        helper.make_node("Relu", ["h"], ["z"], name="Relu.3"),
    ]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    layer = helper.make_function("own", "Layer", ["a", "b"], ["z"], body, imports[:1])
    nodes = [
        helper.make_node("Layer", ["x", "w"], ["h"], domain="own", name="first"),
        helper.make_node("Layer", ["h", "v"], ["y"], domain="own", name="second"),
    ]
    v = np.random.default_rng(2).standard_normal((6, 5)).astype(np.float32)
    model = nets.model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 5])}, {"w": W, "v": v})
    del model.opset_import[:]
    model.opset_import.extend(imports)
    model.functions.append(layer)
    found = xplain.explain(xplain.load(model, threads=1), X, "input-x-gradient", target=2).values
    hidden = X @ W
    expected = X * (((np.maximum(hidden, 0) @ v)[:, 2:3] > 0) * v[:, 2] * (hidden > 0) @ W.T)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inner", ["target", "Mul.2", "cotangent/x", "Greater.1"])
def test_a_branch_may_use_our_names_inside(inner):
    branches = {
        f"{which}_branch": helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], [inner], name="Identity.1"),
                helper.make_node("Mul", [inner, inner], [f"y_{which}"], name="Mul.4"),
            ],
            which,
            [],
            [helper.make_tensor_value_info(f"y_{which}", FLOAT, ["N", 6])],
        )
        for which in ("then", "else")
    }
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], **branches),
    ]
    stored = {"w": W, "zero": np.float32(0)}
    model = nets.model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 6])}, stored)
    found = xplain.explain(xplain.load(model, threads=1), X, "input-x-gradient", target=2).values
    np.testing.assert_allclose(found, X * 2 * (X @ W)[:, 2:3] * W[:, 2], rtol=1e-5)
