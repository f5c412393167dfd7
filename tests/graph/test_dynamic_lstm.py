"""LSTMs whose weights were quantised and whose states are quantised as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from finite import session
from nets import FLOAT, model
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from xplain.core.errors import UnsupportedOperator
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build

RNG = np.random.default_rng(3)


def _two_layers(steps: Any, ways: int) -> onnx.ModelProto:
    """Two recurrences, the second fed with all states of the first; items come first outside."""
    direction = "bidirectional" if ways == 2 else "reverse"
    nodes = [helper.make_node("Transpose", ["x"], ["t0"], perm=[1, 0, 2])]
    stored: dict[str, np.ndarray] = {"merge": np.array([0, 0, -1])}
    for k, width in ((0, 6), (1, 5 * ways)):
        names = [f"t{k}", f"w{k}", f"r{k}", f"b{k}"]
        nodes += [
            helper.make_node("LSTM", names, [f"y{k}"], f"layer{k}", hidden_size=5, direction=direction),
            helper.make_node("Transpose", [f"y{k}"], [f"p{k}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"p{k}", "merge"], [f"t{k + 1}"]),
        ]
        for name, shape in (("w", (ways, 20, width)), ("r", (ways, 20, 5)), ("b", (ways, 40))):
            stored[f"{name}{k}"] = RNG.normal(size=shape, scale=0.5).astype(np.float32)
    nodes.append(helper.make_node("ReduceMean", ["t2", "time"], ["y"], keepdims=0))
    stored["time"] = np.array([0])
    return model(nodes, {"x": (FLOAT, ["N", steps, 6])}, {"y": (FLOAT, None)}, stored, opset=18)


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("ways", [1, 2])
def test_it_computes_what_the_runtime_does(ways: int, per_channel: bool, kind: QuantType, tmp_path: Path) -> None:
    real, paths = _two_layers(4, ways), [tmp_path / "real.onnx", tmp_path / "small.onnx"]
    onnx.save(real, paths[0])
    quantize_dynamic(*paths, op_types_to_quantize=["LSTM"], per_channel=per_channel, weight_type=kind)
    small = onnx.load(paths[1])
    assert [n.op_type for n in small.graph.node].count("DynamicQuantizeLSTM") == 2
    x = RNG.normal(size=(3, 4, 6)).astype(np.float32)
    wanted = session(small).run(None, {"x": x})[0]
    cot, gradients = RNG.normal(size=wanted.shape).astype(np.float32), []
    for made in (real, small):
        built = build(made, ["x"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
        assert {node.domain for node in built.model.graph.node} <= {"", "ai.onnx"}
        y, g = session(built.model).run(["y", built.taps["x"][1]], {"x": x, "cot": cot})
        gradients.append(g)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    assert np.corrcoef(gradients[0].ravel(), gradients[1].ravel())[0, 1] > 0.998


def test_of_unknown_length_it_is_declined_by_its_own_name(tmp_path: Path) -> None:
    paths = [tmp_path / "real.onnx", tmp_path / "small.onnx"]
    onnx.save(_two_layers("T", 1), paths[0])
    quantize_dynamic(*paths, op_types_to_quantize=["LSTM"])
    with pytest.raises(
        UnsupportedOperator, match="'layer0.*': operator DynamicQuantizeLSTM .* length of its sequences"
    ):
        build(onnx.load(paths[1]), ["x"], [Seed("y", "inner", "cot")])
