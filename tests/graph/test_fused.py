"""Operators into which ONNX Runtime fuses several: the standard ones they are opened into compute the same, and files
that the runtime optimised and saved explain themselves as the files they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from finite import session
from fused_nodes import RNG, Form, check, form, one_node, r
from nets import FLOAT, UINT8, model
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import UnsupportedOperator
from xplain.core.query import Peek
from xplain.core.rules import Rules
from xplain.graph.passes.fused import openers
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules.deeplift import RESCALE
from xplain.rules.guided import GUIDED
from xplain.rules.lrp_tables import epsilon_plus_flat

X, MASK = r(2, 5, 8), np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
QKV = [r(2, 5, 8), r(2, 6, 8), r(2, 6, 8)]
CONV = [r(2, 3, 7, 6), r(4, 3, 3, 3), r(4)]
BYTES, WHOLE = RNG.integers(0, 255, (3, 8)).astype(np.uint8), RNG.integers(-90, 90, (8, 4)).astype(np.int8)
FORMS = [
    *[form("FusedConv", CONV, activation=kind) for kind in ("Relu", "Sigmoid", "Tanh")],
    form("FusedConv", CONV, activation="LeakyRelu", activation_params=[0.2], strides=[2, 2]),
    form("FusedConv", CONV, activation="Clip", activation_params=[-0.4, 0.9]),
    form("FusedConv", CONV, activation="HardSigmoid", activation_params=[0.3, 0.4]),
    form("FusedConv", [*CONV, r(2, 4, 5, 4)], activation="Relu"),
    form("FusedGemm", [r(3, 5), r(4, 5), r(4)], activation="Relu", transB=1, alpha=0.5),
    form("FusedGemm", [r(3, 5), r(5, 4), r(4)], activation="LeakyRelu", activation_alpha=0.3),
    form("FusedMatMul", [r(2, 3, 4), r(2, 5, 4)], transB=1, alpha=0.25),
    form("FusedMatMul", [r(2, 4, 3), r(4, 5)], transA=1),
    form("FusedMatMul", [r(3, 2, 4), r(4, 2, 5)], transBatchA=1, transBatchB=1),
    form("BiasGelu", [X, r(8)]),
    form("FastGelu", [X, r(8)]),
    form("FastGelu", [X]),
    form("Gelu", [X]),
    form("QuickGelu", [X], alpha=1.702),
    form("QuickGelu", [X], alpha=1.0),
    form("SkipLayerNormalization", [X, r(2, 5, 8), r(8), r(8), r(8)], epsilon=1e-5),
    form("SkipLayerNormalization", [X, r(2, 5, 8), r(8), r(8)], (0, 3), epsilon=1e-5),
    form("SkipSimplifiedLayerNormalization", [X, r(2, 5, 8), r(8), r(8)], epsilon=1e-5),
    form("SkipSimplifiedLayerNormalization", [X, r(2, 5, 8), r(8)], (0, 3), epsilon=1e-5),
    form("Attention", [X, r(8, 24), r(24)], num_heads=2),
    form("Attention", [X, r(8, 24), r(24)], num_heads=2, unidirectional=1),
    form("Attention", [X, r(8, 24), r(24), MASK], num_heads=4, scale=0.3),
    form("Attention", [X, r(8, 24), r(24), MASK.sum(1).astype(np.int32)], num_heads=4),
    form("Attention", [X, r(8, 22), r(22), None, None, r(2, 2, 5, 5)], num_heads=2, qkv_hidden_sizes=[8, 8, 6]),
    form("MultiHeadAttention", QKV, num_heads=2),
    form("MultiHeadAttention", [*QKV, r(24)], num_heads=4, scale=0.4),
    form("MultiHeadAttention", [*QKV, None, np.array([[1] * 4 + [0] * 2] * 2, np.int32)], num_heads=2),
    form("MultiHeadAttention", [QKV[0], r(2, 2, 6, 4), r(2, 2, 6, 4), None, None, r(1, 2, 5, 6)], num_heads=2),
    form("DynamicQuantizeMatMul", [X, WHOLE, np.float32(0.02), None, r(4)], rounds=True),
    form("MatMulIntegerToFloat", [BYTES, WHOLE, np.float32(0.1), r(4) ** 2, np.uint8(100), np.zeros(4, np.int8), r(4)]),
    form("NhwcMaxPool", [RNG.integers(0, 255, (2, 6, 7, 3)).astype(np.uint8)], kernel_shape=[3, 3], strides=[2, 2]),
]


@pytest.mark.parametrize("case", FORMS)
def test_the_opened_form_computes_the_same_and_is_standard(case: Form) -> None:
    check(case)


def test_embeddings_with_a_mask_are_opened() -> None:
    ids, words = np.array([[1, 4, 2, 0], [3, 3, 1, 1]], np.int32), r(5, 8)
    inputs = ["ids", "segments", "words", "places", "kinds", "gamma", "beta", "mask"]
    nodes = [
        helper.make_node(
            "EmbedLayerNormalization", inputs, ["e", "count"], name="fused", domain="com.microsoft", epsilon=1e-5
        ),
        helper.make_node("Attention", ["e", "w", "b", "count"], ["y"], domain="com.microsoft", num_heads=2),
    ]
    stored = {
        "words": words, "places": r(6, 8), "kinds": r(2, 8), "gamma": r(8), "beta": r(8), "w": r(8, 24), "b": r(24),
        "segments": np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.int32),
        "mask": np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.int32),
    }  # fmt: skip
    made = model(nodes, {"ids": (TensorProto.INT32, [2, 4])}, {"y": (FLOAT, None)}, stored, opset=18, com_microsoft=1)
    built = build(made, ["e"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    assert {n.domain for n in built.model.graph.node} <= {"", "ai.onnx"}
    wanted = session(made).run(None, {"ids": ids})[0]
    y = session(built.model).run(["y"], {"ids": ids, "cot": np.ones_like(wanted)})[0]
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=2e-5)


def optimised(made: onnx.ModelProto, folder: Path, level: Any = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED) -> Any:
    """What the runtime saves after it optimised a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level, options.log_severity_level, options.intra_op_num_threads = level, 4, 1
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


CASES = [
    ("resnet", False, GUIDED),
    ("resnet", False, epsilon_plus_flat()),
    ("vgg", False, RESCALE),
    ("mobilenet-v2", False, GUIDED),
    ("mobilenet-v3", False, epsilon_plus_flat()),
    ("efficientnet", False, Rules()),
    ("vit", True, RESCALE),
    ("vit", True, epsilon_plus_flat()),
    ("swin", False, Rules()),
]


@pytest.mark.parametrize(("name", "dynamo", "rules"), CASES, ids=[f"{n}-{t.name}" for n, _, t in CASES])
def test_an_optimised_file_is_explained_as_its_original(name: str, dynamo: bool, rules: Rules, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch_nets = pytest.importorskip("torch_nets")
    if dynamo:
        pytest.importorskip("onnxscript")
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 32)).astype(np.float32)
    original = torch_nets.export(torch_nets.net(name), torch.tensor(x), dynamo)
    fused = optimised(original, tmp_path)
    assert any(node.domain == "com.microsoft" for node in fused.graph.node)
    feeds = {original.graph.input[0].name: x, "target": np.array([1, 7])}
    found = []
    for made in (original, fused):
        built = build(made, ["input"], [Seed(made.graph.output[0].name)], rules)
        given = {**feeds, **({"baseline": np.zeros_like(x)} if rules.reference else {})}
        found.append(session(built.model).run([built.taps["input"][1]], given)[0])
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] > 0.9999
    away = np.abs(found[0] - found[1]) / np.abs(found[0]).max()
    assert np.quantile(away, 0.98) < 1e-4


def test_a_layout_of_one_machine_is_refused_with_the_way_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReorderOutput", ["x"], ["y"], name="r", domain="com.microsoft.nchwc", channels=8)]
    made = model(nodes, {"x": (FLOAT, [1, 8, 4, 4])}, {"y": (FLOAT, [1, 8, 4, 4])}, {}, opset=18)
    made.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(UnsupportedOperator, match="memory layout of one machine.*ORT_ENABLE_EXTENDED"):
        build(made, ["x"], [Seed("y", "inner", "cot")])


def test_initializers_are_not_doubled(tmp_path: Path) -> None:
    made = one_node(Form("FusedConv", CONV, attributes={"activation": "Relu"}))
    built = build(made, ["x"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    large = [t.name for t in built.model.graph.initializer if numpy_helper.to_array(t).size >= 108]
    assert large == ["i1"]


def test_layers_are_known_through_fused_operators(tmp_path: Path) -> None:
    fused = optimised(nets.cnn(), tmp_path)
    assert {n.op_type for n in fused.graph.node if n.domain} == {"FusedConv"}
    layers = {layer.name: layer.shape for layer in xplain.load(fused).outline.layers}
    assert layers["relu2"] == (None, 12, 8, 8)
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    for method in ("grad-cam", "lrp", "deeplift", "guided-backprop", "score-cam"):
        one, two = (xplain.explain(xplain.load(m), x, method, target=1) for m in (nets.cnn(), fused))
        np.testing.assert_allclose(one.values, two.values, rtol=1e-3, atol=1e-5 * np.abs(one.values).max())


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_an_integer_file_has_logits_before_its_softmax(level: str, tmp_path: Path) -> None:
    original = nets.quantised()
    fused = optimised(original, tmp_path, getattr(ort.GraphOptimizationLevel, level))
    assert "QLinearSoftmax" in {n.op_type for n in fused.graph.node}
    loaded = xplain.load(fused)
    assert loaded.outline.scores.kind == "logits"
    assert "what goes into QLinearSoftmax" in loaded.outline.scores.found
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    assert loaded.outline.scores.tensor == "real_logits"  # before they are rounded
    one, two = (xplain.explain(m, x, "saliency", target=2, signed=True) for m in (xplain.load(original), loaded))
    assert np.abs(one.values).max() > 0
    np.testing.assert_allclose(one.values, two.values, rtol=1e-5)


def test_an_integer_file_without_real_logits_is_read_before_its_softmax() -> None:
    stored = {"s": np.float32(0.1), "z": np.uint8(128), "ps": np.float32(1 / 256), "pz": np.uint8(0)}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["c"], kernel_shape=[1]),
        helper.make_node(
            "QLinearSoftmax", ["c", "s", "z", "ps", "pz"], ["p"], domain="com.microsoft", axis=1, opset=13
        ),
        helper.make_node("Squeeze", ["p", "last"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "ps", "pz"], ["y"]),
    ]
    stored["last"] = np.array([2])
    made = model(nodes, {"x": (UINT8, ["N", 4, 1])}, {"y": (FLOAT, ["N", 4])}, stored, opset=18, com_microsoft=1)
    loaded = xplain.load(made)
    assert loaded.outline.scores.tensor == "c.logits"
    x = np.array([[[100], [128], [129], [250]]], np.uint8)
    found = loaded.answer(Peek(x, ("c.logits",)))["c.logits"]
    np.testing.assert_allclose(found[:, :, 0], [[-2.8, 0, 0.1, 12.2]], rtol=1e-5)


def test_channels_last_integer_convolutions_are_opened() -> None:
    rng = np.random.default_rng(0)
    stored = {
        "s": np.float32(0.05), "z": np.uint8(128), "w": rng.integers(-90, 90, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.full(4, 0.01, np.float32), "wz": np.zeros(4, np.int8), "ys": np.float32(0.2),
        "b": np.arange(4, dtype=np.int32),
    }  # fmt: skip
    inputs = ["q", "s", "z", "w", "ws", "wz", "ys", "z", "b"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", inputs, ["c"], domain="com.microsoft", channels_last=1, pads=[1] * 4),
        helper.make_node("DequantizeLinear", ["c", "ys", "z"], ["y"]),
    ]
    made = model(nodes, {"x": (FLOAT, ["N", 6, 5, 3])}, {"y": (FLOAT, None)}, stored, opset=18, com_microsoft=1)
    built = build(made, ["x"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    x = rng.normal(size=(2, 6, 5, 3)).astype(np.float32)
    wanted = session(made).run(None, {"x": x})[0]
    y, found = session(built.model).run(["y", built.taps["x"][1]], {"x": x, "cot": np.ones_like(wanted)})
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    # inside the range the slope is that of the real-valued convolution
    middle = (stored["w"].astype(np.float64) * 0.01).sum((0, 2, 3))
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], np.broadcast_to(middle, (2, 2, 1, 3)), rtol=1e-4)


def test_the_sum_behind_a_fused_norm_comes_before_the_norm() -> None:
    """As in the file it was fused from, so that the same layer is taken for the last one."""
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("SkipLayerNormalization", ["h", "x", "s"], ["norm", "", "", "sum"], domain="com.microsoft"),
        helper.make_node("Add", ["norm", "sum"], ["total"]),
        helper.make_node("ReduceMean", ["total", "axes"], ["y"], keepdims=0),
    ]
    stored = {"s": r(8), "axes": np.array([1])}
    made = model(nodes, {"x": (FLOAT, ["N", 5, 8])}, {"y": (FLOAT, ["N", 8])}, stored, opset=18, com_microsoft=1)
    assert [layer.name for layer in xplain.load(made).outline.layers] == ["h", "sum", "norm", "total", "y"]


def test_every_name_that_is_opened_is_an_operator_of_the_runtime() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    known = {schema.name for schema in get_all_operator_schema()}
    assert openers() <= known
