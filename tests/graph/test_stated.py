"""What a node states in numbers is read once, for whatever operator set: held against what the runtime makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from xplain.graph.runtime import evaluate
from xplain.graph.stated import cuts_of, numbers_of, pads_of, reduced_axes, stated

SHAPE = (1, 3, 5, 7)
X = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def asked(node, opset, **inputs):
    """What the runtime makes of ``X``, and a reader of the node's constants."""
    stored = {name: np.asarray(value, np.int64) for name, value in inputs.items()}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    graph.output[0].ClearField("type")
    graph.output[0].type.tensor_type.elem_type = TensorProto.INT64 if node.op_type == "ArgMax" else TensorProto.FLOAT
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return evaluate(model, {"x": X})[0], stored.get


SLICES = [
    dict(starts=[1], ends=[3], axes=[2]),
    dict(starts=[-3], ends=[2**31 - 1], axes=[-1]),
    dict(starts=[4, -1], ends=[-(2**31), 0], axes=[2, 3], steps=[-2, -3]),
    dict(starts=[0, 100], ends=[100, 0], axes=[1, 3], steps=[2, -1]),
    dict(starts=[-100, 1, 2, 3], ends=[1, 2, 3, 4]),
    dict(starts=[3], ends=[3], axes=[2]),
]


@pytest.mark.parametrize("given", SLICES)
def test_a_slice_takes_what_the_runtime_takes(given):
    names = [name if name in given else "" for name in ("starts", "ends", "axes", "steps")]
    found, content = asked(helper.make_node("Slice", ["x", *names], ["y"]), 13, **given)
    cuts = cuts_of(helper.make_node("Slice", ["x", *names], ["y"]), SHAPE, content)
    mine = X
    for axis, taken in cuts.items():
        mine = np.take(mine, list(taken), axis)
    np.testing.assert_array_equal(mine, found)


def test_an_old_slice_states_the_same_as_attributes():
    node = helper.make_node("Slice", ["x"], ["y"], starts=[1, -4], ends=[3, -1], axes=[2, 3])
    found, content = asked(node, 9)
    cuts = cuts_of(node, SHAPE, content)
    assert cuts == {2: range(1, 3), 3: range(3, 6)}
    np.testing.assert_array_equal(X[:, :, 1:3, 3:6], found)


def test_what_is_known_only_at_run_time_is_not_known():
    node = helper.make_node("Slice", ["x", "a", "b", "c"], ["y"])
    some = {"a": np.array([0]), "b": np.array([4]), "c": np.array([2])}
    for missing in some:
        assert cuts_of(node, SHAPE, {k: v for k, v in some.items() if k != missing}.get) is None
    assert cuts_of(node, (1, 3, "height", 7), some.get) is None
    whole = {"a": np.array([0]), "b": np.array([2**31 - 1]), "c": np.array([2])}
    assert cuts_of(node, (1, 3, "height", 7), whole.get) == {}
    assert pads_of(helper.make_node("Pad", ["x", "p"], ["y"]), 4, {}.get) is None
    assert reduced_axes(helper.make_node("ReduceSum", ["x", "a"], ["y"]), 4, {}.get) is None


@pytest.mark.parametrize(
    ("opset", "given"),
    [(18, dict(p=[1, -1, 0, 2], a=[-1, 2])), (13, dict(p=[0, 0, 1, 2, 0, 1, 3, -4])), (10, [0, 0, 1, 2, 0, 1, 3, 4])],
)
def test_a_pad_puts_zeros_where_the_runtime_puts_them(opset, given):
    if isinstance(given, list):
        node, given = helper.make_node("Pad", ["x"], ["y"], pads=given), {}
    else:
        node = helper.make_node("Pad", ["x", "p", *(["", "a"] if "a" in given else [])], ["y"])
    found, content = asked(node, opset, **given)
    pads = [pads_of(node, 4, content).get(axis, (0, 0)) for axis in range(4)]
    mine = np.pad(X, [(max(0, a), max(0, b)) for a, b in pads])
    mine = mine[tuple(slice(max(0, -a), mine.shape[k] - max(0, -b)) for k, (a, b) in enumerate(pads))]
    np.testing.assert_array_equal(mine, found)


@pytest.mark.parametrize(
    ("opset", "op", "more", "given"),
    [
        (18, "ReduceMean", {}, dict(a=[-1, 2])),
        (13, "ReduceMean", dict(axes=[1, -2]), {}),
        (13, "ReduceSum", {}, {}),
        (13, "ReduceSum", dict(noop_with_empty_axes=1), {}),
        (18, "ReduceMax", dict(noop_with_empty_axes=1), dict(a=[])),
        (18, "ReduceMax", {}, dict(a=[])),
        (13, "ArgMax", dict(axis=-3), {}),
    ],
)
def test_a_reduction_goes_over_the_axes_that_the_runtime_reduces(opset, op, more, given):
    node = helper.make_node(op, ["x", *given], ["y"], **more)
    found, content = asked(node, opset, **given)
    axes = reduced_axes(node, 4, content)
    assert found.shape == tuple(1 if axis in axes else extent for axis, extent in enumerate(SHAPE))


def test_a_scale_is_not_taken_for_axes():
    node = helper.make_node("QLinearReduceMean", ["x", "s", "z", "t", "u"], ["y"], domain="com.microsoft", axes=[2, 3])
    assert numbers_of(node, 1, "axes", {"s": np.float32(0.25)}.get) == [2, 3]
    assert stated(helper.make_node("Clip", ["x", "", "m"], ["y"]), 2, "max", {"m": np.float32(6.0)}.get) == 6.0
    assert stated(helper.make_node("Clip", ["x"], ["y"], max=6.0), 2, "max", {}.get) == 6.0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (dict(starts=[1, 2], ends=[3], axes=[2]), cuts_of),
        (dict(starts=[1], ends=[3], axes=[9]), cuts_of),
        (dict(starts=[1], ends=[3], axes=[2], steps=[0]), cuts_of),
        (dict(pads=[1, 2, 3]), pads_of),
        (dict(pads=[1, 2], axes=[7]), pads_of),
        (dict(axes=[-5]), reduced_axes),
    ],
)
def test_of_a_damaged_node_nothing_is_known(given, read):
    names = {cuts_of: ("starts", "ends", "axes", "steps"), pads_of: ("pads", "", "axes"), reduced_axes: ("axes",)}[read]
    op = {cuts_of: "Slice", pads_of: "Pad", reduced_axes: "ReduceSum"}[read]
    node = helper.make_node(op, ["x", *(name if name in given else "" for name in names)], ["y"])
    assert read(node, SHAPE if read is cuts_of else 4, {k: np.array(v) for k, v in given.items()}.get) is None
