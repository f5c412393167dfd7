"""Every item draws for itself: errors of items are independent, and an item has the same draws wherever it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xplain
from xplain import native
from xplain.core.edits import SoftGrid
from xplain.core.errors import UsageError
from xplain.core.keeping.content import keys_of
from xplain.core.positions.layout import Layout
from xplain.core.query import View
from xplain.core.target import label

ITEM = (1, 8, 8)
PLANE = (8, 8)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(64, 3)).astype(np.float32)


def interplay(batch: Any) -> Any:
    """Scores in which every position changes what the others do; row by row, so that no batch can change a bit."""
    flat = np.asarray(batch, np.float32).reshape(len(batch), -1)
    linear = (flat[:, :, None] * WEIGHTS).sum(axis=1)
    return np.stack([linear[:, 0] * linear[:, 1], linear[:, 2]], axis=1)


SAMPLED: dict[str, dict[str, Any]] = {
    "rise": {"samples": 24, "cells": 3},
    "lime": {"samples": 40, "features": "grid:4"},
    "kernel-shap": {"samples": 64, "features": "grid:5"},
    "shapley-sampling": {"samples": 96, "features": "grid:4"},
    "banzhaf": {"samples": 64, "features": "grid:4"},
    "qii": {"samples": 4, "features": "grid:3"},
    "occlusion": {"patch": 4, "stride": 4, "baseline": "noise"},
}


def model() -> Any:
    return xplain.load(interplay)


def mean_map(method: str, items: np.ndarray, seed: int) -> np.ndarray:
    found = xplain.explain(model(), items, method, target=0, seed=seed, **SAMPLED[method])
    return np.asarray(found.values, np.float64).mean(axis=0)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("method", SAMPLED)
def test_the_noise_of_a_mean_falls_with_the_number_of_items(method: str, equal: bool) -> None:
    """Sixteen items, the same or nearly: a quarter of the noise of one."""
    base = np.random.default_rng(1).normal(size=(1, *ITEM)).astype(np.float32)
    change = np.random.default_rng(2).normal(size=(16, *ITEM)).astype(np.float32) * (0.0 if equal else 1e-3)
    many = base + change

    def noise(items: np.ndarray) -> float:
        return float(np.stack([mean_map(method, items, seed) for seed in range(8)]).std(axis=0, ddof=1).mean())

    assert 2.6 < noise(many[:1]) / noise(many) < 6


@pytest.mark.parametrize("method", SAMPLED)
def test_an_item_has_the_same_bits_alone_among_others_and_in_any_order(method: str) -> None:
    items = np.random.default_rng(3).normal(size=(5, *ITEM)).astype(np.float32)
    ask = lambda x: xplain.explain(model(), x, method, target=0, seed=4, **SAMPLED[method])  # noqa: E731
    every = ask(items)
    for part in ([0], [3], [4, 1], [4, 3, 2, 1, 0]):
        some = ask(items[part])
        np.testing.assert_array_equal(some.values, every.values[part])
        if every.error is not None:
            np.testing.assert_array_equal(some.error, every.error[part])


def test_anchors_draw_for_each_item() -> None:
    items = np.random.default_rng(3).normal(size=(3, *ITEM)).astype(np.float32)
    options: dict[str, Any] = {"samples": 600, "features": "grid:2"}
    every = xplain.explain(model(), items, "anchors", seed=1, **options)
    alone = [xplain.explain(model(), items[k : k + 1], "anchors", seed=1, **options) for k in range(3)]
    for k in range(3):
        np.testing.assert_array_equal(alone[k].values[0], every.values[k])
    same = xplain.explain(model(), np.repeat(items[:1], 12, axis=0), "anchors", seed=1, **options)
    assert len(set(map(float, same.notes["precision"]))) > 1


def test_seeds_change_draws_and_a_seed_repeats_them() -> None:
    items = np.random.default_rng(5).normal(size=(2, *ITEM)).astype(np.float32)
    for method in ("rise", "kernel-shap"):
        first, again, other = (
            xplain.explain(model(), items, method, target=0, seed=seed, **SAMPLED[method]).values for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_keys_follow_the_content_alone() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert keys_of(x) == keys_of(x.astype(np.float32)) == (*keys_of(x[:1]), *keys_of(x[1:]))
    assert keys_of(x[[2, 0]]) == (keys_of(x)[2], keys_of(x)[0])
    assert keys_of(np.array([[1, 2]], np.int64)) == keys_of(np.array([[1, 2]], np.uint8))
    twice = keys_of(x[[0, 1, 0]])
    assert twice[0] == keys_of(x)[0]
    assert len(set(twice)) == 3
    assert len(set(keys_of(["one text", "another", "one text"]))) == 3


def test_a_part_of_a_view_keeps_its_keys() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(1, *ITEM)).astype(np.float32), 3, axis=0)
    view = View(x, label([0, 1, 0]), model().outline, 7)
    assert view.of(np.array([2])).own_keys == view.own_keys[2:]
    assert view.of(np.array([1])).target.terms[0][1].index == ((1,),)


def test_texts_of_one_length_draw_for_themselves() -> None:
    """Texts are asked as numbers of positions, the same for all of one length: their draws follow their words."""
    words = {"good": 2.0, "bad": -3.0, "very": 0.7, "film": 0.2, "plot": -0.4, "the": 0.1}

    def score(texts: list[str]) -> Any:
        found = []
        for text in texts:
            own = [words.get(word, 0.3) for word in text.split()]
            found.append([sum(own), np.prod([1 + v for v in own])])
        return np.array(found)

    texts = [f"the very good film and {end} other words too" for end in ("bad", "good", "no", "plot")]
    read = xplain.text(score)
    ask = lambda t: xplain.explain(read, t, "kernel-shap", target=1, samples=48)  # noqa: E731
    every = ask(texts)
    for k in range(4):
        np.testing.assert_array_equal(every.values[k], ask(texts[k : k + 1]).values[0])
    assert not np.array_equal(ask(["x " * 9]).error, ask(["y " * 9]).error)


def test_grids_of_each_item_are_those_of_its_seed() -> None:
    x = RNG.normal(size=(3, 2, 9, 7)).astype(np.float32)
    fill = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
    seeds = np.array([5, 2**63 + 1, 9], np.uint64)
    edits = SoftGrid(seeds, 7, (3, 3), 0.4, fill, first=2)
    out = np.empty((14, 2, 9, 7), np.float32)
    layout = Layout("NCHW", (2, 9, 7))
    native.fill(x, edits, 4, 18, out, layout)
    for row in range(4, 18):
        n, m = divmod(row, 7)
        one = np.empty((1, 2, 9, 7), np.float32)
        native.fill(x[n : n + 1], SoftGrid(int(seeds[n]), 1, (3, 3), 0.4, fill[n : n + 1], 2 + m), 0, 1, one, layout)
        np.testing.assert_array_equal(out[row - 4], one[0])
    weights = RNG.normal(size=(3, 7, 2))
    summed = native.accumulate(edits, weights, (9, 7))
    for n in range(3):
        own = SoftGrid(int(seeds[n]), 7, (3, 3), 0.4, fill, first=2)
        np.testing.assert_array_equal(summed[n], native.accumulate(own, weights[n : n + 1], (9, 7))[0])


def test_seeds_must_be_one_for_each_item() -> None:
    x = np.zeros((3, 1, 8, 8), np.float32)
    edits = SoftGrid(np.zeros(2, np.uint64), 4, (2, 2), 0.5, np.zeros((1, 1, 1, 1), np.float32))
    with pytest.raises(UsageError, match=r"SoftGrid.seed is \[2\]; accepted: a number, or one for each of 3"):
        native.fill(x, edits, 0, 4, np.empty((4, 1, 8, 8), np.float32))


def test_gradient_methods_draw_for_each_item() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    base = np.random.default_rng(1).normal(size=(1, *ITEM)).astype(np.float32)
    background = np.random.default_rng(2).normal(size=(6, *ITEM)).astype(np.float32)
    for method, options in (
        ("expected-gradients", {"samples": 8, "baseline": background}),
        ("expected-gradients", {"samples": 8, "noise": 0.5}),
        ("smoothgrad", {"samples": 8}),
        ("vargrad", {"samples": 8}),
    ):

        def noise(count: int, method: str = method, options: Any = options) -> float:
            items = np.repeat(base, count, axis=0)
            maps = [xplain.explain(net, items, method, target=0, seed=s, **options).values.mean(0) for s in range(6)]
            return float(np.stack(maps).std(axis=0, ddof=1).mean())

        assert 2.4 < noise(1) / noise(16) < 6.5, method
