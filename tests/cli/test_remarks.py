"""What a result says besides its map reaches whoever sits at a command line: layers, gaps, warnings."""

from __future__ import annotations

import json

import nets
import numpy as np
import onnx
import pytest
from cli.tiny import write_picture
from onnx import helper

from xplain.cli.telling.notes import layer_of


@pytest.fixture
def pooled(tmp_path):
    """Bright pictures argue for class 1, dark ones for class 0; no position ever argues for class 0."""
    path = tmp_path / "pooled.onnx"
    nodes = [
        helper.make_node("Relu", ["picture"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"]),
    ]
    weights = {"w": np.array([[-1, 1]] * 3, np.float32), "b": np.array([3, -3], np.float32)}
    onnx.save(
        nets.model(nodes, {"picture": (nets.FLOAT, ["N", 3, 16, 16])}, {"scores": (nets.FLOAT, ["N", 2])}, weights),
        path,
    )
    path.with_suffix(".card.toml").write_text("resize = [16, 16]\nscale = 0.02\n")
    return path


@pytest.fixture
def both(tmp_path):
    """One picture of each kind, the bright one first."""
    return [write_picture(tmp_path / f"{name}.png", name == "bright") for name in ("bright", "dark")]


def test_the_layer_that_auto_took_is_told(xplain, pooled, both, tmp_path):
    ran = xplain("explain", pooled, both[0], "-m", "grad-cam", "--target", 1, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "grad-cam of '1' at layer 'features', delta logit" in ran.out
    ran = xplain("localise", pooled, both[0], "--target", 1, "--out", tmp_path / "boxes")
    assert "(grad-cam at layer 'features')" in ran.out


def test_a_method_is_said_to_be_chosen_when_the_target_is_one(xplain, pooled, both, tmp_path):
    ran = xplain("explain", pooled, both[0], "--target", "zebra", "--out", tmp_path / "out")
    assert ran.code
    assert "zebra" in ran.err
    assert "--method" not in ran.err, "another method would not help"
    for more in ((), ("--dry-run",)):
        ran = xplain("explain", pooled, both[0], "--target", 1, "--out", tmp_path / "out", *more)
        assert ran.code == 0
        assert ran.err.count("Name another with --method") == 1


def test_a_warning_is_told_for_the_picture_it_is_about(xplain, pooled, both, tmp_path):
    words = ("explain", pooled, *both, "-m", "grad-cam", "--out", tmp_path / "out")
    wanted = xplain(*words, "--target", "1 - 0", "--json").document["pictures"]
    assert not any(one["explanations"][0]["warnings"] for one in wanted)
    ran = xplain(*words, "--target", 0)
    assert ran.out.count("    warning: The map is zero") == 2
    told = json.loads((tmp_path / "out" / "run.json").read_text())["run"]["pictures"]
    assert all(one["explanations"][0]["warnings"][0]["text"].startswith("The map is zero") for one in told)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('<p class="warning">The map is zero') == 1, "of both alike, so it is said once"


def test_a_warning_about_one_of_several_pictures_is_told_once(xplain, pooled, both, tmp_path):
    """Each is explained for its own class: of the dark one's nothing argues for it."""
    ran = xplain("explain", pooled, *both, "-m", "grad-cam", "--out", tmp_path / "out", "--json")
    bright, dark = (one["explanations"][0] for one in ran.document["pictures"])
    assert (bright["class"], dark["class"]) == (1, 0)
    assert (bright["notes"]["layer"], bright["warnings"]) == ("features", [])
    assert dark["warnings"][0]["text"].startswith("The map is zero")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "dark.png: The map is zero" in page
    assert "bright.png: The map is zero" not in page


def test_numbers_of_a_result_are_in_the_record(xplain, pooled, both, tmp_path):
    words = ("explain", pooled, *both, "-m", "ig", "--target", 1, "--out", tmp_path / "out")
    notes = [one["explanations"][0]["notes"] for one in xplain(*words, "--json").document["pictures"]]
    assert [note["steps"] for note in notes] == [32, 32]
    for note in notes:
        assert abs(note["completeness gap"]) < 1e-3 < note["f(x) - f(baseline)"]


def test_a_compiled_file_says_where_it_looks(xplain, pooled, tmp_path):
    ran = xplain("compile", pooled, "-m", "grad-cam", "--signed", "true", "-o", tmp_path / "cam.onnx")
    assert "grad-cam of the predicted class at layer 'features', delta logit" in ran.out
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "cam.onnx").metadata_props}
    assert (said["xplain.layer"], "xplain.warning" in said) == ("features", False)


def test_a_compiled_file_says_the_unit_that_its_options_give(xplain, model, tmp_path):
    words = ("compile", model, "-m", "saliency", "-o", tmp_path / "map.onnx", "--force", "--json")
    assert xplain(*words).document["unit"] == "|delta logit| per input unit"
    assert xplain(*words, "--signed", "true").document["unit"] == "delta logit per input unit"


def test_a_compiled_file_that_is_a_plain_gradient_says_so(xplain, model, tmp_path):
    ran = xplain("compile", model, "-m", "guided-backprop", "-o", tmp_path / "map.onnx")
    assert "warning: The model has no Relu" in ran.out


def test_a_line_names_a_fused_layer_by_its_first_name():
    fused = "net/conv_1/Relu6;net/conv_1/add_fold;net/conv_1/BatchNorm_Fold/bias"
    assert layer_of({"notes": {"layer": fused}}) == " at layer 'net/conv_1/Relu6'"
    assert layer_of({"notes": {}}) == ""
