"""The walker: taps, seeds, rules, free extents, precision, size of the file, errors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.errors import ModelError, UnknownName, UnsupportedOperator, UsageError
from xplain.core.rules import Rules, Where
from xplain.core.target import Target, channel, inner, label, neuron
from xplain.graph.passes import Analysed, Prepared
from xplain.graph.reverse.balance import first_broken, losses
from xplain.graph.reverse.seeds import Seed, feeds_of, kinds_of, seeds_of
from xplain.graph.reverse.sweep import Returns, Sweeper, build
from xplain.rules.deeplift import RESCALE
from xplain.rules.guided import DECONVNET, GUIDED

RNG = np.random.default_rng(11)
WEIGHTS = {
    "w1": RNG.normal(size=(4, 2, 3, 3)).astype(np.float32),
    "b1": RNG.normal(size=4).astype(np.float32),
    "w2": RNG.normal(size=(4, 5)).astype(np.float32),
}


def small(height: int | str = 6, width: int | str = 6, batch: int | str = "N", opset: int = 18) -> onnx.ModelProto:
    """Conv, Relu, global average, MatMul, Softmax: conv [N, 4, H, W], logits [N, 5]."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "w2"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], ["y"], name="soft"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def forward(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same net in float64, written out."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    conv = np.einsum("nchwij,ocij->nohw", windows, WEIGHTS["w1"].astype(np.float64)) + WEIGHTS["b1"][:, None, None]
    relu = np.maximum(conv, 0)
    return {"conv": conv, "relu": relu, "logits": relu.mean((2, 3)) @ WEIGHTS["w2"].astype(np.float64)}


def at_conv(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """d logit / d conv, [N, 4, H, W]."""
    found = forward(x)
    return (found["conv"] > 0) * (WEIGHTS["w2"].T[classes] / (x.shape[2] * x.shape[3]))[:, :, None, None]


def run(built, x: np.ndarray, **feeds: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    runner = session(built.model)
    found = dict(zip([v.name for v in runner.get_outputs()], runner.run(None, {"x": x, **feeds}), strict=True))
    return {tap: (found.get(value), found[cotangent]) for tap, (value, cotangent) in built.taps.items()}


X = RNG.normal(size=(3, 2, 6, 6)).astype(np.float32)
CLASSES = np.array([4, 0, 2])


def test_several_taps_in_one_sweep_have_value_and_cotangent() -> None:
    found = run(build(small(), ["input", "conv", "flat"], [Seed("logits")]), X, target=CLASSES)
    np.testing.assert_array_equal(found["input"][0], X)
    np.testing.assert_allclose(found["conv"][0], forward(X)["conv"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["conv"][1], at_conv(X, CLASSES), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["flat"][1], WEIGHTS["w2"].T[CLASSES], rtol=1e-5)


def test_a_sweep_stops_at_its_taps() -> None:
    built = build(small(), ["conv"], [Seed("logits")])
    makers = [node.output[0] for node in built.model.graph.node if node.op_type == "Conv"]
    assert makers == [built.taps["conv"][0]]


@pytest.mark.parametrize(
    "target",
    [
        label(3),
        label((1, 4, 0)),
        label(3) - 2.0 * label((0, 1, 2)),
        channel("relu", 2),
        neuron("conv", 1, 2, 5),
        inner("relu", RNG.normal(size=(4, 6, 6)).astype(np.float32)),
        label(-1) + 0.5 * channel("relu", 0) - neuron("relu", 3, 0, 0),
    ],
    ids=lambda target: target.name,
)
def test_every_target_is_pulled_back(target: Target) -> None:
    built = build(small(), ["conv", "input"], seeds_of(target, "logits"))
    items = np.arange(3)
    got = run(built, X, **feeds_of(target, items, kinds_of(built.model)))["input"][1]
    for _ in range(4):
        u, step = RNG.normal(size=X.shape), 1e-5
        reads = [
            target.read({**forward(X + s * step * u), "": forward(X + s * step * u)["logits"]}, items) for s in (1, -1)
        ]
        expected = (reads[0] - reads[1]) / (2 * step)
        np.testing.assert_allclose((got * u).sum((1, 2, 3)), expected, rtol=2e-3, atol=2e-3)


def test_one_model_serves_other_classes_and_batches() -> None:
    runner = session(build(small(), ["conv"], [Seed("logits")]).model)
    for classes in ([0], [1, 1], [4, 3, 2, 1, 0]):
        x = RNG.normal(size=(len(classes), 2, 6, 6)).astype(np.float32)
        got = runner.run(["cotangent/conv"], {"x": x, "target": np.array(classes)})[0]
        np.testing.assert_allclose(got, at_conv(x, np.array(classes)), rtol=1e-4, atol=1e-6)


def test_free_height_and_width() -> None:
    runner = session(build(small("H", "W"), ["input"], [Seed("logits")]).model)
    fixed = session(build(small(9, 7), ["input"], [Seed("logits")]).model)
    x = RNG.normal(size=(2, 2, 9, 7)).astype(np.float32)
    feeds = {"x": x, "target": np.array([1, 2])}
    np.testing.assert_allclose(*(r.run(["cotangent/input"], feeds)[0] for r in (runner, fixed)), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("ceil", [0, 1])
def test_strided_windows_with_free_extents(ceil: int) -> None:
    def model(h: int | str, w: int | str) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=ceil),
            helper.make_node("AveragePool", ["b"], ["c"], kernel_shape=[2, 2], strides=[1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "strided",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, h, w])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(WEIGHTS["w1"], "w1")],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    x = RNG.normal(size=(2, 2, 15, 18)).astype(np.float32)
    found = [
        session(build(model(*dims), ["input"], [Seed("y")]).model).run(
            ["cotangent/input"], {"x": x, "target": CLASSES[:2]}
        )[0]
        for dims in ((15, 18), ("H", "W"))
    ]
    assert np.abs(found[0]).max() > 0
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_half_precision() -> None:
    model = small()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    got = run(build(model, ["conv"], [Seed("logits")]), X.astype(np.float16), target=CLASSES)["conv"][1]
    assert got.dtype == np.float16
    assert np.corrcoef(got.ravel(), at_conv(X, CLASSES).ravel())[0, 1] > 0.999


def test_half_precision_of_a_padded_max_pool() -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    found = []
    x = RNG.permutation(2 * 3 * 49).reshape(2, 3, 7, 7)  # whole numbers, all different: both precisions pick the same
    for dtype in (np.float32, np.float16):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        info = [helper.make_tensor_value_info(n, kind, d) for n, d in (("x", ["N", 3, 7, 7]), ("y", None))]
        graph = helper.make_graph(nodes, "pool", info[:1], info[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        built = build(model, ["input"], [Seed("y", "inner", "cot")])
        feeds = {"x": x.astype(dtype), "cot": np.ones((2, 48), dtype)}
        found.append(session(built.model).run(["cotangent/input"], feeds)[0])
    assert found[0].sum() == 96
    np.testing.assert_array_equal(found[0], found[1].astype(np.float32))


def test_guided_and_deconvnet_change_what_a_relu_passes_back() -> None:
    up = (WEIGHTS["w2"].T[CLASSES] / 36)[:, :, None, None] * np.ones((1, 1, 6, 6))
    on = forward(X)["conv"] > 0
    for rules, expected in ((GUIDED, np.maximum(up, 0) * on), (DECONVNET, np.maximum(up, 0))):
        got = run(build(small(), ["conv"], [Seed("logits")], rules), X, target=CLASSES)["conv"][1]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


def test_the_newest_rule_wins_and_names_are_patterns() -> None:
    class Twice:
        def __call__(self, call, g):
            return [g[0] * 2.0]

    rules = GUIDED.on(Where(names=("re*",)), Twice())
    got = run(build(small(), ["conv"], [Seed("logits")], rules), X, target=CLASSES)["conv"][1]
    up = (WEIGHTS["w2"].T[CLASSES] / 36)[:, :, None, None] * np.ones((1, 1, 6, 6))
    np.testing.assert_allclose(got, 2 * up, rtol=1e-4)


def test_outputs_of_the_model_can_be_kept() -> None:
    built = build(small(), ["input"], [Seed("logits")], returns=Returns(own=True))
    y = session(built.model).run(["y"], {"x": X, "target": CLASSES})[0]
    np.testing.assert_allclose(y, session(small()).run(None, {"x": X})[0], rtol=1e-5)
    onnx.checker.check_model(built.model, full_check=True)


def test_weights_are_stored_once() -> None:
    model = small()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4096, 2, 3, 3), np.float32), "w1"))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones(4096, np.float32), "b1"))
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.ones((4096, 50), np.float32), "w2"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    built = build(model, ["input"], [Seed("logits")], returns=Returns(own=True))
    assert built.model.ByteSize() < 1.02 * model.ByteSize()


def test_external_weights_stay_outside(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(small(), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    model = onnx.load(path, load_external_data=False)
    built = build(Analysed(model, str(tmp_path)), ["conv"], [Seed("logits")])
    assert {e.value for t in built.model.graph.initializer for e in t.external_data if e.key == "location"} == {
        "weights.bin"
    }
    onnx.save(built.model, tmp_path / "built.onnx")
    import onnxruntime as ort

    got = ort.InferenceSession(str(tmp_path / "built.onnx")).run(["cotangent/conv"], {"x": X, "target": CLASSES})[0]
    np.testing.assert_allclose(got, at_conv(X, CLASSES), rtol=1e-4, atol=1e-6)


def test_weights_of_any_size_are_never_read(tmp_path) -> None:
    model = small()
    for tensor in model.graph.initializer:  # 3 GB that do not even exist
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="absent.bin")
    del model.graph.initializer[2].dims[:]
    model.graph.initializer[2].dims.extend([4, 200_000_000])
    model.graph.output[0].type.tensor_type.ClearField("shape")
    built = build(Analysed(model, str(tmp_path)), ["input", "conv"], [Seed("logits")])
    sizes = {t.name: np.prod(t.dims) for t in built.model.graph.initializer}
    assert sizes["w2"] == 800_000_000
    assert built.model.ByteSize() < 20_000


def test_the_report_names_what_each_node_received() -> None:
    built = build(
        small(), ["input"], [Seed("logits")], Rules("epsilonless", meaning="probability"), returns=Returns(report=True)
    )
    assert built.report[0] == "head (MatMul)"
    assert built.report[-1] == "conv (Conv)"
    runner = session(built.model)
    received, passed = runner.run(["received", "passed"], {"x": X, "target": CLASSES})
    assert received[0] == pytest.approx(3.0)
    assert passed[0] == pytest.approx(WEIGHTS["w2"].T[CLASSES].sum(), rel=1e-5)


# ---------------------------------------------------------------------- errors


def test_an_operator_without_a_rule_is_named() -> None:
    model = small()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Unheard", "acme"
    model.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(UnsupportedOperator, match=r"acme::Unheard \(node 'relu'\) \(opset 18\)"):
        build(model, ["input"], [Seed("logits")])


def test_loops_are_declined() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Relu", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    model = small()
    model.graph.node[1].CopyFrom(helper.make_node("Loop", ["trips", "", "conv"], ["relu"], name="again", body=body))
    model.graph.initializer.append(numpy_helper.from_array(np.array(2), "trips"))
    with pytest.raises(UnsupportedOperator, match=r"Loop \(node 'again'\)"):
        build(model, ["input"], [Seed("logits")])


def test_a_cut_path_is_named() -> None:
    model = small()
    model.graph.node[1].CopyFrom(helper.make_node("Round", ["conv"], ["relu"], name="steps"))
    with pytest.raises(
        ModelError, match=r"no path with a derivative from tensor 'x' to 'logits': it is cut at Round \(node 'steps'\)"
    ):
        build(model, ["input"], [Seed("logits")])


def test_a_tap_behind_the_target_is_an_error() -> None:
    with pytest.raises(ModelError, match="There is no path from tensor 'logits' to 'conv'"):
        build(small(), ["logits"], [Seed("conv", "channel", "channel_0")])


def test_unknown_taps_name_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Unknown layer 'convv'. Did you mean 'conv'"):
        build(small(), ["convv"], [Seed("logits")])


def test_nothing_to_do_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one tap and one seed"):
        build(small(), [], [Seed("logits")])


def test_token_ids_have_no_gradient_and_the_error_says_what_to_do() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], name="embed"),
        helper.make_node("ReduceMean", ["embedded", "axes"], ["y"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [
            numpy_helper.from_array(RNG.normal(size=(9, 3)).astype(np.float32), "table"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(ModelError, match="cut at Gather .*Explain a tensor behind the cut, such as an embedding"):
        build(model, ["input"], [Seed("y")])
    built = build(model, ["embedded"], [Seed("y")])
    ids = RNG.integers(0, 9, size=(2, 4))
    got = session(built.model).run(["cotangent/embedded"], {"ids": ids, "target": np.array([0, 2])})[0]
    np.testing.assert_allclose(got[1], np.tile([0, 0, 0.25], (4, 1)))


def test_rules_that_change_nothing_say_so() -> None:
    model = small()
    model.graph.node[1].op_type = "Sigmoid"
    assert "change nothing here: there is no rectifier" in build(model, ["input"], [Seed("logits")], GUIDED).notes[0]
    assert build(small(), ["input"], [Seed("logits")], GUIDED).notes == ()


def test_the_node_that_made_a_nan_is_named() -> None:
    model = small()
    model.graph.node[2].input[0] = "root"
    model.graph.node.insert(2, helper.make_node("Sqrt", ["relu"], ["root"], name="root"))  # of zeros: infinitely steep
    built = build(model, ["input"], [Seed("logits")], returns=Returns(report=True))
    received, passed = session(built.model).run(["received", "passed"], {"x": X, "target": CLASSES})
    assert first_broken(built.report, received, passed) == "root (Sqrt)"
    assert first_broken(["a", "b", "c"], np.array([1.0, 2.0, np.nan]), np.array([2.0, np.nan, np.nan])) == "b"
    assert first_broken(["a"], np.ones(1), np.ones(1)) is None
    assert losses(["a", "b"], np.array([1.0, 2.0]), np.array([0.9, 3.0])) == [("b", -1.0), ("a", pytest.approx(0.1))]


def shaped_by_arithmetic() -> onnx.ModelProto:
    """A state of zeros whose shape is computed: inference loses the batch's name there."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
        helper.make_node("Concat", ["s", "three"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["gate"]),
        helper.make_node("Mul", ["a", "gate"], ["y"]),
    ]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in (("x", ["N", 3]), ("y", None))]
    three = [numpy_helper.from_array(np.array([3]), "three")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], three)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_second_evaluation_keeps_the_names_of_free_extents() -> None:
    built = build(shaped_by_arithmetic(), ["input"], [Seed("y")], RESCALE)
    # sums over broadcast axes that are not known to be none would be decided by such nodes at run time
    assert not {"NonZero", "Expand"} & {node.op_type for node in built.model.graph.node}


def test_an_evaluation_on_another_batch_does_not() -> None:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    nodes = [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]  # of which inference knows nothing
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:]))
    sweeper = Sweeper(Prepared(model, {}))
    t = sweeper.tracer
    other = sweeper.evaluate({"x": t.reshape(t.value("x"), [-1, 3])})
    same = sweeper.evaluate({"x": t.value("x") * 2.0})
    assert (t.shapes[other.name("y")], t.shapes[same.name("y")]) == ((None, 3), ("N", 3))
