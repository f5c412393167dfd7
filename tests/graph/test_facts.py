"""What the table says of operators is true of what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.positions.grid import describe
from xplain.core.positions.layout import Layout
from xplain.graph.operators import facts_of, find_operator, known, operators, parameters_of
from xplain.graph.runtime import evaluate

OPSET = 20


def takes_one(name: str) -> bool:
    """Whether a standard operator of this opset has one input that must be given, a tensor of real numbers."""
    try:
        first, *rest = onnx.defs.get_schema(name, OPSET).inputs
    except onnx.defs.SchemaError:
        return False
    return (
        "tensor(float)" in first.types
        and first.option.name == "Single"
        and {i.option.name for i in rest} <= {"Optional"}
    )


ONE = [name for name in sorted(known()) if facts_of(name).elementwise and takes_one(name)]
"""Standard operators of one real tensor that treat each element by itself."""
EVERYWHERE = np.concatenate([np.linspace(-30, 30, 601), [-1e3, -1.0, 1.0, 1e3]]).astype(np.float32)


def outcome(name: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The operator by itself, its attributes as they are when none is stated."""
    given = {"to": TensorProto.FLOAT} if name == "Cast" else {}
    inputs, stored = ["x"], []
    if name == "Clip":
        stored = [numpy_helper.from_array(np.float32(v), k) for k, v in (("low", -2.0), ("high", 3.0))]
        inputs += ["low", "high"]
    graph = helper.make_graph(
        [helper.make_node(name, inputs, ["y"], **given)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_empty_tensor_value_info("y")],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return np.asarray(evaluate(onnx.shape_inference.infer_shapes(model), {"x": x})[0])


def test_many_operators_are_asked():
    assert {"Relu", "Tanh", "Elu", "Softplus", "Erf", "Gelu", "Mish", "Celu", "Abs", "Floor", "IsNaN"} <= set(ONE)
    assert len(ONE) >= 40


@pytest.mark.parametrize("name", ONE)
def test_an_elementwise_operator_reads_its_own_element_alone(name):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (2, 3, 4)).astype(np.float32)
    other = x.copy()
    other[0, 1, 2] = 0.95
    mask = np.ones(x.shape, bool)
    mask[0, 1, 2] = False
    assert np.array_equal(outcome(name, x)[mask], outcome(name, other)[mask], equal_nan=True)
    transposed = outcome(name, np.ascontiguousarray(x.transpose(2, 0, 1)))
    assert np.array_equal(transposed, outcome(name, x).transpose(2, 0, 1), equal_nan=True)


@pytest.mark.parametrize("name", [n for n in ONE if facts_of(n).rises])
def test_an_increasing_function_never_falls(name):
    end = 30 if name == "Acosh" else 1
    near = EVERYWHERE[(EVERYWHERE >= -1) & (end >= EVERYWHERE)]
    x = np.sort(near if facts_of(name).partial else EVERYWHERE)
    y = outcome(name, x).astype(np.float64)
    y = y[np.isfinite(y)]
    assert (np.diff(y) >= -1e-6 * (1.0 + np.abs(y[1:]))).all()
    assert y[-1] > y[0]


@pytest.mark.parametrize("name", [n for n in ONE if outcome(n, EVERYWHERE).dtype == np.float32])
def test_bounds_hold_and_partial_functions_are_called_so(name):
    with np.errstate(all="ignore"):
        y = outcome(name, EVERYWHERE)
    what = facts_of(name)
    known_numbers = y[~np.isnan(y)]
    assert known_numbers.min() >= what.low
    assert known_numbers.max() <= what.high
    steep = np.abs(EVERYWHERE) < 80  # exp, sinh and cosh overflow far out, which is no hole in the middle
    finite = bool(np.isfinite(y[steep]).all() and np.isfinite(outcome(name, np.zeros(1, np.float32))).all())
    assert finite is not what.partial or name == "Tan"  # whose poles are no float32


def test_the_rectifiers_damp_what_is_below_and_nothing_else_is_called_one():
    found = {n for n in known() if facts_of(n).rectifier and not n.startswith("QLinear")}
    assert found == {"Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip"}
    for name in found - {"PRelu"}:
        low, high = outcome(name, np.float32([-5.0, -4.5])), outcome(name, np.float32([2.0, 2.5]))
        assert abs(low[1] - low[0]) < 0.5 * abs(high[1] - high[0])


def test_facts_and_rules_agree():
    for name in operators():
        operator, what = find_operator(node_of(name)), facts_of(name)
        assert operator is not None
        assert not what.flat, f"{name} has a rule"
        assert not what.random
        if operator.weight is not None:
            assert what.weighted
        if what.elementwise:
            assert what.axes == "same"
        if operator.kind == "sum":
            assert what.linear == "all"
            assert what.elementwise


def test_facts_hold_for_the_names_of_runtimes_and_for_no_stranger():
    assert facts_of("com.microsoft::Gelu").elementwise
    assert facts_of("ai.onnx.ml::LinearRegressor").linear == "first"
    assert not facts_of("my.own::Relu").elementwise
    assert not facts_of("NoSuchOperator").elementwise


def test_parameters_of_activations():
    assert parameters_of("Sigmoid") == ()
    assert parameters_of("LeakyRelu") == ("alpha",)
    assert parameters_of("HardSigmoid") == ("alpha", "beta")
    assert parameters_of("Conv") is None
    assert parameters_of("Add") is None
    assert parameters_of("") is None


def node_of(key: str) -> onnx.NodeProto:
    domain, _, name = key.rpartition("::")
    return onnx.NodeProto(op_type=name, domain=domain)


def channels_last_net(activation: str) -> onnx.ModelProto:
    """A convolution of integers that are stored ``[N, H, W, C]``, and an activation behind it."""
    r = np.random.default_rng(0)
    stored = {
        "sx": np.float32(0.05), "zx": np.uint8(128), "w": r.integers(-20, 20, (8, 3, 3, 3)).astype(np.int8),
        "sw": np.float32(0.002), "zw": np.int8(0), "sy": np.float32(0.005), "zy": np.uint8(128),
        "half": np.float32(0.5), "g": r.normal(size=(8, 4)).astype(np.float32),
    }  # fmt: skip
    extra = {"to": TensorProto.FLOAT} if activation == "Cast" else {}
    nodes = [
        helper.make_node("Transpose", ["x"], ["xl"], perm=[0, 2, 3, 1]),
        helper.make_node("QuantizeLinear", ["xl", "sx", "zx"], ["q"]),
        helper.make_node(
            "QLinearConv", ["q", "sx", "zx", "w", "sw", "zw", "sy", "zy"], ["c"], domain="com.microsoft",
            channels_last=1, pads=[1] * 4, kernel_shape=[3, 3],
        ),
        helper.make_node("DequantizeLinear", ["c", "sy", "zy"], ["d"]),
        helper.make_node("Add", ["d", "half"], ["e"]),
        helper.make_node(activation, ["e"], ["t"], **extra),
        helper.make_node("Transpose", ["t"], ["tn"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["tn"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "g"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(v, k) for k, v in stored.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


@pytest.mark.parametrize(
    "name", [n for n in ONE if facts_of(n).axes == "same" and not facts_of(n).partial and find_operator(node_of(n))]
)
def test_a_map_behind_integers_in_another_order_of_axes_is_that_of_the_transposed_tensor(name):
    x = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
    model = xplain.load(channels_last_net(name))
    layer = model.outline.layer("t")
    assert layer.channels_last
    assert axes_of(model, "t") == "N H:32 W:32 C:8"
    assert layer.shape[1:] == (32, 32, 8)
    found = xplain.explain(model, x, "hires-cam", layer="t", target=1, signed=True)
    truth = xplain.explain(model, x, "hires-cam", layer="tn", target=1, signed=True)
    assert found.resolution == truth.resolution == (32, 32)
    np.testing.assert_allclose(found.values, truth.values, rtol=1e-4, atol=1e-6)


def test_what_reads_a_stranger_is_not_called_channels_last():
    model = channels_last_net("Tanh")
    model.graph.node[5].domain, model.graph.node[5].op_type = "", "Flatten"
    loaded = xplain.load(drop_behind(model))
    assert axes_of(loaded, "e") == "N H:32 W:32 C:8"
    assert axes_of(loaded, "t") == f"N ?:{32 * 32 * 8}"  # rows, columns and channels in one: no positions


def axes_of(model, layer):
    item = (3, 32, 32)
    return describe(model.outline.follow(item).axes_of(layer), Layout("NCHW", item))


def drop_behind(model: onnx.ModelProto) -> onnx.ModelProto:
    """The net ends in a product with the flattened plane."""
    del model.graph.node[6:]
    model.graph.node.append(helper.make_node("MatMul", ["t", "v"], ["y"]))
    rows = np.random.default_rng(2).normal(size=(8192, 4)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(rows, "v"))
    return model
