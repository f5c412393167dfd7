"""What is done to a model before it is walked, each pass on a net that needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.errors import ModelError
from xplain.core.rules import Rules
from xplain.graph.passes import prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build

RNG = np.random.default_rng(5)
_START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def drawn_anew():
    """What a test draws does not depend on which ran before it."""
    RNG.bit_generator.state = _START


def make(nodes, inputs, outputs, weights, opset: int = 18, ir: int = 8, domains=()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


def info(name: str, dims, dtype: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, dims)


def f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def slope(model: onnx.ModelProto, x: np.ndarray, u: np.ndarray, cotangent: np.ndarray, step: float = 1e-2) -> float:
    runner = session(model)
    name = model.graph.input[0].name
    ahead, behind = (
        runner.run(None, {name: (x + s * step * u).astype(np.float32)})[0].astype(np.float64) for s in (1, -1)
    )
    return float(((ahead - behind) / (2 * step) * cotangent).sum())


def assert_gradient(model: onnx.ModelProto, x: np.ndarray, tolerance: float = 1e-2) -> None:
    name, y = model.graph.input[0].name, model.graph.output[0].name
    built = build(model, ["input"], [Seed(y, "inner", "cot")])
    cotangent = RNG.normal(size=session(model).run(None, {name: x})[0].shape).astype(np.float32)
    g = session(built.model).run(["cotangent/input"], {name: x, "cot": cotangent})[0]
    for _ in range(3):
        u = RNG.normal(size=x.shape)
        assert abs(slope(model, x, u, cotangent) - (g * u).sum()) < tolerance * np.linalg.norm(g)


def conv_bn(op: str = "Conv", group: int = 1) -> onnx.ModelProto:
    w = f(4, 6 // group, 3, 3) if op == "ConvTranspose" else f(6, 4 // group, 3, 3)
    weights = {"w": w, "b": f(6), "s": f(6), "t": f(6), "m": f(6), "v": np.abs(f(6)) + 0.5}
    nodes = [
        helper.make_node(op, ["x", "w", "b"], ["c"], group=group),
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    return make(nodes, [info("x", ["N", 4, 5, 5])], [info("y", None)], weights)


@pytest.mark.parametrize(("op", "group"), [("Conv", 1), ("Conv", 2), ("ConvTranspose", 1), ("ConvTranspose", 2)])
def test_a_norm_is_folded_into_the_convolution_before_it(op: str, group: int) -> None:
    model, x = conv_bn(op, group), f(2, 4, 5, 5)
    built = build(
        model, ["input"], [Seed("y", "inner", "cot")], Rules("folded", fold_norms=True), returns=Returns(own=True)
    )
    assert not any(node.op_type == "BatchNormalization" for node in built.model.graph.node)
    assert sum(node.op_type == op for node in built.model.graph.node) >= 1
    y = session(model).run(None, {"x": x})[0]
    plain = build(model, ["input"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    found = [session(b.model).run(["y", "cotangent/input"], {"x": x, "cot": y}) for b in (built, plain)]
    np.testing.assert_allclose(found[0][0], y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-3)


def test_a_norm_alone_becomes_scale_and_shift_and_a_tap_before_it_stays() -> None:
    model, x = conv_bn(), f(2, 4, 5, 5)
    rules = Rules("folded", fold_norms=True)
    built = build(model, ["c"], [Seed("y", "inner", "cot")], rules)
    value = session(built.model).run(["value/c"], {"x": x, "cot": f(2, 6, 3, 3)})[0]
    model.graph.output.append(info("c", None))
    np.testing.assert_allclose(value, session(model).run(["c"], {"x": x})[0], rtol=1e-5, atol=1e-5)


def test_the_opset_is_raised_and_old_initializer_inputs_go() -> None:
    weights = {"w": f(3, 2, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Squeeze", ["m"], ["y"], axes=[2, 3]),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=1),
    ]
    order = [nodes[0], nodes[2], nodes[1]]
    model = make(order, [info("x", ["N", 2, 5, 5]), info("w", [3, 2, 3, 3])], [info("y", ["N", 3])], weights, 9, 3)
    prepared = prepare(model, Rules())
    assert prepared.model.opset_import[0].version == 18
    assert [v.name for v in prepared.model.graph.input] == ["x"]
    assert prepared.notes == ()
    assert_gradient(model, f(2, 2, 5, 5))


def early_norm(op: str = "LayerNormalization", inputs: tuple[str, ...] = ("x", "s", "b")) -> onnx.ModelProto:
    nodes = [
        helper.make_node(op, inputs, ["n"], axis=-1),  # declared below its first opset
        helper.make_node("ReduceMean", ["n"], ["y"], axes=[1], keepdims=0),
    ]
    return make(nodes, [info("x", ["N", 3, 8])], [info("y", None)], {"s": f(8), "b": f(8)}, 11)


def test_a_model_that_cannot_be_raised_keeps_its_opset_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: onnx.ModelProto, target: int) -> onnx.ModelProto:
        raise RuntimeError("no adapter")

    model = early_norm()
    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    prepared = prepare(model, Rules())
    assert prepared.model.opset_import[0].version == 11
    assert "stays at opset 11" in prepared.notes[0]
    assert_gradient(model, f(2, 3, 8))


def test_a_model_below_the_oldest_opset_that_cannot_be_raised_is_refused() -> None:
    model = make([helper.make_node("Relu", ["x"], ["y"])], [info("x", ["N", 3])], [info("y", None)], {}, 9, 4)
    model.graph.node.append(helper.make_node("Acme", ["y"], ["z"], name="odd"))  # breaks the converter
    model.graph.output[0].name = "z"
    with pytest.raises(ModelError, match="uses opset 9 and could not be raised; backward rules need opset 11"):
        build(model, ["input"], [Seed("y")])


def test_an_if_whose_condition_is_constant_is_opened() -> None:
    model = branching("flag", {"flag": np.array(True)})
    prepared = prepare(model, Rules())
    assert not any(node.op_type == "If" for node in prepared.model.graph.node)
    assert_gradient(model, f(3, 4))


def branching(condition: str, weights: dict, nodes=()) -> onnx.ModelProto:
    yes = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["p"]), helper.make_node("Tanh", ["p"], ["q"])],
        "yes",
        [],
        [info("q", None)],
    )
    no = helper.make_graph([helper.make_node("Mul", ["h", "h"], ["r"])], "no", [], [info("r", None)])
    chain = [
        helper.make_node("Sin", ["x"], ["h"]),
        *nodes,
        helper.make_node("If", [condition], ["z"], then_branch=yes, else_branch=no, name="choice"),
        helper.make_node("Mul", ["z", "two"], ["y"]),
    ]
    weights = {"w": f(4, 4), "two": np.array(2, np.float32), **weights}
    return make(chain, [info("x", ["N", 4])], [info("y", ["N", 4])], weights)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_if_decided_at_run_time_follows_the_branch_that_was_taken(sign: float) -> None:
    decide = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["flag"]),
    ]
    model = branching("flag", {"zero": np.array(0, np.float32)}, decide)
    assert_gradient(model, sign * np.abs(f(3, 4)))


def test_shapes_that_inference_cannot_see_are_probed() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Inverse", ["m"], ["h"], domain="com.microsoft"),
        helper.make_node("Identity", ["h"], ["i"]),
        helper.make_node("ReduceMean", ["i", "axes"], ["y"], keepdims=0),
    ]
    model = make(
        nodes,
        [info("x", ["N", 4, 3])],
        [info("y", None)],
        {"w": f(3, 4), "axes": np.array([1])},
        domains=["com.microsoft"],
    )
    prepared = prepare(model, Rules())
    assert "found by a probe" in prepared.notes[0]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in prepared.model.graph.value_info}
    assert shapes["i"] == [0, 4, 4]
    built = build(model, ["i"], [Seed("y", "inner", "cot")])
    got = session(built.model).run(["cotangent/i"], {"x": f(2, 4, 3), "cot": np.ones((2, 4), np.float32)})[0]
    np.testing.assert_allclose(got, np.full((2, 4, 4), 0.25))


# ---------------------------------------------------------------------- integers


def trunk() -> onnx.ModelProto:
    """Conv, Relu, pool, Conv, Relu, Add, average, Gemm."""
    weights = {
        "a": f(8, 3, 3, 3) * 0.4,
        "ab": f(8) * 0.1,
        "b": f(8, 8, 3, 3) * 0.2,
        "bb": f(8) * 0.1,
        "c": f(8, 5),
        "cb": f(5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a", "ab"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "b", "bb"], ["c2"], pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Add", ["r2", "p1"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["g"]),
        helper.make_node("Flatten", ["g"], ["fl"]),
        helper.make_node("Gemm", ["fl", "c", "cb"], ["y"]),
    ]
    return make(nodes, [info("x", ["N", 3, 16, 16])], [info("y", ["N", 5])], weights, 17)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_static_integers_keep_the_gradient_of_the_float_model(form: str, tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = trunk()
    onnx.save(model, tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"x": f(2, 3, 16, 16)} for _ in range(4)])

        def get_next(self):
            return next(self.left, None)

    quantization.quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        Reader(),
        quant_format=quantization.QuantFormat[form],
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
    )
    integer = onnx.load(tmp_path / "int8.onnx")
    x, classes = f(4, 3, 16, 16), np.array([0, 1, 2, 3])
    found = []
    for m in (model, integer):
        built = build(m, ["input"], [Seed("y")], returns=Returns(own=True))
        found.append(session(built.model).run(["y", "cotangent/input"], {"x": x, "target": classes}))
    np.testing.assert_allclose(found[1][0], session(integer).run(None, {"x": x})[0], atol=0.1)
    assert np.corrcoef(found[0][1].ravel(), found[1][1].ravel())[0, 1] > 0.8  # 0.83 to 0.95 by what is drawn


def test_dynamic_integers_keep_the_gradient_of_the_float_model(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    weights = {"a": f(6, 32), "b": f(32, 4)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Gelu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    model = make(nodes, [info("x", ["N", 6])], [info("y", ["N", 4])], weights, 20, 9)
    onnx.save(model, tmp_path / "float.onnx")
    quantization.quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    integer = onnx.load(tmp_path / "int8.onnx")
    assert any(node.op_type == "MatMulInteger" for node in integer.graph.node)
    x, classes = f(16, 6), np.arange(16) % 4
    found = [
        session(build(m, ["input"], [Seed("y")]).model).run(["cotangent/input"], {"x": x, "target": classes})[0]
        for m in (model, integer)
    ]
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] > 0.99


# ---------------------------------------------------------------------- whole architectures from the onnx wheel

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))


def randomised(path: Path, rng: np.random.Generator) -> onnx.ModelProto:
    """A light model, whose weights are shapes only, with weights of a sensible size."""
    model = onnx.load(path)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kept, made = [], {}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            made[node.output[0]] = tuple(int(n) for n in shapes[node.input[0]])
        else:
            kept.append(node)
    roles = {name: (node.op_type, k) for node in kept for k, name in enumerate(node.input)}
    for name, dims in made.items():
        op, k = roles.get(name, ("", 0))
        if op in ("Conv", "Gemm") and k == 1:
            value = rng.normal(0, np.sqrt(2 / min(np.prod(dims[1:]), 4096)), dims)
        elif (op == "BatchNormalization" and k in (1, 4)) or op in ("Mul", "Unsqueeze"):
            value = rng.uniform(0.6, 1.1, dims)
        else:
            value = rng.normal(0, 0.05, dims)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def test_there_are_nine_light_models() -> None:
    assert len(LIGHT) == 9


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT, ids=lambda p: p.stem)
def test_light_models(path: Path) -> None:
    rng = np.random.default_rng(11)  # of its own, so that what is drawn does not depend on which tests ran before
    model = randomised(path, rng)
    y, name = model.graph.output[0].name, model.graph.input[-1].name
    name = next(
        v.name
        for v in model.graph.input
        if len(v.type.tensor_type.shape.dim) == 4 and v.name not in {t.name for t in model.graph.initializer}
    )
    dims = [d.dim_value for d in next(v for v in model.graph.input if v.name == name).type.tensor_type.shape.dim]
    softmax = next((n for n in model.graph.node if n.output[0] == y and n.op_type == "Softmax"), None)
    logits = softmax.input[0] if softmax is not None else y
    built = build(model, [name], [Seed(logits)], returns=Returns(own=True))
    assert built.notes == ()
    x = rng.normal(size=dims).astype(np.float32)
    g = session(built.model).run([f"cotangent/{name}"], {name: x, "target": np.array([3])})[0]
    assert np.isfinite(g).all()
    assert np.abs(g).max() > 0
    # along the gradient itself the function grows by the squared length of it, kinks or not
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_empty_tensor_value_info(logits)) if logits != y else None
    runner, u = session(probe), g / np.linalg.norm(g)
    step = 1e-4 * np.linalg.norm(x)  # small, so that few kinks are crossed
    ahead, behind = (
        np.asarray(runner.run([logits], {name: (x + s * step * u).astype(np.float32)})[0]).reshape(-1)[3]
        for s in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx(np.linalg.norm(g), rel=0.05)


# ---------------------------------------------------------------------- opsets


@pytest.mark.parametrize("op", ["LayerNormalization", "SimplifiedLayerNormalization"])
def test_operators_that_onnxruntime_saves_at_an_old_opset_are_raised_with_it(op: str) -> None:
    model = early_norm(op, ("x", "s", "b")[: 3 if op == "LayerNormalization" else 2])
    prepared = prepare(model, Rules())
    assert [(entry.domain, entry.version) for entry in prepared.model.opset_import] == [("", 18)]
    assert prepared.notes == ()
    assert model.opset_import[0].version == 11
    assert_gradient(model, f(2, 3, 8))


def test_a_layer_that_is_padded_before_the_next_convolution() -> None:
    """ONNX Runtime's fusion of the Pad must not lose the layer that is read beside it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Constant", [], ["pads"], value=numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]))),
        helper.make_node("Pad", ["c", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "v"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["y"]),
    ]
    weights = {"w": f(3, 2, 3, 3), "v": f(4, 3, 3, 3)}
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "padded", [info("x", ["N", 2, 7, 7])], [info("y", None)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    built = build(model, ["c"], [Seed("y", "inner", "cot")])
    x, cot = f(2, 2, 7, 7), f(2, 4, 1, 1)
    value, cotangent = session(built.model).run(list(built.taps["c"]), {"x": x, "cot": cot})
    model.graph.output.append(info("c", None))
    np.testing.assert_allclose(value, session(model).run(["c"], {"x": x})[0], rtol=1e-5, atol=1e-6)
    step, shifted = 1e-2, value.copy()
    shifted[0, 1, 2, 3] += step
    behind = helper.make_graph(nodes[1:], "behind", [info("c", ["N", 3, 5, 5])], [info("y", None)], stored)
    tail = session(helper.make_model(behind, opset_imports=model.opset_import, ir_version=9))
    rise = (tail.run(["y"], {"c": shifted})[0] - tail.run(["y"], {"c": value})[0]) * cot
    np.testing.assert_allclose(cotangent[0, 1, 2, 3], rise[0].sum() / step, rtol=1e-2, atol=1e-4)
