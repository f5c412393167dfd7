"""A target means one number, whoever reads it: numpy, torch, a sweep's seed, a compiled file.

The net is linear, so that the gradient which a sweep or a compiled file gives is the target itself: between any two
items, f(x) - f(y) = <gradient, x - y>. Each target is drawn at random, and written out once more as einsum by hand.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from nets import FLOAT, model
from onnx import helper

import xplain
from xplain.core.arrays import namespace
from xplain.core.edits import Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Score, Sweep
from xplain.core.rules import Rules
from xplain.core.target import Leaf, Target, channel, inner, label, neuron
from xplain.core.targets.leaves import KINDS, REDUCTIONS, LeafKind, Reduction

ITEM, HIDDEN, CLASSES, ITEMS = (2, 4, 5), (3, 4, 5), 6, 3
RNG = np.random.default_rng(3)
CONV = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
HEAD = RNG.normal(size=(60, CLASSES)).astype(np.float32)
X = RNG.normal(size=(ITEMS, *ITEM)).astype(np.float32)
Y = RNG.normal(size=(ITEMS, *ITEM)).astype(np.float32)


def net():
    nodes = [
        helper.make_node("Conv", ["x", "conv"], ["h"], pads=[1] * 4),
        helper.make_node("Flatten", ["h"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["scores"]),
    ]
    return model(nodes, {"x": (FLOAT, ["N", *ITEM])}, {"scores": (FLOAT, ["N", CLASSES])}, {"conv": CONV, "head": HEAD})


def module():
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.h = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False)
            self.head = torch.nn.Linear(60, CLASSES, bias=False)

        def forward(self, x):
            return self.head(self.h(x).flatten(1))

    made = Net().eval()
    made.h.weight.data = torch.from_numpy(CONV)
    made.head.weight.data = torch.from_numpy(HEAD.T.copy())
    return made


def by_hand(target, hidden, scores):
    """[N], each leaf written out from its words alone."""
    total = np.zeros(len(scores))
    for weight, leaf in target.terms:
        for n in range(len(scores)):
            place = leaf.index[n if leaf.per_item else 0] if leaf.index else ()
            if leaf.kind == "label":
                total[n] += weight * scores[n, place[0]]
            elif leaf.kind == "channel":
                total[n] += weight * np.einsum("yx->", hidden[n, place[0]]) / 20
            elif leaf.kind == "neuron":
                total[n] += weight * hidden[n, place[0], place[1], place[2]]
            else:
                own = leaf.factors[n] if leaf.per_item else leaf.factors
                total[n] += weight * np.einsum("cyx,cyx->", hidden[n], own)
    return total


def drawn(rng, per_item):
    """A target of one to four leaves of any kind; negative places count from the end."""

    def leaf():
        kind = rng.integers(6 if per_item else 4)
        c, y, x = (int(rng.integers(-n, n)) for n in HIDDEN)
        match kind:
            case 0:
                return label(int(rng.integers(-CLASSES, CLASSES)))
            case 1:
                return channel("h", c)
            case 2:
                return neuron("h", c, y, x)
            case 3:
                return inner("h", rng.normal(size=HIDDEN).astype(np.float32))
            case 4:
                return label(rng.integers(-CLASSES, CLASSES, ITEMS).tolist())
        return inner("h", rng.normal(size=(ITEMS, *HIDDEN)).astype(np.float32), per_item=True)

    total = leaf()
    for _ in range(rng.integers(4)):
        total = total + float(rng.choice([-2.0, -1.0, 0.5, 1.0])) * leaf()
    return total


def gradient_says(gradient):
    """What f(x) - f(y) is by a gradient ``[N, *item]``."""
    return np.einsum("ncyx,ncyx->n", gradient.astype(np.float64), X.astype(np.float64) - Y)


def expected(target):
    found = []
    for x in (X, Y):
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        hidden = np.einsum("ncyxij,kcij->nkyx", windows, CONV.astype(np.float64))
        found.append(by_hand(target, hidden, hidden.reshape(len(x), -1) @ HEAD))
    return found[0] - found[1]


def score_says(asked, target):
    return (asked.answer(Score(X, Untouched(), target)) - asked.answer(Score(Y, Untouched(), target)))[:, 0]


@pytest.mark.parametrize("seed", range(12))
def test_a_target_is_the_same_number_in_numpy_torch_and_sweeps(seed):
    target = drawn(np.random.default_rng(seed), per_item=True)
    goal = expected(target)
    told = Target.of(target.data())
    assert told == target
    assert told.name == target.name
    for asked in (xplain.load(net()), xplain.load(module())):
        for wanted in (target, told):
            np.testing.assert_allclose(score_says(asked, wanted), goal, rtol=1e-4, atol=1e-4)
            swept = asked.answer(Sweep(X[:, None], wanted, Rules()))["input"][1]
            np.testing.assert_allclose(gradient_says(swept), goal, rtol=1e-4, atol=1e-4)
    for n in range(ITEMS):
        alone = np.arange(n, n + 1)
        rows = {name: np.zeros((1, *(HIDDEN if name else (CLASSES,)))) + n for name in target.tensors}
        assert target.of_item(n).read(rows, np.zeros(1, np.int64)) == pytest.approx(target.read(rows, alone))


@pytest.mark.parametrize("seed", range(4))
def test_a_target_is_the_same_number_in_a_compiled_file(seed):
    target = drawn(np.random.default_rng(100 + seed), per_item=False)
    compiled = xplain.compile(net(), "saliency", target=target, channels=True)
    session = onnxruntime.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["attribution"], {"x": X})
    np.testing.assert_allclose(gradient_says(found), expected(target), rtol=1e-4, atol=1e-4)


def test_the_last_class_is_not_the_predicted_one_in_a_compiled_file():
    """-1 stands for the predicted class inside, and for the last one where a person counts from the end."""
    for target in (label(-1), -1):
        compiled = xplain.compile(net(), "saliency", target=target, channels=True, target_input="none")
        session = onnxruntime.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
        (found,) = session.run(["attribution"], {"x": X})
        np.testing.assert_allclose(gradient_says(found), expected(label(CLASSES - 1)), rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="A class per item cannot be compiled"):
        xplain.compile(net(), "saliency", target=label([2]))


def test_a_new_reduction_is_one_entry(monkeypatch):
    """The log of a sum of exponentials over a channel's positions, and nothing else changed."""

    def value(elements):
        xp = namespace(elements)
        return xp.log(xp.sum(xp.exp(elements), axis=1))

    def slope(values, axes, _count):
        xp = namespace(values)
        powers = xp.exp(values)
        return powers / xp.sum(powers, axis=axes, keepdims=True)

    monkeypatch.setitem(REDUCTIONS, "logsumexp", Reduction(value, slope))
    monkeypatch.setitem(KINDS, "soft-channel", LeafKind("channel", 1, "logsumexp"))
    target = Target(((1.0, Leaf("soft-channel", "h", ((1,),))),))
    onnx, torch = xplain.load(net()), xplain.load(module())
    small = np.float32(1e-2) * RNG.normal(size=X.shape).astype(np.float32)
    moved = onnx.answer(Score(X + small, Untouched(), target)) - onnx.answer(Score(X - small, Untouched(), target))
    by_onnx, by_torch = (one.answer(Sweep(X[:, None], target, Rules()))["input"][1] for one in (onnx, torch))
    np.testing.assert_allclose(by_onnx, by_torch, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(2 * np.einsum("ncyx,ncyx->n", by_onnx, small), moved[:, 0], rtol=2e-2, atol=1e-4)
