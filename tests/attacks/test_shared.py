"""One change for all items: universal changes, patches with their exact transforms, and what a substitute learns."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.core.errors import UsageError
from xplain.explainers.attacks.warp import drawn_placement
from xplain.render.attacked import printed
from xplain.report.pages import page_of

from .conftest import linear
from .test_pgd import CARD


def test_a_placement_is_linear_in_the_patch_and_its_gradient_is_exact():
    """``<laid(patch), g> = <patch, back(g)>`` for the covered pixels, whatever the size, angle and light."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        place = drawn_placement(rng, (20, 24), 6, 0.3, 25.0, 0.2)
        patch, gradient = rng.normal(size=(3, 6, 6)), rng.normal(size=(3, 20, 24))
        laid = place.laid(np.zeros((3, 20, 24)), patch, -np.inf, np.inf)
        assert (laid * gradient).sum() == pytest.approx((patch * place.back(gradient, patch.shape)).sum())
        assert place.weights.sum(axis=1) == pytest.approx(1)
        assert place.rows.min() >= 0
        assert place.rows.max() < 20
        assert place.columns.max() < 24


def test_without_transforms_a_patch_is_pasted_pixel_on_pixel():
    rng = np.random.default_rng(1)
    patch = rng.normal(size=(3, 5, 5))
    place = drawn_placement(rng, (16, 16), 5, 0.0, 0.0, 0.0)
    laid = place.laid(np.zeros((3, 16, 16)), patch, -np.inf, np.inf)
    top, left = place.rows.min(), place.columns.min()
    np.testing.assert_allclose(laid[:, top : top + 5, left : left + 5], patch)
    assert np.count_nonzero(laid) == patch.size


def test_a_patch_turns_pictures_that_it_was_not_made_on(weights, pictures):
    """A linear model of the mean of each channel: a red patch turns any picture, wherever it lies."""
    w = np.zeros((3, 8, 8, 2))
    w[0, ..., 1], w[1, ..., 1] = 1.0, -1.0
    model = xplain.load(linear(w.reshape(-1, 2), np.array([3.0, 0.0])), card=CARD)
    found = xplain.attack(model, pictures, "patch", target=1, side=5, steps=12, held_out=0.34, explain=None)
    out = found.each["held out"]
    assert out.sum() == 1
    assert found.each["share of placements"][out] == 1
    told = found.facts["held out"]
    assert told.startswith("made on 2 items: wins ")
    assert told.endswith("; held out 1 item: wins 100% of placements")
    assert told in str(found)
    assert found.shared.dtype == np.uint8
    assert found.shared.shape == (5, 5, 3)
    assert found.shared[..., 0].mean() > 170
    assert found.shared[..., 1].mean() < 90
    with pytest.raises(UsageError, match="side"):
        xplain.attack(model, pictures, "patch", target=1, side=9)


def test_a_printed_patch_has_its_size_on_paper():
    sheet = printed(np.full((64, 64, 3), 9, np.uint8), millimetres=50.8, dpi=100)
    assert sheet.info["dpi"] == (100, 100)
    dark = np.asarray(sheet) == 9
    assert dark.all(axis=2).sum(axis=1).max() == pytest.approx(200, abs=2)  # 50.8 mm are two inches
    assert isinstance(sheet, Image.Image)


def test_a_universal_change_is_one_change_for_all(weights):
    rng = np.random.default_rng(2)
    pictures = [rng.integers(90, 160, (8, 8, 3)).astype(np.uint8) for _ in range(6)]
    model = xplain.load(linear(weights, np.array([6.0, -6.0])), card=CARD)  # all of the first class
    found = xplain.attack(model, pictures, "universal", epsilon="24/255", explain=None, held_out=0.34)
    assert set(found.labels) == {0}
    assert found.fooled.all()
    change = np.transpose(found.shared, (1, 2, 0))
    assert np.abs(change).max() <= 24
    np.testing.assert_array_equal(found.after, np.clip(found.before + change, 0, 255).astype(np.uint8))
    assert found.each["held out"].sum() == 2
    assert found.facts["held out"] == "made on 4 items: 4 fooled; held out 2 items: 2 fooled"
    assert found.facts["held out"] in str(found)
    assert "Made on 4 items: 4 fooled; held out 2 items: 2 fooled." in page_of(found, "xplain attack")


def test_a_substitute_trained_on_bought_classes_beats_random_signs():
    rng = np.random.default_rng(3)
    w = rng.normal(size=(48, 3)).astype(np.float32)
    w -= w.mean(axis=0)
    asked = []

    def classes(x):
        asked.append(len(x))
        return np.eye(3)[(x.reshape(len(x), -1) @ w).argmax(axis=1)]

    model = xplain.load(classes, card=CARD)
    pictures = [rng.integers(60, 190, (4, 4, 3)).astype(np.uint8) for _ in range(24)]
    found = xplain.attack(model, pictures, "transfer", epsilon="24/255", labels=96, epochs=20, explain=None)
    assert sum(asked) <= 96 + 3 * 24  # a look, one try each, and the plain run
    signs = [np.clip(p + 24.0 * rng.choice([-1, 1], p.shape), 0, 255).astype(np.uint8) for p in pictures]
    by_chance = (xplain.predict(model, signs).argmax(axis=1) != found.labels).mean()
    assert found.fooled.mean() >= by_chance + 0.25
    assert any("The substitute agrees" in said for said in found.said)
