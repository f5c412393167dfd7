"""Feedback: gates in the forward pass, by both doors, against a slow definition, and planted objects."""

from __future__ import annotations

import nets
import numpy as np
import pytest
import torch
from onnx import helper
from torch.nn import functional

import xplain
from xplain.core.errors import UsageError
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.explainers.gradient.feedback import shut

SIDE = 16


def correlated(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``[I, H, W]`` with kernels ``[O, I, 3, 3]``, zeros beyond the border."""
    high, wide = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(w), high, wide))
    for dy in range(3):
        for dx in range(3):
            out += np.tensordot(w[:, :, dy, dx], padded[:, dy : dy + high, dx : dx + wide], axes=1)
    return out


def turned_back(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The transpose of ``correlated``."""
    return correlated(g, np.flip(w, (2, 3)).transpose(1, 0, 2, 3))


def thought_twice(
    x: np.ndarray, w1: np.ndarray, w2: np.ndarray, v: np.ndarray, rounds: int
) -> tuple[np.ndarray, float]:
    """The gradient by ``x`` of ``v . mean(z2 relu(w2 * (z1 relu(w1 * x))))``, and that score, with settled gates."""
    z1, z2 = np.ones((len(w1), *x.shape[1:])), np.ones((len(w2), *x.shape[1:]))
    for k in range(rounds + 1):
        u1 = correlated(x, w1)
        a1 = np.maximum(u1, 0)
        u2 = correlated(z1 * a1, w2)
        a2 = np.maximum(u2, 0)
        score = float(v @ (z2 * a2).mean(axis=(1, 2)))
        g2 = np.broadcast_to(v[:, None, None] / x[0].size, a2.shape)
        g1 = turned_back(g2 * z2 * (u2 > 0), w2)
        gradient = turned_back(g1 * z1 * (u1 > 0), w1)
        idle1, idle2 = (a1 * g1 <= 0) & (z1 > 0), (a2 * g2 <= 0) & (z2 > 0)
        if k == rounds or not (idle1.any() or idle2.any()):
            return gradient, score
        z1, z2 = np.where(idle1, 0, z1), np.where(idle2, 0, z2)
    raise AssertionError


def two_layers(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    w1, w2 = rng.normal(size=(5, 2, 3, 3)), rng.normal(size=(6, 5, 3, 3))
    return w1, w2, rng.normal(size=(3, 6))


class Net(torch.nn.Module):
    """Two convolutions, each with a rectifier, of another kind: a module, a function, in place or not."""

    def __init__(self, w1, w2, v, kind):
        super().__init__()
        self.w1, self.w2, self.v = (torch.nn.Parameter(torch.tensor(one, dtype=torch.float32)) for one in (w1, w2, v))
        self.kind, self.first = kind, torch.nn.ReLU(inplace=kind == "in place")

    def rectified(self, x):
        if self.kind == "function":
            return functional.relu(x)
        return x.clamp(min=0) if self.kind == "clamp" else torch.relu_(x)

    def forward(self, x):
        x = self.first(functional.conv2d(x, self.w1, padding=1))
        x = self.rectified(functional.conv2d(x, self.w2, padding=1))
        return x.mean((2, 3)) @ self.v.T


def file(w1, w2, v, pooled=False):
    """The same as ONNX, with a pooling behind the first rectifier where asked."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["u1"], pads=[1] * 4),
        helper.make_node("Relu", ["u1"], ["a1"]),
        *([helper.make_node("MaxPool", ["a1"], ["p1"], kernel_shape=[2, 2], strides=[1, 1])] if pooled else []),
        helper.make_node("Conv", ["p1" if pooled else "a1", "w2"], ["u2"], pads=[1] * 4),
        helper.make_node("Relu", ["u2"], ["a2"]),
        helper.make_node("GlobalAveragePool", ["a2"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["scores"], transB=1),
    ]
    weights = {"w1": w1, "w2": w2, "v": v}
    return nets.model(
        nodes,
        {"x": (nets.FLOAT, ["N", w1.shape[1], SIDE, SIDE])},
        {"scores": (nets.FLOAT, ["N", len(v)])},
        {name: one.astype(np.float32) for name, one in weights.items()},
    )


@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_both_doors_are_the_definition(rounds):
    w1, w2, v = two_layers(0)
    x = np.random.default_rng(1).normal(size=(3, 2, SIDE, SIDE)).astype(np.float32)
    slow = [thought_twice(one.astype(np.float64), w1, w2, v[n], rounds) for n, one in enumerate(x)]
    for model in (file(w1, w2, v), Net(w1, w2, v, "function").eval()):
        found = xplain.explain(model, x, "feedback", target=[0, 1, 2], rounds=rounds, channels=True)
        np.testing.assert_allclose(found.values, [one for one, _ in slow], rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(found.each["through the gates"], [score for _, score in slow], rtol=1e-4, atol=1e-6)
        assert (np.asarray(found.each["through the gates"]) > np.asarray(found.each["score"])).all()
        assert found.notes["gated layers"] == 2
        assert 0 < np.asarray(found.each["shut"]).min() < np.asarray(found.each["shut"]).max() < 1


@pytest.mark.parametrize("kind", ["function", "clamp", "in place"])
def test_gates_stand_behind_whatever_rectifies_and_open_ones_change_nothing(kind):
    w1, w2, v = two_layers(2)
    x = np.random.default_rng(3).normal(size=(2, 1, 2, SIDE, SIDE)).astype(np.float32)
    target, rng = xplain.label(1), np.random.default_rng(4)
    by_file, by_module = xplain.load(file(w1, w2, v)), xplain.load(Net(w1, w2, v, kind).eval())
    plain = by_file.answer(Sweep(x, target, Rules()))
    assert not plain.gates
    gates = [np.asarray(rng.integers(0, 2, (2, n, SIDE, SIDE)), np.float32) for n in (5, 6)]
    half = []
    for model in (by_file, by_module):
        opened = model.answer(Sweep(x, target, Rules(), gates={}))
        np.testing.assert_allclose(opened["input"][1], plain["input"][1], rtol=1e-5, atol=1e-7)
        names = sorted(opened.gates, key=lambda name: opened.gates[name].shape[1])
        shut_some = model.answer(Sweep(x, target, Rules(), gates=dict(zip(names, gates, strict=True))))
        half.append((shut_some["input"][1], *(shut_some.gates[name] for name in names)))
        # the rises of the last layer's gates add up to what the score is made of
        last = opened.gates[names[1]].reshape(2, -1).sum(axis=1)
        np.testing.assert_allclose(last, opened.target, rtol=1e-4, atol=1e-6)
    for one, other in zip(*half, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_gate_stands_in_front_of_the_pooling_behind_its_rectifier():
    """Elsewhere the maximum is taken before the rectifier; here units would be lost that gates are for."""
    w1, w2, v = two_layers(5)
    x = np.random.default_rng(6).normal(size=(1, 1, 2, SIDE, SIDE)).astype(np.float32)
    found = xplain.load(file(w1, w2, v, pooled=True)).answer(Sweep(x, xplain.label(0), Rules(), gates={}))
    assert {name: one.shape for name, one in found.gates.items()} == {
        "a1": (1, 5, SIDE, SIDE),
        "a2": (1, 6, SIDE - 1, SIDE - 1),
    }


def planted() -> tuple[np.ndarray, ...]:
    """Class 0 is for what is in the first channel and against what is in the second, class 1 the other way round."""
    w1, w2 = np.zeros((2, 2, 3, 3)), np.zeros((2, 2, 3, 3))
    w1[[0, 1], [0, 1]] = 1 / 9
    w2[[0, 1], [0, 1], 1, 1] = 1.0
    return w1, w2, np.array([[1.0, -1.0], [-1.0, 1.0]])


@pytest.mark.parametrize("wanted", [0, 1])
def test_the_map_of_a_class_lies_on_its_own_object_and_on_no_other(wanted):
    picture = np.zeros((1, 2, SIDE, SIDE), np.float32)
    picture[0, 0, 2:6, 2:6] = 1
    picture[0, 1, 10:14, 9:13] = 1
    seen = [correlated(one[None], np.ones((1, 1, 3, 3)))[0] > 0 for one in picture[0]]
    around = [correlated(one[None].astype(float), np.ones((1, 1, 3, 3)))[0] > 0 for one in seen]
    model = xplain.load(file(*planted()))
    plain = xplain.explain(model, picture, "saliency", target=wanted).values[0]
    found = xplain.explain(model, picture, "feedback", target=wanted)
    assert np.array_equal(plain > 0, around[0] | around[1])
    assert np.array_equal(found.values[0] > 0, around[wanted])
    np.testing.assert_array_equal(found.values[0][around[wanted]], plain[around[wanted]])
    assert found.each["score"][0] == pytest.approx(0, abs=1e-7)
    assert found.each["through the gates"][0] == pytest.approx(16 / SIDE**2)
    assert found.each["shut"][0] == pytest.approx(0.5)
    assert found.each["rounds"][0] == 1
    assert not found.warnings


def test_gates_shut_by_what_they_cost_and_stay_open_for_what_rises_alone():
    rises = np.array([[4.0, -1.0, 0.0, 2.0, 0.6]], np.float32)
    before = np.array([[1.0, 1.0, 1.0, 0.0, 1.0]], np.float32)
    assert shut(before, rises).tolist() == [[1, 0, 0, 0, 1]]
    assert shut(before, rises, penalty=0.5).tolist() == [[1, 0, 0, 0, 0]]  # half of the mean of 4, 2 and 0.6


def test_a_unit_that_was_silent_does_not_wake_up_as_its_opponents_fall_silent():
    """The first unit argues against the class and holds the second down, which would speak for it; so does the third.

    With ``h = relu(x)`` the score is the mean of ``relu(h2 - 4/3 h1) + h3 - h1``.
    """
    w1, w2 = np.zeros((3, 3, 3, 3)), np.zeros((3, 3, 3, 3))
    w1[[0, 1, 2], [0, 1, 2], 1, 1] = 1.0
    w2[0, [0, 1], 1, 1], w2[1, 2, 1, 1], w2[2, 0, 1, 1] = [-4 / 3, 1.0], 1.0, 1.0
    model = xplain.load(file(w1, w2, np.array([[1.0, 1.0, -1.0]])))
    picture = np.ones((1, 3, SIDE, SIDE), np.float32)
    found = xplain.explain(model, picture, "feedback", target=0, channels=True)
    gradient = found.values[0] * SIDE**2
    np.testing.assert_allclose(gradient[2], 1.0, rtol=1e-5)
    assert not gradient[:2].any()
    assert found.each["score"][0] == pytest.approx(0, abs=1e-6)
    assert found.each["through the gates"][0] == pytest.approx(1)


def test_a_net_without_rectifiers_says_so():
    found = xplain.explain(torch.nn.Linear(4, 2), np.ones((1, 4), np.float32), "feedback", target=0)
    assert "plain gradient" in str(found.warnings[0])


def test_the_recipes_picture_is_the_methods_gradient_by_colours_with_a_film_of_every_look():
    """BGR and a card's own scale, so that slopes by colours are not those by the input."""
    w1, w2, v = two_layers(7)
    w1 = np.concatenate([w1, w1[:, :1]], axis=1)
    card = {"mode": "BGR", "crop": [SIDE, SIDE], "scale": 0.5, "mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 4.0]}
    model = xplain.load(file(w1, w2, v), card=card)
    pictures = [np.random.default_rng(k).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for k in (8, 9)]
    made = xplain.make(model, "feedback", pictures, target=[0, 2], rounds=3, clip=1.0)
    found = xplain.explain(model, pictures, "feedback", target=[0, 2], rounds=3, channels=True)
    slopes = (found.values / np.reshape([1.0, 2.0, 4.0], (1, 3, 1, 1)))[:, ::-1]
    largest = np.abs(slopes).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(made.picture, 0.5 + 0.5 * slopes / largest, atol=1e-5)
    for name in ("score", "through the gates", "shut"):
        np.testing.assert_allclose(made.each[name], found.each[name], rtol=1e-5, atol=1e-6)
    assert made.frames.shape[1] == 1 + max(made.each["rounds"])
    assert np.array_equal(made.frames[:, -1], made.pixels)
    np.testing.assert_allclose(made.trace[:, 0], made.each["score"], rtol=1e-6)
    assert made.judges == ()
    assert np.isnan(made.value).all()
    with pytest.raises(UsageError, match="no picture for a model"):
        xplain.make(model, "feedback", pictures, target=0, judge=model)
    early = xplain.make(model, "feedback", pictures[:1], target=0, rounds=3, max_queries=2)
    assert any("looking ended after 2 looks" in said for said in early.said)
    assert early.frames.shape[1] == 2
