"""FullGrad: the parts add up to the score, and each layer's biases lie where torch's autograd finds them."""

from __future__ import annotations

import numpy as np
import pytest
from nets import FLOAT, cnn, model, quantised
from onnx import helper

import xplain
from xplain.core.errors import UsageError

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 3, 12, 12)).astype(np.float32)


def normal(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def parts(a):
    return a.notes["input"] + a.notes["biases"] + a.notes["without a place"]


def torch_net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(4)
    conv, norm, up = torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.ReLU
    net = torch.nn.Sequential(
        conv(3, 5, 3, padding=1, bias=False), norm(5), up(), torch.nn.MaxPool2d(2),
        conv(5, 4, 3, padding=1), up(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3),
    ).eval()  # fmt: skip
    for values in (net[1].running_mean, net[1].weight.data, net[1].bias.data, net[4].bias.data, net[8].bias.data):
        values.normal_()
    net[1].running_var.uniform_(0.5, 2.0)
    return net


def written_out(net, x, scaled):
    """The authors' formula, from torch's gradients at the outputs of the layers that have biases.

    https://github.com/idiap/fullgrad-saliency: fullgrad.py and tensor_extractor.py, with half-pixel interpolation.
    """
    import torch

    batch, seen = torch.from_numpy(x).requires_grad_(), {}
    hooks = [net[k].register_forward_hook(lambda _m, _i, out, k=k: seen.__setitem__(k, out)) for k in (1, 4)]
    score = net(batch)[:, 1]
    at_input, *at_layers = torch.autograd.grad(score.sum(), [batch, seen[1], seen[4]])
    for hook in hooks:
        hook.remove()
    norm = net[1]
    folded = norm.bias - norm.running_mean * norm.weight / torch.sqrt(norm.running_var + norm.eps)
    found = [batch * at_input]
    found += [g * b[:, None, None] for g, b in zip(at_layers, (folded, net[4].bias), strict=True)]
    total = 0
    for one in found:
        size = one.abs()
        if scaled:
            size = size - size.amin((1, 2, 3), keepdim=True)
            size = size / (size.amax((1, 2, 3), keepdim=True) + 1e-5)
        cells = size.shape[-1]
        wide = torch.nn.functional.interpolate(size.sum(1, keepdim=True), 12, mode="bilinear")[:, 0]
        total = total + (wide if scaled else wide * (cells / 12) ** 2)
    return total.detach().numpy(), [float(one.detach().sum()) for one in found], score.detach().numpy()


@pytest.mark.parametrize("scaled", [False, True])
def test_it_is_the_authors_formula(scaled):
    net = torch_net()
    wanted, sums, score = written_out(net, X, scaled)
    got = xplain.explain(net, X, "full-gradient", target=1, scaled=scaled)
    np.testing.assert_allclose(got.values, wanted, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(got.notes["input"].sum(), sums[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.notes["biases"].sum(), sums[1] + sums[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.notes["without a place"], float(net[8].bias.detach()[1]), rtol=1e-5)
    np.testing.assert_allclose(parts(got), score, rtol=1e-5)
    assert got.notes["layers"] == 2


def bits():
    """Small graphs, each with a way of its own to add something: name to nodes from ``h`` [N, 4, 6, 6] to ``z``."""
    node = helper.make_node
    return {
        "sigmoid and a gate": [node("Sigmoid", ["h"], ["s"]), node("Mul", ["h", "s"], ["z"])],
        "clipped at six": [node("Clip", ["h", "low", "high"], ["z"])],
        "squeezed": [
            node("GlobalAveragePool", ["h"], ["p"]),
            node("Conv", ["p", "w11", "b1"], ["q"]),
            node("HardSigmoid", ["q"], ["s"]),
            node("Mul", ["h", "s"], ["z"]),
        ],
        "a norm that is not folded": [node("Tanh", ["h"], ["t"]), node("BatchNormalization", ["t", *"wbmv"], ["z"])],
        "a quotient": [node("Exp", ["h"], ["e"]), node("Add", ["e", "one"], ["d"]), node("Div", ["h", "d"], ["z"])],
        "attention": [
            node("Reshape", ["h", "rows"], ["r"]),
            node("Transpose", ["r"], ["q"], perm=[0, 2, 1]),
            node("LayerNormalization", ["q", "w", "b"], ["n"], axis=-1),
            node("Transpose", ["n"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["n", "k"], ["a"]),
            node("Softmax", ["a"], ["s"], axis=-1),
            node("MatMul", ["s", "n"], ["o"]),
            node("Add", ["o", "q"], ["y"]),
            node("Transpose", ["y"], ["back"], perm=[0, 2, 1]),
            node("Reshape", ["back", "cells"], ["z"]),
        ],
        "joined with a constant": [
            node("Shape", ["h"], ["shape"]),
            node("Expand", ["one", "shape"], ["plane"]),
            node("Concat", ["h", "plane"], ["c"], axis=2),
            node("Relu", ["c"], ["z"]),
        ],
        "padded by ones": [node("Pad", ["h", "pads", "one"], ["p"]), node("Relu", ["p"], ["z"])],
    }  # fmt: skip


@pytest.mark.parametrize("which", list(bits()))
def test_the_parts_add_up_whatever_adds_a_bias(which):
    nodes = [helper.make_node("Conv", ["x", "first", "b1"], ["h"], strides=[2, 2], pads=[1, 1, 0, 0]), *bits()[which]]
    nodes += [helper.make_node("GlobalAveragePool", ["z"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["f"])]
    nodes += [helper.make_node("Gemm", ["f", "last", "b3"], ["scores"])]
    weights = {
        "first": normal(4, 3, 3, 3), "b1": normal(4), "last": normal(4, 3), "b3": normal(3), "w11": normal(4, 4, 1, 1),
        "w": normal(4), "b": normal(4), "m": normal(4), "v": np.full(4, 0.7, np.float32), "one": np.float32(1.0),
        "low": np.float32(-0.2), "high": np.float32(0.3), "rows": np.array([-1, 4, 36]),
        "cells": np.array([-1, 4, 6, 6]), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }  # fmt: skip
    made = model(nodes, {"x": (FLOAT, ["N", 3, 12, 12])}, {"scores": (FLOAT, ["N", 3])}, weights)
    net = xplain.load(made.SerializeToString())
    a = xplain.explain_many(net, X, "full-gradient", target=2, signed=True)[0]
    np.testing.assert_allclose(a.notes["completeness gap"], 0, atol=2e-5 * max(1, abs(a.scores).max()))
    assert not a.warnings
    places = a.values.reshape(len(X), -1).sum(axis=1) + a.notes["without a place"]
    np.testing.assert_allclose(places, a.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts(a), a.scores, rtol=1e-4, atol=1e-5)


def test_a_bias_is_seen_where_its_unit_is_open():
    """One unit, open on the bright patch alone: what it adds there is its bias, on the cells that it covers."""
    weight = np.full((1, 1, 4, 4), 1 / 16, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], strides=[4, 4]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("ReduceSum", ["r", "axes"], ["scores"], keepdims=0),
        ]  # fmt: skip
    weights = {"w": weight, "b": np.array([-0.5], np.float32), "axes": np.array([2, 3])}
    net = model(nodes, {"x": (FLOAT, ["N", 1, 16, 16])}, {"scores": (FLOAT, ["N", 1])}, weights)
    x = np.zeros((1, 1, 16, 16), np.float32)
    x[0, 0, 8:12, 4:8] = 2.0
    a = xplain.explain(xplain.load(net.SerializeToString()), x, "full-gradient", target=0, signed=True)
    assert a.scores[0] == pytest.approx(1.5)
    assert (a.notes["input"][0], a.notes["biases"][0]) == (pytest.approx(2.0), pytest.approx(-0.5))
    patch = a.values[0, 8:12, 4:8]
    assert patch.max() == a.values.max()
    assert a.values[0, :4].sum() == a.values[0, :, 12:].sum() == 0


def test_one_item_alone_and_among_others_is_the_same():
    net = xplain.load(cnn().SerializeToString())
    x = RNG.normal(size=(5, 3, 16, 16)).astype(np.float32)
    among = xplain.explain(net, x, "full-gradient", target=1)
    alone = xplain.explain(net, x[3:4], "full-gradient", target=1)
    assert (among.values[3] == alone.values[0]).all()


def test_sizes_between_0_and_1_have_no_sign():
    net = xplain.load(cnn().SerializeToString())
    x = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(UsageError, match="do not scale"):
        xplain.explain(net, x, "full-gradient", signed=True, scaled=True)
    assert xplain.explain(net, x, "full-gradient", scaled=True).values.min() >= 0


def test_what_rounding_adds_is_a_part_too():
    """Integers stand for real numbers: what a quantiser rounds away or clips is the bias of its straight line."""
    x = RNG.normal(size=(2, 1, 8, 8)).astype(np.float32)
    a = xplain.explain_many(xplain.load(quantised(False).SerializeToString()), x, "full-gradient", target=1)[0]
    assert not a.warnings
    assert np.abs(a.notes["biases"]).max() > 0.01, "the first quantiser clips at two"
    np.testing.assert_allclose(parts(a), a.scores, atol=0.06)  # scores are read before they are rounded
