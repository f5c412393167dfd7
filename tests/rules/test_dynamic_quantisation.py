"""Files whose activations are quantised as they come: relevance and DeepLIFT see real products in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from finite import session
from nets import FLOAT
from nets import model as graph
from onnx import helper
from reference_net import CLASSES, items, model

from xplain.core.errors import UnsupportedOperator
from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules.deeplift import RESCALE
from xplain.rules.excitation import EXCITATION
from xplain.rules.lrp_tables import epsilon_gamma_box, epsilon_plus_flat

quantization = pytest.importorskip("onnxruntime.quantization")


@pytest.fixture(scope="module", params=["tensor", "channel", "optimised"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The reference net with dynamic quantisation, and what the runtime makes of it."""
    folder: Path = tmp_path_factory.mktemp("dynamic")
    onnx.save(model(), folder / "float.onnx")
    quantization.quantize_dynamic(
        folder / "float.onnx", folder / "int8.onnx", per_channel=request.param == "channel",
        weight_type=quantization.QuantType.QInt8 if request.param == "channel" else quantization.QuantType.QUInt8,
    )  # fmt: skip
    if request.param != "optimised":
        return onnx.load(folder / "int8.onnx")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "saved.onnx"), 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(folder / "int8.onnx", options, providers=["CPUExecutionProvider"])
    saved = onnx.load(folder / "saved.onnx")
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & {node.op_type for node in saved.graph.node}
    return saved


def _swept(made: onnx.ModelProto, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """The scores, and what arrives at the input."""
    x = items()
    built = build(made, ["x"], [Seed("y")], rules, returns=Returns(own=True))
    feeds = {"x": x, "target": CLASSES, **({"baseline": np.zeros_like(x)} if rules.reference else {})}
    y, found = session(built.model).run(["y", built.taps["x"][1]], feeds)
    return y, found


TABLES = [Rules(), epsilon_plus_flat(), epsilon_gamma_box(low=-4, high=4), RESCALE, EXCITATION]


@pytest.mark.parametrize("rules", TABLES, ids=lambda rules: rules.name)
def test_it_is_explained_like_the_file_it_was_made_from(small: onnx.ModelProto, rules: Rules) -> None:
    y, found = _swept(small, rules)
    wanted = session(small).run(["y"], {"x": items()})[0]
    np.testing.assert_allclose(y, wanted, atol=1e-4 * np.abs(wanted).max())
    _, exact = _swept(model(), rules)
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98


def test_contributions_are_complete_but_for_rounding(small: onnx.ModelProto) -> None:
    x, rows = items(), np.arange(2)
    _, m = _swept(small, RESCALE)
    f, f0 = (session(small).run(["y"], {"x": v})[0][rows, CLASSES] for v in (x, np.zeros_like(x)))
    total = (m * x).reshape(2, -1).sum(1)
    assert np.abs(total - (f - f0)).max() < 0.05 * np.abs(f - f0).max()


def test_a_sum_that_stays_an_integer_is_declined_for_relevance_alone() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["whole"]),
        helper.make_node("Add", ["whole", "b"], ["sum"], name="shifted"),
        helper.make_node("Cast", ["sum"], ["real"], to=FLOAT),
        helper.make_node("Mul", ["real", "s"], ["y"]),
    ]
    stored = {"w": np.arange(-6, 6, dtype=np.int8).reshape(4, 3), "b": np.ones(3, np.int32)}
    made = graph(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 3])}, stored, opset=18)
    assert build(made, ["x"], [Seed("y")]).taps
    with pytest.raises(UnsupportedOperator, match="'shifted': operator Add .* over a sum of integers"):
        build(made, ["x"], [Seed("y")], epsilon_plus_flat())
