"""``xplain compile``: the file, what is told of it, and what is refused."""

from __future__ import annotations

import hashlib
import re

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cli.tiny import CAUSE, SIDE
from onnx import TensorProto, helper

from xplain import api


def run(path, **feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return session.run(["attribution"], feeds)[0]


@pytest.fixture
def x():
    return np.random.default_rng(0).random((2, 3, SIDE, SIDE)).astype(np.float32)


def test_the_file_explains_itself(xplain, model, tmp_path, x):
    out = tmp_path / "explained.onnx"
    ran = xplain("compile", model, "--method", "saliency", "--signed", "true", "-o", out)
    assert ran.code == 0, ran.err
    assert "picture (required), target (optional)" in ran.out
    found = run(out, picture=x, target=np.array([0]))
    assert (found[:, CAUSE[0], CAUSE[1]] > 0).all()
    np.testing.assert_allclose(found, api.explain(str(model), x, "saliency", target=0, signed=True).values, rtol=1e-5)
    assert api.load(str(out)).outline.labels == ("bright", "dark", "other")  # the card went along


def test_json_says_what_was_built(xplain, model, tmp_path):
    out = tmp_path / "explained.onnx"
    document = xplain(
        "compile", model, "-m", "saliency", "--target", "dark", "--target-input", "none", "-o", out, "--json"
    ).document
    assert (document["method"], document["target"], document["exit_code"]) == ("saliency", "dark", 0)
    assert document["options"] == {"layer": "input", "channels": False, "signed": False}
    assert document["inputs"] == {"picture": "required"}
    assert document["outputs"] == ["probabilities", "attribution"]
    assert document["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert document["bytes"] == out.stat().st_size
    assert document["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()


@pytest.mark.parametrize(("kind", "warns"), [("optional", True), ("required", False), ("none", False)])
def test_the_runtimes_warning_about_a_default_is_told_beforehand(xplain, model, tmp_path, capfd, kind, warns):
    out = tmp_path / "explained.onnx"
    ran = xplain("compile", model, "-m", "saliency", "--target-input", kind, "-o", out)
    assert ("note: ONNX Runtime warns that 'target' is not constant" in ran.out) == warns
    capfd.readouterr()
    ort.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    assert ("appears in graph inputs" in capfd.readouterr().err) == warns


def test_a_required_target_for_browsers(xplain, model, tmp_path, x):
    out = tmp_path / "explained.onnx"
    assert xplain("compile", model, "-m", "saliency", "--target-input", "required", "-o", out).code == 0
    with pytest.raises(ValueError, match="target"):
        run(out, picture=x)
    assert run(out, picture=x, target=np.array([-1])).shape == (2, SIDE, SIDE)


def test_help_shows_the_options_of_the_method(xplain):
    assert "Options of grad-cam" in xplain("compile", "--help").out
    text = xplain("compile", "--method", "integrated-gradients", "--help").out
    assert "--steps" in text
    assert "--patch" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "occlusion"), r"'occlusion' cannot be compiled into a graph. Those that can: .*saliency"),
        (("-m", "grad-cam"), "no layer with positions"),
        (("-m", "saliency", "--steps", "3"), r"Unknown option of method saliency: '--steps'"),
        (("-m", "saliency", "--target", "top3"), "depends on the scores of each item"),
        (("-m", "saliency", "--target", "green"), "Unknown label 'green'"),
        (("-m", "saliency", "--target-input", "maybe"), "accepted: 'optional', 'required', 'none'"),
        (("-m", "ig", "--tolerance", "0.1"), "runs with tolerance None; leave --tolerance out"),
    ],
)
def test_what_cannot_be_compiled_writes_nothing(xplain, model, tmp_path, words, message):
    ran = xplain("compile", model, *words, "-o", tmp_path / "explained.onnx")
    assert ran.code == 2
    assert re.search(message, ran.err), ran.err
    assert not (tmp_path / "explained.onnx").exists()


def test_nothing_is_overwritten_by_accident(xplain, model, tmp_path):
    before = model.read_bytes()
    for out, message in (
        (model, "is the model itself"),
        (tmp_path / "page.html", "does not end in .onnx"),
        (tmp_path / "no" / "x.onnx", "there is no folder"),
    ):
        ran = xplain("compile", model, "-m", "saliency", "-o", out, "--force")
        assert (ran.code, message in ran.err) == (2, True), ran.err
    assert model.read_bytes() == before
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    ran = xplain("compile", model, "-m", "saliency", "-o", there)
    assert (ran.code, there.read_text()) == (2, "mine")
    assert "add --force to overwrite it" in ran.err
    assert xplain("compile", model, "-m", "saliency", "-o", there, "--force").code == 0


def test_a_large_result_has_its_weights_beside_it(xplain, tmp_path, monkeypatch, x):
    """The limit of one protobuf is a constant of the module, so a small file goes the same way where it is lowered."""
    monkeypatch.setattr("xplain.graph.intake.store._ONE_FILE", 100_000)
    draws, width = np.random.default_rng(0), 3 * SIDE * SIDE
    weights = {"a": (draws.normal(size=(300, width)) / 9).astype(np.float32)}
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "a"], ["y"], transB=1)]
    ends = {"x": (TensorProto.FLOAT, ["N", 3, SIDE, SIDE])}, {"y": (TensorProto.FLOAT, ["N", 300])}
    onnx.save(nets.model(nodes, *ends, weights), tmp_path / "large.onnx")
    out = tmp_path / "explained.onnx"
    words = ("compile", tmp_path / "large.onnx", "-m", "saliency", "-o", out)
    ran = xplain(*words)
    assert ran.code == 0, ran.err
    size = (tmp_path / "explained.onnx.data").stat().st_size
    assert size == weights["a"].nbytes
    assert f"explained.onnx.data beside it, {size:,} bytes: keep the two together" in ran.out
    found = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(["attribution"], {"x": x})[0]
    expected = api.explain(str(tmp_path / "large.onnx"), x, "saliency").values
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    out.unlink()
    ran = xplain(*words)
    assert (ran.code, "explained.onnx.data is there already" in ran.err) == (2, True), ran.err
    document = xplain(*words, "--force", "--json").document
    assert document["weights"] == {"explained.onnx.data": size}


def test_a_baseline_may_be_a_picture(xplain, model, pictures, tmp_path, x):
    out = tmp_path / "explained.onnx"
    words = ("compile", model, "-m", "deeplift", "--target", 0, "--target-input", "none")
    ran = xplain(*words, "--baseline", pictures / "b.png", "-o", out)
    assert ran.code == 0, ran.err
    dark = np.full((3, SIDE, SIDE), 40 / 255, np.float32)
    expected = api.explain(str(model), x, "deeplift", target=0, baseline=dark).values
    np.testing.assert_allclose(run(out, picture=x), expected, rtol=1e-4, atol=1e-6)


def test_a_size_is_stated_where_the_model_has_none(xplain, model, tmp_path, x):
    free, out = onnx.load(model), tmp_path / "explained.onnx"
    for dim in list(free.graph.input[0].type.tensor_type.shape.dim)[2:]:
        dim.ClearField("dim_value")
    del free.graph.value_info[:]
    place = tmp_path / "free.onnx"
    onnx.save(free, place)
    asked = ("compile", place, "-m", "saliency", "--target-input", "none", "-o", out)
    for words in ("32", "axb", "-3x4", "3.5x3", ""):
        refused = xplain(*asked, f"--size={words}")
        assert refused.code == 2, words
        assert "size is" in refused.err
        assert not out.exists()
    ran = xplain(*asked, "--size", f"{SIDE}x{SIDE}")
    assert ran.code == 0, ran.err
    np.testing.assert_allclose(run(out, picture=x), api.explain(str(model), x, "saliency").values, rtol=1e-5)


def test_a_triton_repository_is_made_whole_or_not(xplain, model, tmp_path):
    """Its configuration says what the file's own inputs and outputs are; ONNX Runtime runs the file as Triton would."""
    made = xplain("compile", model, "--triton", tmp_path / "models", "--method", "saliency")
    assert made.code == 0, made.err
    (folder,) = (tmp_path / "models").iterdir()
    told = (folder / "config.pbtxt").read_text()
    session = ort.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    assert f'name: "{folder.name}"' in told
    assert 'backend: "onnxruntime"' in told
    entries = dict(re.findall(r'name: "([^"]+)", data_type: (TYPE_\w+)', told))
    types = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}
    given = [*session.get_inputs(), *session.get_overridable_initializers(), *session.get_outputs()]
    assert entries == {one.name: types[one.type] for one in given}
    assert 'name: "target", data_type: TYPE_INT64, dims: [-1], optional: true' in told
    for wrong in (["--method", "rise"], ["-m", "saliency", "--layer", "none-such"], ["--out", tmp_path / "a.onnx"]):
        assert xplain("compile", model, "--triton", tmp_path / "other", *wrong).code == 2
        assert not (tmp_path / "other").exists()
    assert xplain("compile", model).code == 2
