"""Peeks and sweeps of ONNX models: values of inner tensors, cotangents against finite differences and torch."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xplain
from xplain.core.edits import Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Peek, Score, Sweep
from xplain.core.rules import Rules
from xplain.core.target import channel, inner, label, neuron
from xplain.models.onnx import session_cache as shelf
from xplain.rules.guided import GUIDED

FORMS = {
    "free batch": nets.cnn,
    "edited batch": nets.fixed_batch,
    "fixed batch of 4": lambda: nets.fixed_batch(4, frozen=True),
    "NHWC": nets.channels_last,
    "4-D scores": nets.four_dimensional,
}
TARGETS = {
    "a class per item": label([0, 3, 1]),
    "a difference": label(1) - 2.0 * label(4),
    "a channel": channel("conv2", 3),
    "a unit": neuron("conv2", 2, 3, 3),
    "an inner product": inner("conv2", np.random.default_rng(5).random((12, 8, 8)).astype(np.float32)),
    "one per item": inner("pool1", np.random.default_rng(6).random((3, 8, 8, 8)).astype(np.float32), per_item=True),
}


def items(model, count=3):
    return np.random.default_rng(0).random((count, *model.outline.inputs[0].shape[1:])).astype(np.float32)


def written_in_torch(x):
    """The net of ``nets.cnn`` in float64: every tensor by its name, with its history."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = {name: torch.from_numpy(array.astype(np.float64)) for name, array in nets.cnn_weights(3, 5).items()}
    found = {"picture": torch.from_numpy(x.astype(np.float64)).requires_grad_()}
    found["conv1"] = F.conv2d(found["picture"], w["w1"], w["b1"], padding=1)
    found["pool1"] = F.max_pool2d(found["conv1"].relu(), 2)
    found["conv2"] = F.conv2d(found["pool1"], w["w2"], w["b2"], padding=1)
    found["relu2"] = found["conv2"].relu()
    found["scores"] = found["relu2"].mean((2, 3)) @ w["w3"] + w["b3"]
    return found


def in_torch(target, found):
    """A target summed over rows, written out once more."""
    torch = pytest.importorskip("torch")
    total = 0
    for weight, leaf in target.terms:
        tensor, places = found[leaf.tensor or "scores"], np.array(leaf.index)
        rows = np.arange(len(tensor))
        match leaf.kind:
            case "label":
                total += weight * tensor[rows, places[:, 0]].sum()
            case "channel":
                total += weight * tensor[:, places[0, 0]].mean((1, 2)).sum()
            case "neuron":
                total += weight * tensor[(rows, *places[0])].sum()
            case "inner":
                total += weight * (tensor * torch.from_numpy(leaf.factors)).sum()
    return total


@pytest.mark.parametrize("form", FORMS)
def test_peek_values_lead_to_the_scores(form):
    model = xplain.load(FORMS[form]())
    x = items(model, 5)
    found = model.answer(Peek(x, ("input", "conv1", "relu1", "logits")))
    assert np.array_equal(found["input"], x)
    assert found["conv1"].shape == (5, 8, 16, 16)
    assert np.array_equal(found["relu1"], np.maximum(found["conv1"], 0))
    scores = np.stack([model.answer(Score(x, Untouched(), label(k)))[:, 0] for k in range(5)], axis=1)
    assert np.array_equal(found["logits"].reshape(5, 5), scores)


def test_peek_of_half_precision_is_float32():
    model = xplain.load(nets.half())
    assert model.answer(Peek(items(model), ("conv1",)))["conv1"].dtype == np.float32


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_sweeps_are_the_gradients_of_torch(form, target):
    model, wanted = xplain.load(FORMS[form]()), TARGETS[target]
    x = items(model)
    last = form == "NHWC"
    answer = model.answer(Sweep(x[:, None], wanted, Rules()))["input"]
    assert np.array_equal(answer[0], x)
    found = written_in_torch(x.transpose(0, 3, 1, 2) if last else x)
    in_torch(wanted, found).backward()
    expected = found["picture"].grad.numpy()
    got = answer[1].transpose(0, 3, 1, 2) if last else answer[1]
    assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()


def test_taps_inside_and_the_number_of_sessions(monkeypatch):
    model = xplain.load(nets.cnn())
    made = []
    original = shelf.Session
    monkeypatch.setattr(shelf, "Session", lambda *args, **rest: made.append(1) or original(*args, **rest))
    x = items(model)
    for k in range(3):
        found = model.answer(Sweep(x[:, None], label(k), Rules(), ("input", "relu1", "conv2")))
    assert len(made) == 1
    assert found["relu1"][0].shape == found["relu1"][1].shape == (3, 8, 16, 16)
    model.answer(Sweep(x[:, None], label(0), GUIDED))
    assert len(made) == 2


def test_the_rows_of_a_batch_do_not_see_each_other():
    model = xplain.load(nets.cnn())
    x = items(model)
    whole = model.answer(Sweep(x[:, None], label([0, 3, 1]), Rules()))["input"][1]
    for n, k in enumerate((0, 3, 1)):
        alone = model.answer(Sweep(x[n : n + 1, None], label(k), Rules()))["input"][1]
        assert np.allclose(alone[0], whole[n], rtol=0, atol=1e-6 * np.abs(whole).max())


def test_several_inputs_sweep_the_explained_one():
    model = xplain.load(nets.two_inputs(), fixed={"picture": np.ones((1, 4, 4))})
    found = model.answer(Sweep(np.ones((2, 1, 2), np.float32), label(1), Rules()))["input"]
    assert np.array_equal(found[1], [[0, 10], [0, 10]])


def test_points_are_the_engines_work():
    model = xplain.load(nets.cnn())
    with pytest.raises(UsageError, match="A model sweeps one point per item"):
        model.answer(Sweep(np.zeros((1, 2, 3, 16, 16), np.float32), label(0), Rules()))


def test_the_planted_cause_is_the_gradient():
    model = xplain.load(nets.planted(size=32, cell=(2, 1)))
    gradient = model.answer(Sweep(np.ones((1, 1, 3, 32, 32), np.float32), label(1), Rules()))["input"][1]
    expected = np.zeros((1, 3, 32, 32))
    expected[:, :, 16:24, 8:16] = -1
    assert np.array_equal(gradient, expected)
