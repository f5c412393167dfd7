"""The end of a layer's name is enough where it is the end of one layer's only."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

import xplain
from xplain.core.errors import UnknownName
from xplain.core.outline import LayerSpec

torch = pytest.importorskip("torch", reason="the net is written in torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv, self.act = nn.Conv2d(before, after, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential()
        self.body.add_module("layer1", nn.Sequential(Block(3, 4), Block(4, 4)))
        self.body.add_module("layer4", Block(4, 6))
        self.body.add_module("tail", Block(6, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def file(net):
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.zeros(1, 3, 8, 8), content, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
    return content.getvalue()


@pytest.mark.parametrize("method", ["grad-cam", "lrp", "saliency", "score-cam"])
def test_a_short_name_is_the_whole_one(method, net, file, x):
    whole = "/body/layer4/act/Relu_output_0"
    for model, short, full in (
        (net, "layer4", "body.layer4"),
        (net, "layer4.act", "body.layer4.act"),
        (file, "layer4.act", whole),
        (file, "layer4/act", whole),
        (file, "layer4/act/Relu_output_0", whole),
    ):
        found = xplain.explain(model, x, method, target=1, layer=short)
        np.testing.assert_array_equal(
            found.values, xplain.explain(model, x, method, target=1, layer=full).values, err_msg=short
        )
        if "layer" in found.notes:
            assert found.notes["layer"] == full


def test_a_compiled_file_knows_it_too(file, x):
    made, whole = (
        xplain.compile(file, "grad-cam", layer=name) for name in ("layer4.act", "/body/layer4/act/Relu_output_0")
    )
    assert made.graph.SerializeToString() == whole.graph.SerializeToString()


def test_what_is_short_for_several_is_refused_with_them(net, file, x):
    for model, short in ((net, "act"), (net, "conv"), (file, "layer4"), (file, "act")):
        with pytest.raises(UnknownName, match="it is short for") as caught:
            xplain.explain(model, x, "grad-cam", target=1, layer=short)
        for name in re.findall(r"'([^' ]+)'", str(caught.value).split("short for")[1].split(". Give")[0]):
            assert xplain.explain(model, x, "grad-cam", target=1, layer=name).notes["layer"] == name


def test_parts_are_whole(net, file, x):
    for model in (net, file):
        for short in ("ayer4", "layer", "layer44", "tail.layer4", "4", "0", "."):
            with pytest.raises(UnknownName, match=f"Unknown layer {short!r}"):
                xplain.explain(model, x, "grad-cam", target=1, layer=short)


def test_the_first_of_joined_names_stands_for_the_layer():
    """A converter joins the names that it fused with ``;``: the first is enough, whole or its last parts."""
    names = ("m/a/Relu6;m/a/add_fold;m/c/bias", "FAF_m/a/Relu6;m/a/add_fold", "m/b/Conv2D;m/c/bias")
    outline = xplain.load(lambda x: x).outline
    outline = replace(outline, layers=tuple(LayerSpec(name, "Relu", (None, 8)) for name in names))
    assert outline.layer_meant("m/a/Relu6") == names[0]
    assert outline.layer_meant("b/Conv2D") == names[2]
    assert outline.layer_meant(names[1]) == names[1]
    with pytest.raises(UnknownName, match=r"short for 'm/a/Relu6', 'FAF_m/a/Relu6'\."):
        outline.layer_meant("a/Relu6")
