"""Models whose answers are maps or sequences: what to explain is named, and every method works on it."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import xplain
from xplain.core.errors import ModelError
from xplain.core.target import channel, neuron

X = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
METHODS = {
    "occlusion": {"patch": 4, "stride": 4},
    "rise": {"samples": 40},
    "kernel-shap": {"features": "grid:3", "samples": 40},
    "lime": {"features": "grid:3", "samples": 40},
    "saliency": {},
    "integrated-gradients": {"steps": 4},
    "guided-backprop": {},
    "grad-cam": {"layer": "down"},
    "hires-cam": {},
    "lrp": {},
    "deeplift": {},
}


class Segmenter(nn.Module):
    def __init__(self, wrap=lambda mask: mask):
        super().__init__()
        torch.manual_seed(0)
        self.down, self.up, self.wrap = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 4, 2, 2), wrap

    def forward(self, x):
        return self.wrap(self.up(self.down(x).relu()))


def segmenter(softmax: bool = False) -> onnx.ModelProto:
    net = Segmenter()
    stored = {k.replace(".", "_"): v.numpy() for k, v in net.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["img", "down_weight", "down_bias"], ["d"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["d"], ["down"]),
        helper.make_node("ConvTranspose", ["down", "up_weight", "up_bias"], ["logits"], strides=[2, 2]),
        helper.make_node(
            "Softmax" if softmax else "Identity", ["logits"], ["mask"], **({"axis": 1} if softmax else {})
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("img", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 4, 16, 16])],
        [numpy_helper.from_array(v, k) for k, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def function(x):
    with torch.no_grad():
        return Segmenter()(torch.from_numpy(x)).numpy()


def truth(index):
    x = torch.from_numpy(X).requires_grad_()
    mask = Segmenter()(x)
    value = mask[:, index[0]].mean((1, 2)) if len(index) == 1 else mask[(slice(None), *index)]
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), gradient.abs().amax(1).numpy()


@pytest.mark.parametrize("door", ["onnx", "torch", "torch dictionary"])
@pytest.mark.parametrize("index", [(2,), (2, 8, 8)])
def test_a_place_in_a_map_is_a_target(door, index):
    models = {"onnx": segmenter(), "torch": Segmenter(), "torch dictionary": Segmenter(lambda mask: {"mask": mask})}
    name = "output" if door == "torch" else "mask"
    value, gradient = truth(index)
    words = f"{name}[{', '.join(map(str, index))}]"
    for target in (words, channel(name, *index) if len(index) == 1 else neuron(name, *index)):
        a = xplain.explain(models[door], X, "saliency", target=target)
        np.testing.assert_allclose(a.scores, value, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a.values, gradient, rtol=1e-4, atol=1e-6)
        assert (a.unit, a.labels, a.target) == (
            "|delta output| per input unit",
            (),
            target if target == words else a.target,
        )


@pytest.mark.parametrize("door", ["onnx", "torch", "function"])
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_method_explains_it(door, method, tmp_path):
    model = xplain.load(
        {"onnx": segmenter(), "torch": Segmenter(), "function": function}[door],
        **({"version": "1"} if door == "function" else {}),
    )
    if door == "function" and method not in ("occlusion", "rise", "kernel-shap", "lime"):
        pytest.skip("needs a graph")
    target = {"onnx": "mask", "torch": "output", "function": "scores"}[door] + "[2, 8, 8]"
    a = xplain.explain(model, X, method, target=target, **METHODS[method])
    np.testing.assert_allclose(a.scores, truth((2, 8, 8))[0], rtol=1e-4)
    assert np.isfinite(a.values).all()
    assert np.abs(a.values).max() > 0
    assert "logit" not in a.unit
    assert str(a)


def test_plan_cache_sentinel_and_saving_need_no_classes(tmp_path):
    model, target = xplain.load(segmenter()), "mask[2, 8, 8]"
    options = {"target": target, "patch": 8, "stride": 8}
    assert xplain.plan(model, X, "occlusion", **options).queries == 2 * (4 + 1)
    first = xplain.explain(model, X, "occlusion", cache=tmp_path / "c", sentinel=4, **options)
    again = xplain.explain(model, X, "occlusion", cache=tmp_path / "c", **options)
    assert np.array_equal(first.values, again.values)
    assert again.cost.queries == 0
    first.save(tmp_path / "a.npz")
    assert xplain.Attribution.load(tmp_path / "a.npz").target == target


@pytest.mark.parametrize("door", ["onnx", "softmax", "torch", "function"])
def test_the_advice_of_the_message_works(door):
    model = {"onnx": segmenter(), "softmax": segmenter(softmax=True), "torch": Segmenter(), "function": function}[door]
    with pytest.raises(ModelError, match="no predicted class") as error:
        xplain.explain(model, X, "occlusion", patch=8, stride=8)
    advised = re.findall(r"target='([^']+)'", str(error.value))
    assert len(advised) >= 2
    for target in advised:
        assert np.abs(xplain.explain(model, X, "occlusion", target=target, patch=8, stride=8).values).max() > 0
