"""What a fold keeps of a layer: equal to sorting everything, in files, modules and 8-bit files, for any chunking."""

from __future__ import annotations

from dataclasses import dataclass

import integer_nets
import nets
import numpy as np
import pytest

import xplain
from xplain.core.abilities import abilities_of
from xplain.core.blank import zero_answer
from xplain.core.caveat import Caveat
from xplain.core.lenses.fold import Max, Mean, Top, TopK, folded, joined
from xplain.core.query import Peek
from xplain.core.target import SCORES
from xplain.engine import Settings, drive

X = np.random.default_rng(0).random((7, 3, 16, 16)).astype(np.float32)


def slowly(values, count, channel=1):
    """Values and places of each channel by sorting every position with Python."""
    flat = np.moveaxis(values, channel, 1).reshape(len(values), values.shape[channel], -1)
    order = [[sorted(range(len(c)), key=lambda k, c=c: (-c[k], k))[:count] for c in item] for item in flat]
    return np.take_along_axis(flat, np.array(order), axis=2), np.array(order)


def module():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 5),
    )
    return net.eval()


DOORS = {
    "file": (nets.cnn, "conv1"),
    "behind a rectifier, where many are equal": (nets.cnn, "relu1"),
    "batch of 4": (lambda: nets.fixed_batch(4, frozen=True), "conv1"),
    "channels last": (nets.channels_last, "conv1"),
    "half precision": (nets.half, "conv1"),
    "torch": (module, "0"),
    "torch, many equal": (module, "1"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("count", [1, 5])
def test_the_largest_of_a_layer_are_those_of_a_full_sort(door, count):
    make, layer = DOORS[door]
    model = xplain.load(make())
    x = np.ascontiguousarray(X.transpose(0, 2, 3, 1)) if door == "channels last" else X
    whole = model.answer(Peek(x, (layer,)))[layer]
    channel = 3 if door == "channels last" and whole.shape[3] == 8 else 1
    top = model.answer(Peek(x, (layer,), TopK(count, channel)))[layer]
    values, places = slowly(whole, count, channel)
    half = door == "half precision"  # a graph that folds does not round the layer to half precision before
    assert half or np.array_equal(top.places, places)
    np.testing.assert_allclose(top.values, values, rtol=1e-3 if half else 1e-6)
    for fold, kept in ((Mean(channel), np.mean), (Max(channel), np.max)):
        found = model.answer(Peek(x, (layer,), fold))[layer]
        axes = tuple(k for k in (1, 2, 3) if k != channel)
        np.testing.assert_allclose(found, kept(whole, axis=axes), rtol=1e-3 if half else 2e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_integers_that_stand_for_real_numbers_are_folded_as_real_numbers(form, tmp_path):
    x = integer_nets.items()
    model = xplain.load(integer_nets.integers(integer_nets.trunk("residual"), form, tmp_path, x))
    layer = next(one.name for one in model.outline.layers if one.does in ("Conv", "DequantizeLinear"))
    whole = model.answer(Peek(x, (layer,)))[layer]
    top = model.answer(Peek(x, (layer,), TopK(3)))[layer]
    values, places = slowly(whole, 3)
    assert np.array_equal(top.places, places)
    np.testing.assert_allclose(top.values, values, rtol=1e-6)


@pytest.mark.parametrize("make", [nets.cnn, module], ids=["file", "torch"])
def test_scores_and_the_items_themselves_fold_too(make):
    model = xplain.load(make())
    found = model.answer(Peek(X, (SCORES, "input"), TopK(2)))
    np.testing.assert_allclose(found[SCORES].values[..., 0], xplain.predict(model, X), rtol=1e-4, atol=1e-6)
    values, places = slowly(X, 2)
    assert np.array_equal(found["input"].values, values)
    assert np.array_equal(found["input"].places, places)


@dataclass(frozen=True)
class Kept:
    """What the flow below returns: no attribution, and no array."""

    top: Top
    warnings: tuple[Caveat, ...] = ()


def asking(x, fold):
    return Kept((yield Peek(x, ("conv1",), fold))["conv1"])


def test_a_flow_may_return_any_frozen_kind_and_copies_that_fill_a_batch_are_in_no_fold():
    model = xplain.load(nets.cnn())
    (alone,), _ = drive([asking(X[:1], TopK(3))], model)
    (every,), cost = drive([asking(X, TopK(3))], model, Settings(batch_size=3))
    assert isinstance(every, Kept)
    assert cost.queries == 7
    assert every.top.values.shape == (7, 8, 3)
    assert np.array_equal(every.top.places[:1], alone.top.places)
    parts = [drive([asking(X[k : k + 2], TopK(3))], model, Settings(batch_size=3))[0][0].top for k in range(0, 7, 2)]
    assert np.array_equal(joined(parts).values, every.top.values)


def test_a_fold_that_is_only_planned_has_the_shape_of_the_answer():
    model = xplain.load(nets.cnn())
    for fold in (TopK(3), Mean(), Max()):
        asked = Peek(X, ("conv1",), fold)
        zero, found = zero_answer(asked, model.outline)["conv1"], model.answer(asked)["conv1"]
        shape = (lambda one: one.values.shape) if isinstance(found, Top) else np.shape
        assert shape(zero) == shape(found)


def test_without_channels_everything_behind_the_batch_is_a_position():
    top = folded(X, TopK(1, channel=None))
    assert top.values.shape == (7, 1, 1)
    assert np.array_equal(top.places[:, 0, 0], X.reshape(7, -1).argmax(axis=1))
    assert abilities_of(xplain.load(nets.cnn())).batches is not None
