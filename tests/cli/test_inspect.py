"""``xplain inspect`` and the options that say how a model is loaded."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
from cli.tiny import write_picture
from onnx import helper


def test_what_is_known_of_a_model(xplain, model):
    document = xplain("inspect", model, "--json").document
    (picture,) = document["inputs"]
    assert (picture["name"], picture["shape"], picture["dtype"]) == ("picture", [None, 3, 16, 16], "float32")
    assert picture["dims"] == ["N", "", "", ""]  # the names that the file gives to free extents
    assert (document["layout"], document["batch"]) == ("NCHW", "free")
    assert document["scores"]["tensor"] == "logits"
    assert (document["scores"]["classes"], document["scores"]["link"]) == (3, "softmax")
    assert document["labels"] == 3
    assert len(document["sha256"]) == 64
    assert "resize = [16, 16]" in document["card"]
    assert "occlusion" in document["methods"]
    assert document["safety"] == "accepted"


def test_the_same_for_a_person(xplain, model):
    ran = xplain("inspect", model)
    assert ran.code == 0
    for words in (
        "picture [?, 3, 16, 16] float32 (explained)",
        "logits, 3 classes, logits.",
        "3: bright; dark; other",
        "tiny.card.toml, below",
        'mode = "RGB"',
        "opset",
        "accepted",
    ):
        assert words in ran.out


def test_layers_are_listed_in_full_when_asked(xplain, tmp_path):
    onnx.save(nets.cnn(), tmp_path / "cnn.onnx")
    few, all_of_them = xplain("inspect", tmp_path / "cnn.onnx"), xplain("inspect", tmp_path / "cnn.onnx", "--layers")
    for layer in xplain("inspect", tmp_path / "cnn.onnx", "--json").document["layers"]:
        assert layer["name"] in all_of_them.out
    assert "none: pictures need --card" in few.out


def test_a_bomb_is_refused(xplain, tmp_path):
    onnx.save(nets.doubling_bomb(), tmp_path / "bomb.onnx")
    ran = xplain("inspect", tmp_path / "bomb.onnx", "--json")
    assert ran.code == 3
    assert ran.document["error"]["kind"] == "Unsafe"


@pytest.fixture
def two(tmp_path):
    """A model of two inputs, and a picture for it."""
    onnx.save(nets.two_inputs(), tmp_path / "two.onnx")
    (tmp_path / "two.card.toml").write_text('mode = "L"\nresize = [4, 4]\n')
    return tmp_path / "two.onnx", write_picture(tmp_path / "p.png")


def test_models_of_several_inputs_are_described(xplain, two):
    """What to state is what a person looks for here; nothing can be asked before."""
    ran = xplain("inspect", two[0])
    assert ran.code == 0, ran.err
    assert "picture [?, 1, 4, 4] float32" in ran.out
    assert "extra [?, 2] float32" in ran.out
    assert "--input picture --fixed extra=FILE.npy" in ran.out
    assert "(explained)" not in ran.out
    document = xplain("inspect", two[0], "--json").document
    assert (document["input"], document["answers"], document["scores"]["classes"]) == (None, [], 2)
    ran = xplain("inspect", two[0], "--input", "picture")
    assert (ran.code, "also needs 'extra'" in ran.err) == (2, True), ran.err


def test_inputs_of_free_length_are_not_taken_for_columns(xplain, tmp_path):
    """Positions beside token ids: neither a table nor a text; and a name that a shell would take apart is quoted."""
    nodes = [
        helper.make_node("Add", ["ids", "places;all"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["real"], to=nets.FLOAT),
        helper.make_node("ReduceSum", ["real", "axis"], ["scores"], keepdims=1),
    ]
    inputs = {name: (onnx.TensorProto.INT64, ["N", "T"]) for name in ("ids", "places;all")}
    proto = nets.model(nodes, inputs, {"scores": (nets.FLOAT, ["N", 1])}, {"axis": np.array([1])})
    onnx.save(proto, tmp_path / "two.onnx")
    ran = xplain("inspect", tmp_path / "two.onnx")
    assert ran.code == 0, ran.err
    assert "--input ids --fixed 'places;all'=FILE.npy" in ran.out
    assert "table.csv" not in ran.out


@pytest.mark.parametrize("extra", ["10,0", "0,10"])
def test_other_inputs_are_fixed(xplain, two, tmp_path, extra):
    np.save(tmp_path / "extra.npy", np.array([[float(v) * 10 for v in extra.split(",")]], np.float32))
    model, picture = two
    words = ("--input", "picture", "--fixed", f"extra={tmp_path / 'extra.npy'}", "--out", tmp_path / "out", "--json")
    ran = xplain("explain", model, picture, "--patch", 1, "--stride", 1, *words)
    assert ran.code == 0, ran.err
    assert ran.document["pictures"][0]["predictions"][0]["class"] == extra.split(",").index("10")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fixed", "extra"), "--fixed extra is not understood; accepted: NAME=NUMBER or NAME=FILE.npy"),
        (("--fixed", "extra=much"), "'much' is neither a number nor an .npy file"),
        (("--fixed", "extra=none.npy"), "the file cannot be read"),
        (("--fixed", "ekstra=1"), "extra"),
        (("--input", "pictur"), "picture"),
        (("--threads", 0), "threads is 0; accepted: a whole number of at least 1"),
        (("--providers", "gpu9"), "gpu9"),
    ],
)
def test_loading_options_that_cannot_be_used(xplain, two, words, message):
    ran = xplain("inspect", two[0], *words)
    assert ran.code == 2
    assert message in ran.err


def test_external_data_must_be_allowed(xplain, tmp_path):
    proto = nets.planted()
    onnx.save(proto, tmp_path / "big.onnx", save_as_external_data=True, location="other.data", size_threshold=0)
    ran = xplain("inspect", tmp_path / "big.onnx")
    assert ran.code == 3
    assert "give --allow-external-data." in ran.err
    assert xplain("inspect", tmp_path / "big.onnx", "--allow-external-data").code == 0
