"""Integers that stand for real numbers: what operators that only move or choose elements do to them, and to cotangents.

Each operator is put between a quantiser and a dequantiser, where it sees integers, and behind both, where it sees the
same real numbers. Values, cotangents and relevance must be the same.
"""

from __future__ import annotations

from typing import Any

import nets
import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from xplain.core.rules import Rules
from xplain.graph.analysis.quantised import Quantised, quantised_tensors
from xplain.graph.intake.load import read
from xplain.graph.reverse.cut import cut
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.deeplift import RESCALE
from xplain.rules.guided import GUIDED
from xplain.rules.lrp_tables import epsilon

SHAPE = (2, 4, 6, 6)
STEP = np.float32(0.05)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


class Step(int):
    """A constant in integer units: -5 among integers, -0.25 among the real numbers."""


MOVES: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "MaxPool": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    "MaxPool, padded": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}, []),
    "Reshape": ("Reshape", {}, [ints(0, -1)]),
    "Flatten": ("Flatten", {}, []),
    "Transpose": ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    "Unsqueeze": ("Unsqueeze", {}, [ints(1)]),
    "Slice": ("Slice", {}, [ints(1), ints(5), ints(2)]),
    "Split": ("Split", {"axis": 1, "num_outputs": 2}, []),
    "Gather": ("Gather", {"axis": 1}, [ints(2, 0, 0)]),
    "GatherElements": ("GatherElements", {"axis": 1}, [np.zeros((2, 2, 6, 6), np.int64)]),
    "GatherND": ("GatherND", {}, [np.array([[0, 1], [1, 2]], np.int64)]),
    "Pad": ("Pad", {}, [ints(0, 0, 1, 1, 0, 0, 1, 1), Step(3)]),
    "Pad, reflecting": ("Pad", {"mode": "reflect"}, [ints(0, 0, 1, 1, 0, 0, 1, 1)]),
    "Resize": ("Resize", {"mode": "nearest"}, [None, np.float32([1, 1, 2, 2])]),
    "Relu": ("Relu", {}, []),
    "Clip": ("Clip", {}, [Step(-5), Step(60)]),
    "DepthToSpace": ("DepthToSpace", {"blocksize": 2}, []),
    "SpaceToDepth": ("SpaceToDepth", {"blocksize": 2}, []),
    "Expand": ("Expand", {}, [ints(2, 2, 4, 6, 6)]),
    "Tile": ("Tile", {}, [ints(1, 1, 2, 1)]),
    "Identity": ("Identity", {}, []),
    "ReduceMax": ("ReduceMax", {}, [ints(2, 3)]),
    "ReduceMin": ("ReduceMin", {}, [ints(2, 3)]),
    "TopK": ("TopK", {"axis": 1}, [ints(2)]),
    "Compress": ("Compress", {"axis": 1}, [np.array([True, False, True, True])]),
    "ReverseSequence": ("ReverseSequence", {"batch_axis": 0, "time_axis": 1}, [ints(3, 4)]),
    "Concat": ("Concat", {"axis": 1}, ["q2"]),
    "Max": ("Max", {}, ["q2"]),
    "Min": ("Min", {}, ["q2"]),
    "Where": ("Where", {}, [np.arange(144).reshape(1, 4, 6, 6) % 3 > 0, "q2"]),
}


def N(op: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:  # noqa: N802
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def around(name: str, on_integers: bool) -> ModelProto:
    """``x`` and ``-x / 2`` quantised, and the operator among the integers or behind them."""
    op, attributes, extra = MOVES[name]
    weights: dict[str, Any] = {"s": STEP, "z": np.int8(0), "half": np.float32(-0.5)}
    nodes = [N("QuantizeLinear", "x s z", "q"), N("Mul", "x half", "x2"), N("QuantizeLinear", "x2 s z", "q2")]
    nodes += [N("DequantizeLinear", "q s z", "r"), N("DequantizeLinear", "q2 s z", "r2")]
    inputs = ["q" if on_integers else "r"]
    for k, one in enumerate(extra):
        if one is None or isinstance(one, str):
            inputs.append(one if on_integers or not one else "r2")
        else:
            stepped = isinstance(one, Step)
            weights[f"e{k}"] = np.int8(one) if stepped and on_integers else np.float32(STEP * one) if stepped else one
            inputs.append(f"e{k}")
    if op == "Where":
        inputs = [inputs[1], inputs[0], inputs[2]]
    outputs = ["m", "rest"] if op in ("Split", "TopK") else ["m"]
    nodes.append(helper.make_node(op, [n or "" for n in inputs], outputs, **attributes))
    nodes.append(N("DequantizeLinear", "m s z", "y") if on_integers else N("Identity", "m", "y"))
    if on_integers:
        nodes = [node for node in nodes if node.output[0] not in ("r", "r2")]
    return nets.model(nodes, {"x": (nets.FLOAT, SHAPE)}, {"y": (nets.FLOAT, None)}, weights, opset=18, ir=9)


def swept(model: ModelProto, rules: Rules, tap: str, feeds: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    built = build(model, ["x", tap], [Seed("y", "inner", "cot")], rules)
    session = ort.InferenceSession(built.model.SerializeToString())
    names = ["cotangent/x", *built.taps[tap]]
    return session.run(names, {entry.name: feeds[entry.name] for entry in session.get_inputs()})


@pytest.mark.parametrize("rules", [Rules(), GUIDED, epsilon(epsilon=0.1), RESCALE], ids=lambda rules: rules.name)
@pytest.mark.parametrize("name", MOVES)
def test_integers_are_moved_as_the_real_numbers_are(name: str, rules: Rules) -> None:
    rng = np.random.default_rng(0)
    x, baseline = rng.normal(size=SHAPE).astype(np.float32), 0.3 * rng.normal(size=SHAPE).astype(np.float32)
    there, behind = around(name, True), around(name, False)
    y = [ort.InferenceSession(m.SerializeToString()).run(["y"], {"x": x})[0] for m in (there, behind)]
    np.testing.assert_allclose(*y, atol=1e-6)
    feeds = {"x": x, "baseline": baseline, "cot": rng.normal(size=y[0].shape).astype(np.float32)}
    one, two = swept(there, rules, "q", feeds), swept(behind, rules, "r", feeds)
    assert np.abs(one[2]).max() > 0
    for mine, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)
    inside = swept(there, rules, "m", feeds)  # the tensor that the operator itself writes
    np.testing.assert_allclose(inside[1], y[0], atol=1e-6)


@pytest.mark.parametrize("name", MOVES)
def test_a_part_of_the_model_gives_and_takes_real_numbers(name: str) -> None:
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    loaded = read(around(name, True))
    seen = {}
    for tensor in ("q", "m", "y"):
        part = cut(loaded, loaded.model, (tensor,))
        assert [entry.type.tensor_type.elem_type for entry in part.graph.output] == [TensorProto.FLOAT]
        seen[tensor] = ort.InferenceSession(part.SerializeToString()).run([tensor], {"x": x})[0]
    np.testing.assert_array_equal(seen["m"], seen["y"])
    for start in ("q", "m"):
        tail = ort.InferenceSession(cut(loaded, loaded.model, ("y",), start).SerializeToString())
        feeds = {entry.name: {start: seen[start], "x": x}[entry.name] for entry in tail.get_inputs()}
        np.testing.assert_array_equal(tail.run(["y"], feeds)[0], seen["y"])


def test_how_integers_are_read() -> None:
    nodes = [
        N("QuantizeLinear", "x s z", "q"),
        N("QuantizeLinear", "x s", "unsigned"),
        N("QuantizeLinear", "x s", "signed", output_dtype=TensorProto.INT8),
        N("QuantizeLinear", "x ss zz", "channels", axis=1),
        N("QuantizeLinear", "x ss zz", "blocks", axis=1, block_size=2),
        N("Relu", "channels", "moved"),
        N("QLinearConv", "q s z w ws wz t tz", "c"),
        N("MaxPool", "c", "p places"),
        N("Concat", "p c", "same", axis=1),
        N("Concat", "p q", "different", axis=1),
        N("QLinearConcat", "u uz p t tz q s z", "joined", axis=1),
        N("QGemm", "q s z w ws wz b", "real"),
        N("QGemm", "q s z w ws wz b t tz", "product"),
        N("DynamicQuantizeLinear", "x", "d ds dz"),
        N("Reshape", "d shape", "flat"),
        N("Split", "c", "left right", axis=1),
    ]
    shapes = {"s": (), "ss": (4,)}
    one, two = Quantised("s", "z"), Quantised("t", "tz")
    assert quantised_tensors(nodes, shapes.get) == {
        "q": one, "unsigned": Quantised("s"), "signed": Quantised("s", kind=TensorProto.INT8),
        "channels": Quantised("ss", "zz", axis=1), "c": two, "p": two, "same": two, "joined": Quantised("u", "uz"),
        "product": two, "left": two, "right": two,
    }  # fmt: skip


@pytest.mark.parametrize("rules", [Rules(), RESCALE], ids=lambda rules: rules.name)
@pytest.mark.parametrize("form", ["MatMulInteger", "Cast"])
def test_operators_on_the_integers_themselves(form: str, rules: Rules) -> None:
    """``y = x W`` where a quantised x is multiplied in integers, or read by hand: the gradient is W all the same."""
    rng = np.random.default_rng(0)
    whole = rng.integers(-90, 90, (6, 4)).astype(np.int8)
    stored = {"xs": np.float32(0.02), "xz": np.uint8(128), "w": whole, "ws": np.float32(0.01), "zero": np.float32(128)}
    nodes = [N("QuantizeLinear", "x xs xz", "q")]
    if form == "Cast":
        nodes += [N("Cast", "q", "c", to=TensorProto.FLOAT), N("Sub", "c zero", "d"), N("Mul", "d xs", "r")]
        nodes += [N("DequantizeLinear", "w ws", "real"), N("MatMul", "r real", "y")]
    else:
        nodes += [N("MatMulInteger", "q w xz", "i"), N("Cast", "i", "f", to=TensorProto.FLOAT)]
        nodes += [N("Mul", "xs ws", "s"), N("Mul", "f s", "y")]
    model = nets.model(nodes, {"x": (nets.FLOAT, ["N", 6])}, {"y": (nets.FLOAT, ["N", 4])}, stored, opset=18, ir=9)
    x, cotangent = (rng.uniform(-2, 2, shape).astype(np.float32) for shape in ((3, 6), (3, 4)))
    feeds = {"x": x, "cot": cotangent, "baseline": np.zeros_like(x)}
    gradient, value, at_integers = swept(model, rules, "q", feeds)
    expected = cotangent @ (whole * stored["ws"]).T
    np.testing.assert_allclose(at_integers, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, np.rint(x / 0.02) * np.float32(0.02), atol=1e-6)
    secant = value / x if rules.reference else 1.0  # of the rounding
    np.testing.assert_allclose(gradient, expected * secant, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ bounds that a quantiser keeps by itself


def bounded(
    bound: str, least: float | None, largest: float | None, zero: np.ndarray[Any, Any], scale: float = 6 / 255
) -> ModelProto:
    """x -> 2 x -> a bound -> quantised -> the sum of each channel."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["wide"]),
        helper.make_node(
            bound, ["wide", *(n for n, v in (("low", least), ("high", largest)) if v is not None)], ["kept"]
        ),
        helper.make_node("QuantizeLinear", ["kept", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["real"]),
        helper.make_node("Mul", ["real", "real"], ["square"]),
        helper.make_node("ReduceSum", ["square", "axes"], ["y"], keepdims=0),
    ]
    given: dict[str, Any] = {"two": np.float32(2), "scale": np.float32(scale), "zero": zero, "axes": ints(2, 3)}
    given |= {name: np.float32(v) for name, v in (("low", least), ("high", largest)) if v is not None}
    return nets.model(nodes, {"x": (nets.FLOAT, ["N", 2, 3, 3])}, {"y": (nets.FLOAT, ["N", 2])}, given)


def told(model: ModelProto, tap: str = "input", rules: Rules | None = None) -> tuple[ModelProto, np.ndarray[Any, Any]]:
    """The emitted graph, and the cotangents of items on both sides of every end."""
    built = build(model, [tap], (Seed("y", "label", "c"),), rules)
    x = np.random.default_rng(0).permutation(np.linspace(-2, 5, 36, dtype=np.float32)).reshape(2, 2, 3, 3)
    session = ort.InferenceSession(built.model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run([built.taps[tap][1]], {"x": x, "c": np.array([0, 1])})[0]
    return built.model, found


COVERED = {
    "Clip, uint8": ("Clip", 0.0, 6.0, np.uint8(0)),
    "Clip, int8": ("Clip", 0.0, 6.0, np.int8(-128)),
    "Relu": ("Relu", None, None, np.uint8(0)),
}
OPEN = {
    "the range is wider": ("Clip", 0.0, 5.0, np.uint8(0)),
    "it begins below": ("Clip", 0.0, 6.0, np.uint8(3)),
    "a ReLU of signed numbers": ("Relu", None, None, np.int8(0)),
}


@pytest.mark.parametrize("case", [*COVERED, *OPEN])
def test_a_bound_is_left_to_the_quantiser_that_keeps_it_and_the_gradient_stays(case: str, monkeypatch: Any) -> None:
    model = bounded(*(COVERED | OPEN)[case])
    short, found = told(model)
    assert {"Clip", "Relu"}.isdisjoint(node.op_type for node in short.graph.node) == (case in COVERED)
    monkeypatch.setattr("xplain.graph.passes.leave_to_quantisers", lambda *_: None)
    whole, expected = told(model)
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.count_nonzero(found) < found.size
    assert (len(short.graph.node) < len(whole.graph.node)) == (case in COVERED)


def test_a_bound_that_is_asked_for_stays_and_so_it_does_under_other_rules() -> None:
    model = bounded(*COVERED["Clip, uint8"])
    for tap, rules in (("kept", None), ("input", GUIDED), ("input", epsilon())):
        graph, found = told(model, tap, rules)
        assert "Clip" in {node.op_type for node in graph.graph.node}
        assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int8], ids=["uint8", "int8"])
def test_a_quantiser_passes_on_what_is_strictly_inside_its_range(kind: Any) -> None:
    """Every integer of the type, by the definition: dy = 2 * real * [least < integer < largest]."""
    zero, scale = kind(7), np.float32(0.25)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["real"]),
        helper.make_node("Mul", ["real", "real"], ["y"]),
    ]
    ends = {"x": (nets.FLOAT, ["N", 260])}, {"y": (nets.FLOAT, ["N", 260])}
    model = nets.model(nodes, *ends, {"scale": scale, "zero": np.array(zero)})
    least, largest = np.iinfo(kind).min, np.iinfo(kind).max
    whole = np.arange(least - 2, least + 258)
    x = ((whole - int(zero)) * scale).astype(np.float32)[None]
    built = build(model, ["input"], (Seed("y", "inner", "c"),))
    session = ort.InferenceSession(built.model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run([built.taps["input"][1]], {"x": x, "c": np.ones((1, 260), np.float32)})[0]
    np.testing.assert_array_equal(found, np.where((whole > least) & (whole < largest), 2 * x, 0))
