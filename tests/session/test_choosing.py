"""Where no method is named, one is chosen by what the model answers, and the result says which and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.conftest import small_network, small_transformer, smooth_formula

import xplain
from xplain.cli import main
from xplain.core.errors import UnknownName

PICTURE = np.random.default_rng(0).random((1, 2, 12, 12)).astype(np.float32)


def dense(x: Any) -> Any:
    return np.asarray(x).reshape(len(x), -1) @ np.arange(12).reshape(6, 2)


@pytest.mark.parametrize(
    ("make", "x", "wanted"),
    [
        (small_network, PICTURE, "grad-cam"),
        (small_transformer, PICTURE, "lrp"),
        (smooth_formula, PICTURE, "kernel-shap"),
        (lambda: xplain.load(dense), np.ones((2, 6), np.float32), "exact-shapley"),
        (lambda: xplain.text(lambda texts: [[len(t)] for t in texts]), "so good", "kernel-shap"),
    ],
)
def test_the_choice_follows_from_what_the_model_answers(make: Any, x: Any, wanted: str) -> None:
    a = xplain.explain(make(), x, target=0)
    assert a.method == wanted
    assert a.facts["method chosen"].startswith(wanted)
    assert "Name another method" in str(a)
    named = xplain.explain(make(), x, wanted, target=0, **{k: v for k, v in a.options.items() if k in ("rule",)})
    assert "method chosen" not in named.facts
    if wanted != "kernel-shap":  # that stops at a precision of its own
        np.testing.assert_array_equal(a.values, named.values)


def test_a_transformer_is_asked_by_attention_aware_relevance() -> None:
    assert xplain.explain(small_transformer(), PICTURE, target=0).options["rule"] == "attn-lrp"
    black = xplain.explain(smooth_formula(), PICTURE, target=0)
    assert black.options["precision"] == 0.1


def test_a_torch_net_is_looked_at_before_it_is_chosen_for() -> None:
    torch = pytest.importorskip("torch")
    conv = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(300, 2))
    assert xplain.explain(conv, PICTURE).method == "grad-cam"
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(288, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    assert xplain.explain(flat, PICTURE).method == "integrated-gradients"


def test_options_say_what_is_meant_and_unknown_ones_are_refused() -> None:
    a = xplain.explain(small_network(), PICTURE, target=0, patch=4, stride=4)
    assert a.method == "occlusion"
    assert a.options["patch"] == 4
    with pytest.raises(UnknownName, match="'pacth'"):
        xplain.explain(small_network(), PICTURE, pacth=4)


def test_a_plan_without_a_method_is_that_of_the_method_chosen() -> None:
    model = small_network()
    assert xplain.plan(model, PICTURE, target=0) == xplain.plan(model, PICTURE, "grad-cam", target=0)


def test_the_command_line_says_what_it_chose(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx
    from PIL import Image

    Image.fromarray(np.zeros((12, 12), np.uint8)).save(tmp_path / "one.png")
    card = tmp_path / "net.card.toml"
    card.write_text('mode = "L"\nresize = [12, 12]\nscale = 0.01\n')
    net = one_channel()
    onnx.save(net, tmp_path / "net.onnx")
    line = ["explain", str(tmp_path / "net.onnx"), str(tmp_path / "one.png"), "--card", str(card)]
    assert run([*line, "--out", str(tmp_path / "out")]) == 0
    told = capfd.readouterr()
    assert "grad-cam: the model has a graph" in told.err
    assert "--method" in told.err
    assert (tmp_path / "out" / "one.grad-cam.png").exists()
    assert run([*line, "--out", str(tmp_path / "out"), "--patch", "6", "--stride", "6"]) == 0
    assert (tmp_path / "out" / "one.occlusion.png").exists()


def run(line: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(line)
    return int(ended.value.code or 0)


def one_channel() -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    stored = {"w": rng.normal(size=(3, 1, 3, 3)), "h": rng.normal(size=(3, 2))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "h"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
