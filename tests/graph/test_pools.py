"""Maxima: who gets the cotangent where several are equal, and the ReLU that is done after the pooling."""

from __future__ import annotations

import numpy as np
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.rules import Rules
from xplain.graph import passes
from xplain.graph.passes import prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.guided import GUIDED

RNG = np.random.default_rng(11)


def pooled(channels, extents, kernel, strides, relu=True, **more):
    """Conv 1x1, ReLU, MaxPool, and a sum of all that comes out."""
    weights = {"w": RNG.standard_normal((channels, 3, 1, 1)).astype(np.float32).round(1)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        *([helper.make_node("Relu", ["c"], ["r"], name="relu")] if relu else []),
        helper.make_node("MaxPool", ["r" if relu else "c"], ["p"], kernel_shape=kernel, strides=strides, **more),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["N", 3, *extents])],
        [info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), weights["w"]


def pulled_back(model, x, cotangent, taps=("input",), rules=None):
    built = build(model, taps, [Seed("y", "inner", "cot")], rules)
    names = [built.taps[tap][1] for tap in taps]
    return session(built.model).run(names, {"x": x, "cot": cotangent})


def draw(extents, kernel, strides, channels, **more):
    """Whole numbers from a small range, so that most windows have several maxima."""
    x = RNG.integers(-1, 2, (2, 3, *extents)).astype(np.float32)
    model, w = pooled(channels, extents, kernel, strides, **more)
    y = session(model).run(None, {"x": x})[0]
    return model, w, x, RNG.standard_normal(y.shape).astype(np.float32)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("channels", [16, 5])
@pytest.mark.parametrize(
    ("kernel", "strides", "extents"),
    [
        ((2, 2), (2, 2), (8, 8)),
        ((2, 2), (2, 2), (9, 7)),
        ((2, 3), (2, 3), (8, 10)),
        ((3, 3), (3, 3), (9, 11)),
        ((1, 2), (1, 2), (3, 8)),
        ((5, 5), (5, 5), (10, 12)),
        ((1, 1), (1, 1), (4, 4)),
        ((3, 3), (2, 2), (9, 8)),
    ],
    ids=str,
)
def test_the_first_of_several_maxima_gets_it_all(kernel, strides, extents, channels, relu):
    torch = pytest.importorskip("torch")
    model, w, x, cotangent = draw(extents, kernel, strides, channels, relu=relu)
    leaf = torch.tensor(x, requires_grad=True)
    c = torch.nn.functional.conv2d(leaf, torch.tensor(w))
    y = torch.nn.functional.max_pool2d(c.relu() if relu else c, kernel, strides).flatten(1)
    y.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(pulled_back(model, x, cotangent)[0], leaf.grad.numpy(), rtol=1e-5, atol=1e-6)


def operators(model, wanted=(), rules=None):
    return [node.op_type for node in prepare(model, rules or Rules(), set(wanted)).model.graph.node]


def test_the_relu_comes_after_the_pooling():
    model, _ = pooled(4, (8, 8), [2, 2], [2, 2])
    assert operators(model) == ["Conv", "MaxPool", "Relu", "Flatten"]
    assert operators(model, wanted=["r"]) == ["Conv", "Relu", "MaxPool", "Flatten"]
    assert operators(model, rules=GUIDED) == ["Conv", "Relu", "MaxPool", "Flatten"]
    model.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, None))
    assert operators(model) == ["Conv", "Relu", "MaxPool", "Flatten"]


def test_a_relu_with_another_reader_stays():
    model, _ = pooled(4, (8, 8), [2, 2], [2, 2])
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["r"], ["q"]))
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, None))
    assert operators(model)[:3] == ["Conv", "Relu", "MaxPool"]


def test_two_poolings_one_after_the_other():
    model, _ = pooled(4, (8, 8), [2, 2], [2, 2])
    model.graph.node[-1].input[0] = "p2"
    again = helper.make_node("MaxPool", ["p"], ["p2"], kernel_shape=[2, 2], strides=[2, 2])
    model.graph.node.insert(3, again)
    assert operators(model) == ["Conv", "MaxPool", "MaxPool", "Relu", "Flatten"]


@pytest.mark.parametrize("kernel", [[2, 2], [3, 3]])
def test_nothing_changes_but_the_order(kernel, monkeypatch):
    model, _, x, cotangent = draw((9, 9), kernel, [2, 2], 16)
    taps = ("input", "c", "p")
    got = pulled_back(model, x, cotangent, taps)
    monkeypatch.setattr(passes, "pool_early", lambda *_: None)
    for one, other in zip(got, pulled_back(model, x, cotangent, taps), strict=True):
        np.testing.assert_array_equal(one, other)


def test_planes_are_written_down_with_the_name_of_the_batch():
    """By it the runtime sees that both sides of a product are alike; see ``xplain.graph.build.emit``."""
    model, *_ = draw((8, 8), [2, 2], [2, 2], 16)
    built = build(model, ["input"], [Seed("y", "inner", "cot")]).model
    stated = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in built.graph.value_info
    }
    products = [node.output[0] for node in built.graph.node if node.op_type in ("Mul", "Add")]
    small = [stated[name] for name in products if stated[name][-1] == 4]  # all that finds the places of the maxima
    assert len(small) == 8
    assert all(shape == ["N", 16, 4, 4] for shape in small)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(3, 2, (1, 1, 1, 1)), (3, 1, (1, 0, 1, 2)), (2, 2, (1, 1, 0, 0))]
)
def test_an_average_of_unknown_size_counts_what_its_windows_hold(kernel, stride, pads, include):
    """With height and width free, the derivative is the one with both known."""
    how = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": list(pads), "count_include_pad": include}
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6)).astype(np.float32)
    found = []
    for dims in (["N", 3, 7, 6], ["N", 3, "h", "w"]):
        graph = helper.make_graph(
            [helper.make_node("AveragePool", ["x"], ["y"], **how)],
            "average",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        y = session(model).run(None, {"x": x})[0]
        cotangent = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
        built = build(model, ["input"], [Seed("y", "inner", "cot")])
        found.append(session(built.model).run(["cotangent/input"], {"x": x, "cot": cotangent})[0])
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
