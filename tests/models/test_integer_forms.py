"""Other forms of integer files: channels last, 16 bits, integers at both ends, transformers; and a real classifier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from integer_nets import CLASSES, SIZE, correlation, integers, items, trunk
from onnx import helper, numpy_helper, version_converter

import xplain
from xplain.core.positions.grid import describe
from xplain.core.positions.layout import Layout
from xplain.core.query import Peek
from xplain.render.pictures import prepare

CAMS = ("grad-cam", "layer-cam", "hires-cam", "eigen-cam", "ablation-cam", "score-cam")


def test_a_file_that_the_runtime_laid_out_channels_last(tmp_path: Path) -> None:
    """At its highest level the runtime writes integers as [N, h, w, C]; here h = w = C, so the shape does not tell."""
    original = integers(trunk("concat"), "QOperator", tmp_path, items(16))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "last.onnx")
    ort.InferenceSession(original.SerializeToString(), options, providers=["CPUExecutionProvider"])
    last = onnx.load(tmp_path / "last.onnx")
    if not any(a.name == "channels_last" for node in last.graph.node for a in node.attribute):
        pytest.skip("this runtime does not lay integers out channels last on this machine")
    one, two = xplain.load(original), xplain.load(last)
    chosen = xplain.explain(two, items(1), "grad-cam").notes["layer"]
    item = items(1).shape[1:]
    assert describe(two.outline.follow(item).axes_of(chosen), Layout("NCHW", item)).startswith("N H:8 W:8 C:")
    for method in CAMS:
        a, b = (xplain.explain(model, items(), method, target=1) for model in (one, two))
        assert a.resolution == b.resolution == (8, 8)
        np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-3 * np.abs(a.values).max())


def test_sixteen_bits(tmp_path: Path) -> None:
    """Written by the runtime's own quantisers, which ONNX does not describe."""
    options = {"activation_type": "QUInt16", "extra_options": {"UseQDQContribOps": True}}
    model = integers(trunk("residual"), "QDQ", tmp_path, items(16), **options)
    assert any(node.domain == "com.microsoft" and node.op_type == "QuantizeLinear" for node in model.graph.node)
    exact, loaded = xplain.load(trunk("residual")), xplain.load(model)
    assert loaded.outline.layer("s_QuantizeLinear_Output").shape == (None, 8, 16, 16)
    taps = ("s_QuantizeLinear_Output", "s_DequantizeLinear_Output")
    np.testing.assert_array_equal(*loaded.answer(Peek(items(), taps)).values())
    for layer, name in (("auto", "auto"), ("s", taps[0])):
        for method in CAMS:
            a = xplain.explain(exact, items(), method, target=1, layer=layer)
            b = xplain.explain(loaded, items(), method, target=1, layer=name)
            assert correlation(a.values, b.values) > 0.99


def test_integers_at_both_ends(tmp_path: Path) -> None:
    """As devices run it: without the first quantiser and the last dequantiser."""
    whole = integers(trunk("concat"), "QOperator", tmp_path, items(16))
    bare = onnx.ModelProto()
    bare.CopyFrom(whole)
    nodes = list(bare.graph.node)[1:-1]
    del bare.graph.node[:], bare.graph.input[:], bare.graph.output[:]
    bare.graph.node.extend(nodes)
    bare.graph.input.append(helper.make_tensor_value_info("x_quantized", nets.UINT8, ["N", 3, SIZE, SIZE]))
    bare.graph.output.append(helper.make_tensor_value_info("y_quantized", nets.UINT8, ["N", CLASSES]))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    x = items()
    q = np.rint(x / stored["x_scale"]).astype(np.float32) + stored["x_zero_point"]
    assert 0 <= q.min() < q.max() <= 255
    for method in (*CAMS[:-1], "saliency", "lrp"):
        one, two = (xplain.explain(m, given, method, target=1).values for m, given in ((whole, x), (bare, q)))
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5 * np.abs(one).max())


def test_a_vision_transformer(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the net is written in torch")
    sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
    torch_nets = pytest.importorskip("torch_nets")
    exported = torch_nets.export(torch_nets.net("vit"), torch.zeros(1, 3, 32, 32), opset_version=17)
    model = integers(exported, "QOperator", tmp_path, items(8), per_channel=False)
    assert {"QLinearMatMul", "QLinearSoftmax", "QLinearAdd"} <= {node.op_type for node in model.graph.node}
    exact, loaded = xplain.load(exported), xplain.load(model)
    for method in ("grad-cam", "ablation-cam", "attention-rollout", "attention-relevance"):
        a, b = (xplain.explain(m, items(), method, target=1) for m in (exact, loaded))
        assert correlation(a.values, b.values) > 0.8, method
    assert "Add" in loaded.outline.layer(xplain.explain(loaded, items(1), "ablation-cam").notes["layer"]).op


@pytest.fixture(scope="module")
def mobilenets(real_models: Path, tmp_path_factory: Any) -> tuple[dict[str, Any], np.ndarray[Any, Any], list[int]]:
    """A real float classifier, its two integer forms, six photographs, and what the float one sees on them."""
    card = {"mode": "RGB", "resize_short": 256, "crop": [224, 224], "scale": 1 / 127.5, "mean": [1] * 3, "std": [1] * 3}
    original = xplain.load(real_models / "imagenet/mobilenetv2_imagenet1001_fp32.onnx", card=card)
    names = ("coral_bird.bmp", "coral_cat_720p.jpg", "coral_dragonfly.bmp", "coral_owl.jpg", "triton_mug.jpg")
    x = np.concatenate([prepare(original.outline.card, real_models / "images" / name)[0][None] for name in names])
    model = onnx.load(real_models / "imagenet/mobilenetv2_imagenet1001_fp32.onnx")
    model = version_converter.convert_version(model, 17)
    folder = tmp_path_factory.mktemp("mobilenet")
    found = {form: xplain.load(integers(model, form, folder, x[:3])) for form in ("QDQ", "QOperator")}
    return {"float": original, **found}, x, xplain.predict(original, x).argmax(axis=1).tolist()


@pytest.mark.parametrize(
    "method", ["grad-cam", "grad-cam++", "layer-cam", "hires-cam", "cam", "eigen-cam", "ablation-cam"]
)
def test_maps_of_a_real_classifier(method: str, mobilenets: Any) -> None:
    models, x, classes = mobilenets
    maps = {name: xplain.explain(m, x, method, target=classes).values for name, m in models.items()}
    for k in range(len(x)):
        assert correlation(maps["QOperator"][k], maps["QDQ"][k]) > 0.999
        assert correlation(maps["QOperator"][k], maps["float"][k]) > 0.97


def test_a_real_classifier_explains_itself_in_integers(mobilenets: Any) -> None:
    models, x, classes = mobilenets
    for method in ("grad-cam", "guided-grad-cam"):
        compiled = xplain.compile(models["QOperator"], method)
        assert {node.domain for node in compiled.graph.node} == {""}
        session = ort.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
        values = session.run(["attribution"], {"input": x, "target": np.array(classes)})[0]
        expected = xplain.explain(models["QOperator"], x, method, target=classes).values
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
