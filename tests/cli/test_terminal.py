"""Names in models, files and rows cannot steer the terminal, whatever the verb."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from cli.tiny import write_picture
from onnx import TensorProto, helper, numpy_helper

ESC, BIDI = "\x1b]0;PWNED\x07\x1b[31m", "\u202e"
STEERING = {"\x1b", "\x07", BIDI, "\r"}


@pytest.fixture
def evil(tmp_path):
    """A convolutional net whose every name steers, and whose card and producer do too."""
    name = ESC + BIDI
    weights = numpy_helper.from_array(np.random.default_rng(1).normal(size=(3, 3, 3, 3)).astype(np.float32), "K" + name)
    nodes = [
        helper.make_node("Conv", ["in" + name, "K" + name], ["c" + name], name="n" + name),
        helper.make_node("Relu", ["c" + name], ["r" + name]),
        helper.make_node("GlobalAveragePool", ["r" + name], ["p"]),
        helper.make_node("Flatten", ["p"], ["out" + name]),
    ]
    inputs = [helper.make_tensor_value_info("in" + name, TensorProto.FLOAT, ["n" + name, 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("out" + name, TensorProto.FLOAT, ["n" + name, 3])]
    graph = helper.make_graph(nodes, "g" + name, inputs, outputs, [weights])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="p" + name
    )
    model.metadata_props.add(
        key="xplain.card", value='labels = ["a", "b\\u001b[31m\\u202ex", "c"]\nresize = [16, 16]\n'
    )
    model.metadata_props.add(key="key" + name, value="value" + name)
    onnx.save(model, tmp_path / "evil.onnx")
    write_picture(tmp_path / "plain.png")
    write_picture(tmp_path / f"p{ESC}{BIDI}.png")
    return tmp_path


VERBS = [
    ("inspect", "evil.onnx"),
    ("inspect", "evil.onnx", "--layers"),
    ("explain", "evil.onnx", "plain.png", "--out", "o1", "--method", "occlusion", "--patch", "8", "--stride", "8"),
    ("explain", "evil.onnx", f"p{ESC}{BIDI}.png", "--out", "o2", "--method", "saliency"),
    ("explain", "evil.onnx", "plain.png", "--out", "o3", "--target", "x" + ESC),
    ("explain", "evil.onnx", "plain.png", "--out", "o4", "--method", "grad-cam", "--layer", "zzz"),
    ("explain", "evil.onnx", "plain.png", "--out", "o5", "--method", "lrp", "--conservation"),
    ("explain", "evil.onnx", f"gone{ESC}.png", "--out", "o6"),
    ("explain", "evil.onnx", "plain.png", "--out", "o7", "--nonsense" + ESC),
    ("inspect", f"gone{ESC}.onnx"),
    ("inspect" + ESC, "evil.onnx"),
    ("compile", "evil.onnx", "--method", "saliency", "-o", "c.onnx"),
    ("methods", "nothing" + ESC),
]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words).encode("unicode_escape").decode()[:60])
def test_no_verb_prints_what_steers(words, xplain, evil, monkeypatch):
    monkeypatch.chdir(evil)
    ran = xplain(*words)
    assert not STEERING & set(ran.out + ran.err), ascii(ran.out + ran.err)


def test_json_escapes_by_itself_and_keeps_the_names(xplain, evil, monkeypatch):
    monkeypatch.chdir(evil)
    ran = xplain("inspect", "evil.onnx", "--json")
    assert not STEERING & set(ran.out)
    assert json.loads(ran.out)["inputs"][0]["name"] == "in" + ESC + BIDI
