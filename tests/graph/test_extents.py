"""Shape arithmetic with a free batch: its name goes through, numbers are written down, values stay the same."""

from __future__ import annotations

import numpy as np
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.rules import Rules
from xplain.graph.passes import prepare
from xplain.graph.passes.weights import put_back
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build


def node(op, *inputs, out, **attributes):
    return helper.make_node(op, list(inputs), [out] if isinstance(out, str) else out, name=f"{op}/{out}", **attributes)


def tokens(batch="N"):
    """What an exporter writes for a small vision transformer: heads by reshape, a token by Expand, two residuals."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((12, 36)).astype(np.float32) / 4,
        "o": rng.standard_normal((12, 12)).astype(np.float32) / 4,
        "token": rng.standard_normal((1, 1, 12)).astype(np.float32),
        "zero": np.array(0), "one": np.array([1]), "two": np.array(2), "minus": np.array([-1]), "four": np.array([4]),
        "three": np.array([3]), "last": np.array([9223372036854775807]), "half": np.array(-0.5, np.float32),
        "first": np.array([0]), "split": np.array([1, 1, 1]), "heads": np.array(4),
    }  # fmt: skip
    nodes = [
        node("Shape", "x", out="sx"),
        node("Slice", "sx", "first", "one", out="n"),
        node("Concat", "n", "minus", "minus", out="wide", axis=0),
        node("Shape", "wide", out="sw"),
        node("ConstantOfShape", "sw", out="ones", value=helper.make_tensor("v", TensorProto.INT64, [1], [1])),
        node("Mul", "ones", "minus", out="minuses"),
        node("Equal", "wide", "minuses", out="same"),
        node("Where", "same", "ones", "wide", out="target"),
        node("Expand", "token", "target", out="t"),
        node("Concat", "t", "x", out="h", axis=1),  # [N, 1 + T, 12]
        node("MatMul", "h", "w", out="p"),
        node("Shape", "h", out="sh"),
        node("Gather", "sh", "zero", out="batch"),
        node("Gather", "sh", "one", out="length"),
        node("Gather", "sh", "two", out="width"),
        node("Div", "width", "heads", out="each"),
        node("Cast", "each", out="eachf", to=TensorProto.FLOAT),
        node("Pow", "eachf", "half", out="scale"),
        node("Unsqueeze", "batch", "first", out="b1"),
        node("Unsqueeze", "each", "first", out="e1"),
        node("Concat", "b1", "length", "three", "four", "e1", out="to", axis=0),
        node("Reshape", "p", "to", out="q5"),
        node("Transpose", "q5", out="q", perm=[2, 0, 3, 1, 4]),
        node("Split", "q", "split", out=["a", "b", "c"], axis=0),
        *(node("Squeeze", k, "first", out=f"{k}4") for k in "abc"),
        node("Transpose", "b4", out="bt", perm=[0, 1, 3, 2]),
        node("MatMul", "a4", "bt", out="s"),
        node("Mul", "s", "scale", out="scaled"),
        node("Softmax", "scaled", out="weights", axis=-1),
        node("MatMul", "weights", "c4", out="v"),
        node("Transpose", "v", out="vt", perm=[0, 2, 1, 3]),
        node("Concat", "b1", "length", "minus", out="back", axis=0),
        node("Reshape", "vt", "back", out="joined"),
        node("MatMul", "joined", "o", out="z"),
        node("Add", "h", "z", out="sum"),
        node("ReduceMean", "sum", "one", out="y", keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 6, 12])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def shapes_of(model):
    prepared = prepare(model, Rules())
    found = {v.name: v.type.tensor_type.shape.dim for v in prepared.model.graph.value_info}
    return prepared, {k: tuple(d.dim_value or d.dim_param or None for d in dims) for k, dims in found.items()}


def test_a_named_batch_goes_through_what_exporters_write():
    _, shapes = shapes_of(tokens())
    wanted = {
        "t": ("N", 1, 12), "h": ("N", 7, 12), "q5": ("N", 7, 3, 4, 3), "a4": ("N", 4, 7, 3), "s": ("N", 4, 7, 7),
        "joined": ("N", 7, 12), "sum": ("N", 7, 12),
    }  # fmt: skip
    assert {name: shapes[name] for name in wanted} == wanted


def test_what_follows_from_known_extents_becomes_a_constant():
    prepared, _ = shapes_of(tokens())
    made = {name: one for one in prepared.model.graph.node for name in one.output}
    assert made["scale"].op_type == "Constant"
    assert numpy_helper.to_array(made["scale"].attribute[0].t) == pytest.approx(3**-0.5)
    assert made["n"].op_type == "Slice"  # the batch is known at run time alone
    x = np.random.default_rng(2).standard_normal((3, 6, 12)).astype(np.float32)
    again = put_back(prepared.model, dict(prepared.weights))
    for rows in (1, 3):
        (wanted,), (got,) = (session(m).run(["y"], {"x": x[:rows]}) for m in (tokens(), again))
        np.testing.assert_array_equal(got, wanted)


def test_a_residual_behind_a_reshape_is_no_broadcast():
    built = build(tokens(), ["input"], [Seed("y")])
    summed = [one for one in built.model.graph.node if one.op_type == "NonZero"]
    assert not summed, "axes of a broadcast are searched for at run time"
    x, target = np.random.default_rng(3).standard_normal((2, 6, 12)).astype(np.float32), np.array([1, 5])
    g = session(built.model).run(["cotangent/input"], {"x": x, "target": target})[0].astype(np.float64)
    forward = session(tokens())
    u = np.random.default_rng(4).standard_normal(x.shape).astype(np.float32)
    ahead, behind = (forward.run(["y"], {"x": x + s * np.float32(1e-2) * u})[0].astype(np.float64) for s in (1, -1))
    slope = ((ahead - behind) / 2e-2)[[0, 1], target].sum()
    assert slope == pytest.approx((g * u).sum(), rel=1e-2, abs=1e-3)


def test_the_rows_of_an_attention_are_summed_over_its_values():
    """sum y dy over 7 keys is taken as sum o do over the 3 entries of a value: no product of that size is left."""
    built = build(tokens(), ["input"], [Seed("y")])
    nodes = {name: one for one in built.model.graph.node for name in one.output}
    differences = [one for one in nodes.values() if one.op_type == "Sub" and nodes[one.input[1]].op_type == "ReduceSum"]
    assert [nodes[one.input[0]].op_type for one in differences] == ["MatMul"]


def test_extents_that_nobody_knows_stay_open():
    model = tokens()
    model.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    _, shapes = shapes_of(model)
    assert shapes["q5"][0] == "N"
    assert not isinstance(shapes["q5"][1], int)
    x, target = np.random.default_rng(3).standard_normal((2, 5, 12)).astype(np.float32), np.array([1, 5])
    fixed = tokens()
    fixed.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    found = [
        session(build(m, ["input"], [Seed("y")]).model).run(["cotangent/input"], {"x": x, "target": target})[0]
        for m in (model, fixed)
    ]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)
