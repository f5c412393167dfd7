"""Recipro-CAM in a file: forward only, so integer nets and transformers have a map wherever ONNX runs."""

from __future__ import annotations

import io
import warnings

import integer_nets
import numpy as np
import onnxruntime as ort
import pytest

import xplain
from methods.test_masks import Attending

torch = pytest.importorskip("torch", reason="the nets are written in torch")

X = np.random.default_rng(3).normal(size=(2, 3, 12, 12)).astype(np.float32)


def run(compiled, **feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(compiled.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (name, *_) = (one.name for one in session.get_inputs())
    return session.run(["attribution"], {name: X if "x" not in feeds else feeds.pop("x"), **feeds})[0]


def close(found, expected, share=1e-4):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= share * np.abs(expected).max()


class Tokens(Attending):
    """The same, its batch found by what a tracer follows."""

    def forward(self, x):
        patches = self.patch(x).flatten(2).transpose(1, 2)
        return self.tail(self.first(torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)))


def exported(net):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.tensor(X),), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    return file.getvalue()


@pytest.mark.parametrize("smooth", [True, False])
def test_a_transformer_keeps_its_class_token(smooth):
    model = xplain.load(exported(Tokens().eval()))
    for target in (None, 2, "3 - 1"):
        compiled = xplain.compile(model, "recipro-cam", target=target, smooth=smooth, signed=True)
        close(run(compiled), xplain.explain(model, X, "recipro-cam", target=target, smooth=smooth, signed=True).values)
    domains = {node.domain for node in compiled.graph.node}
    assert domains <= {""}, "standard operators alone, which any runtime has"


def test_a_place_in_a_map_is_a_target_too():
    torch.manual_seed(4)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(6, 4, 3, padding=1), torch.nn.Sigmoid()
    ).eval()
    model = xplain.load(exported(net))
    target = xplain.neuron(model.outline.outputs[0], 1, 2, 3)
    compiled = xplain.compile(model, "recipro-cam", target=target, layer=model.outline.layers[1].name, signed=True)
    wanted = xplain.explain(
        model, X, "recipro-cam", target=target, layer=model.outline.layers[1].name, signed=True
    ).values
    close(run(compiled), wanted)
    assert np.abs(wanted).max() > 0


def test_a_torch_module_is_compiled():
    model = xplain.load(Tokens().eval())
    wanted = xplain.explain(model, X, "recipro-cam", layer="first", target=1)
    close(run(xplain.compile(model, "recipro-cam", layer="first", target=1)), wanted.values, 1e-3)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_an_integer_net_explains_itself_by_going_forwards(form, tmp_path):
    """Forward operators are all that it takes: no rule, no gradient."""
    seen = integer_nets.items(3)
    made = integer_nets.integers(integer_nets.trunk("residual"), form, tmp_path, seen)
    model = xplain.load(made)
    wanted = xplain.explain(model, seen, "recipro-cam", target=1, signed=True)
    compiled = xplain.compile(model, "recipro-cam", target=1, signed=True)
    close(run(compiled, x=seen), wanted.values, 1e-3)
    assert not {"ConvTranspose"} & {node.op_type for node in compiled.graph.node}, "no way back is in it"


def test_a_real_integer_net_explains_itself(real_models):
    model = xplain.load(real_models / "imagenet" / "mobilenetv2_imagenet1001_qdq.onnx", card="imagenet-pm1")
    picture = real_models / "images" / "coral_parrot.jpg"
    wanted = xplain.explain(model, picture, "recipro-cam", signed=True)
    session_in = xplain.api.items_of(model, picture).x
    found = run(xplain.compile(model, "recipro-cam", signed=True), x=session_in)
    close(found, wanted.values, 1e-3)
    assert found.max() > 0
