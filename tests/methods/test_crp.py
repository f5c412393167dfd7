"""Concept relevance propagation: by a formula written out, and by what all channels add up to."""

from __future__ import annotations

import numpy as np
import pytest
from nets import FLOAT, cnn, model
from onnx import helper

import xplain
from xplain.core.errors import UnknownName, UsageError

RNG = np.random.default_rng(8)
X = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)


def test_the_channels_add_up_to_the_whole_map():
    net = xplain.load(cnn().SerializeToString())
    whole = xplain.explain(net, X, "lrp", target=1, rule="epsilon")
    parts = [xplain.explain(net, X, "crp", target=1, rule="epsilon", layer="relu1", concepts=c) for c in range(8)]
    np.testing.assert_allclose(sum(a.values for a in parts), whole.values, atol=1e-4 * np.abs(whole.values).max())
    several = xplain.explain(net, X, "crp", target=1, rule="epsilon", layer="relu1", concepts="0,3,0")
    scale = 1e-4 * np.abs(whole.values).max()
    np.testing.assert_allclose(several.values, parts[0].values + parts[3].values, atol=scale)
    assert several.each["concepts"] == [(0, 3)] * 2
    total = sum(np.array(a.each["relevance of concepts"])[:, 0] for a in parts)
    np.testing.assert_allclose(total, several.each["relevance of the layer"], rtol=1e-4, atol=1e-6)


def test_it_is_the_formula_with_the_other_channels_masked():
    """Dense layers, epsilon rule, in numpy: down to the hidden units, all but two set to zero, and on."""
    first, second = (RNG.normal(size=shape).astype(np.float32) for shape in ((12, 6), (6, 3)))
    bias = RNG.normal(size=6).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "first", "bias"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("MatMul", ["h", "second"], ["scores"]),
    ]
    weights = {"first": first, "second": second, "bias": bias}
    made = model(nodes, {"x": (FLOAT, ["N", 12])}, {"scores": (FLOAT, ["N", 3])}, weights)
    x = RNG.normal(size=(4, 12)).astype(np.float32)

    def stable(z):
        return z + 1e-6 * np.where(z >= 0, 1, -1)

    z = x.astype(float) @ first + bias
    h = np.maximum(z, 0)
    out = h @ second
    down = h * (second[:, 2] * (out[:, 2] / stable(out[:, 2]))[:, None])
    masked = down * np.isin(np.arange(6), [1, 4])
    wanted = x * ((masked / stable(z)) @ first.T)
    net = xplain.load(made.SerializeToString(), layout="NS")
    a = xplain.explain(net, x, "crp", target=2, rule="epsilon", layer="h", concepts=[1, 4])
    np.testing.assert_allclose(a.values, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(a.each["relevance of concepts"], down[:, [1, 4]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a.each["relevance"], wanted.sum(axis=1), rtol=1e-3, atol=1e-4)


def test_two_channels_that_look_at_two_patches_have_two_maps():
    kernels = np.zeros((2, 1, 8, 8), np.float32)
    kernels[0, 0, :4, :4], kernels[1, 0, 4:, 4:] = 1.0, 1.0
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], strides=[8, 8]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["scores"]),
    ]
    weights = {"w": kernels, "head": np.array([[1, 0], [2, 1]], np.float32)}
    made = model(nodes, {"x": (FLOAT, ["N", 1, 16, 16])}, {"scores": (FLOAT, ["N", 2])}, weights)
    net, x = xplain.load(made.SerializeToString()), np.ones((1, 1, 16, 16), np.float32)
    for channel, corner in ((0, np.s_[:4, :4]), (1, np.s_[4:8, 4:8])):
        a = xplain.explain(net, x, "crp", target=0, rule="epsilon", layer="r", concepts=channel)
        inside = a.values[0][:8, :8][corner]
        assert (inside > 0).all()
        assert a.values[0][:8, :8].sum() == pytest.approx(inside.sum())
    best = xplain.explain(net, x, "crp", target=0, rule="epsilon", layer="r")
    assert best.each["concepts"] == [(1,)], "its weight is twice the other's"


def test_torch_modules_have_concepts_too():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 2)
    ).eval()
    whole = xplain.explain(net, X, "lrp", target=0, rule="epsilon")
    parts = [xplain.explain(net, X, "crp", target=0, rule="epsilon", layer="1", concepts=c) for c in range(4)]
    np.testing.assert_allclose(sum(a.values for a in parts), whole.values, atol=1e-4 * np.abs(whole.values).max())


def test_a_channel_or_a_layer_that_is_not_there_is_refused():
    net = xplain.load(cnn().SerializeToString())
    with pytest.raises(UsageError, match="channels of 'relu1', 0 to 7"):
        xplain.explain(net, X, "crp", layer="relu1", concepts=8)
    with pytest.raises(UnknownName):
        xplain.explain(net, X, "crp", layer="relu9")


def test_a_map_per_class_is_no_layer_of_concepts():
    """Of a net that ends in a map per class the layer before is taken: that map's one relevant channel is the class."""
    weights = {
        "w": RNG.normal(size=(6, 3, 3, 3)).astype(np.float32), "c": RNG.normal(size=(4, 6, 1, 1)).astype(np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["seen"]),
        helper.make_node("Conv", ["seen", "c"], ["classes"]),
        helper.make_node("GlobalAveragePool", ["classes"], ["p"]),
        helper.make_node("Flatten", ["p"], ["scores"]),
    ]
    made = model(nodes, {"x": (FLOAT, ["N", 3, 16, 16])}, {"scores": (FLOAT, ["N", 4])}, weights)
    a = xplain.explain(xplain.load(made.SerializeToString()), X, "crp", target=1, rule="epsilon", most=6)
    assert a.facts["layer"] == "seen"
    assert sorted(a.each["concepts"][0]) == list(range(6))
    one = xplain.explain(xplain.load(made.SerializeToString()), X, "crp", target=1, rule="epsilon", concepts="2,5")
    assert one.unit.endswith("through channels 2, 5")


def test_relevance_that_does_not_arrive_is_told():
    """A bias a thousand times as large as what the input adds takes nearly all of it."""
    weights = {
        "first": RNG.normal(size=(12, 6)).astype(np.float32), "second": np.ones((6, 3), np.float32),
        "bias": np.full(6, 3000, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "first", "bias"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("MatMul", ["h", "second"], ["scores"]),
    ]
    made = model(nodes, {"x": (FLOAT, ["N", 12])}, {"scores": (FLOAT, ["N", 3])}, weights)
    net = xplain.load(made.SerializeToString(), layout="NS")
    x = np.abs(RNG.normal(size=(2, 12))).astype(np.float32)
    a = xplain.explain(net, x, "crp", target=0, rule="epsilon", layer="h", concepts=1)
    assert any("of these channels" in text for text in a.said), a.said
