"""What single recipes find: a layer's energy grows, features come back, channels get the pictures that they read."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from tests.contract.test_recipes import file
from tests.synthesis.test_making import plain
from xplain.core.errors import ModelError, UsageError
from xplain.explainers.synthesis.optimisers import Adam, Ascent

RNG = np.random.default_rng(1)
PICTURE = RNG.integers(60, 200, (40, 32, 3), np.uint8)


def test_a_dream_shows_more_of_what_a_layer_sees_in_the_size_of_the_picture():
    found = xplain.make(file(), "dream", PICTURE, layer="second", octaves=3, ratio=1.2, steps=6, jitter=4, side=64)
    assert found.pixels.shape == (1, 40, 32, 3)
    assert found.trace.shape == (1, 12)  # an octave of 28 x 22 pixels would be too small
    assert found.trace[0, 11] > found.trace[0, 6]
    assert np.abs(found.picture[0] - PICTURE.transpose(2, 0, 1) / 255).mean() < 0.2


def test_a_film_goes_on_dreaming_while_it_moves_into_the_picture():
    found = xplain.make(file(), "dream", PICTURE, layer="second", octaves=1, steps=3, zoom=4, side=64)
    assert found.frames.shape == (1, 5, 40, 32, 3)
    assert np.array_equal(found.frames[0, 0], found.pixels[0])


def test_a_guide_leads_to_its_own_features():
    """Each position is led to the guide's feature that it fits best; the match grows with every octave's steps."""
    guide = RNG.integers(0, 255, (24, 24, 3), np.uint8)
    found = xplain.make(file(), "dream", PICTURE, guide=guide, layer="second", octaves=1, steps=8, side=64)
    assert found.trace[0, -1] > found.trace[0, 0]
    with pytest.raises(UsageError, match="takes one picture for 'guide'"):
        xplain.make(file(), "dream", PICTURE, guide=[guide, guide], layer="second", side=64)


def test_a_file_of_a_fixed_size_dreams_in_that_size_alone():
    with pytest.raises(ModelError, match="size"):
        xplain.make(plain(), "dream", PICTURE, layer="scores", octaves=1, steps=1, side=64)
    small = RNG.integers(60, 200, (8, 6, 3), np.uint8)
    assert xplain.make(plain(), "dream", small, layer="scores", octaves=3, steps=2).trace.shape == (1, 2)


def test_an_inversion_gives_a_layer_the_values_of_the_picture_back():
    found = xplain.make(file(), "invert", PICTURE, layers="first,second", steps=160, rate=0.1, size=(12, 10))
    assert found.names == ("0 from first", "0 from second")
    assert np.max(found.each["distance"]) < 0.02
    np.testing.assert_allclose(-found.trace[:, -1], found.each["distance"], rtol=0.3)
    wanted = xplain.make(file(), "invert", PICTURE, layers="first", steps=1, size=(12, 10))
    assert found.each["PSNR"][0] > wanted.each["PSNR"][0] + 6


def test_a_large_alpha_norm_keeps_colours_near_grey():
    plain, held = (
        xplain.make(file(), "invert", PICTURE, layers="first", steps=60, size=(12, 10), alpha=alpha, frames=0)
        for alpha in (0.0, 1e4)
    )
    far = [np.abs(one.picture - 0.5).max() for one in (plain, held)]
    assert far[1] < 0.2 < far[0]


def test_several_pictures_of_a_target_differ_where_that_is_asked_for_whatever_is_made_beside_them():
    given = {"steps": 60, "views": 1, "variants": 2, "layer": "second", "size": (12, 10), "frames": 0}
    alike = xplain.make(file(), "fourier", target=1, diversity=1e-9, **given)
    apart = xplain.make(file(), "fourier", target=1, diversity=300.0, **given)
    assert apart.names == ("1 1", "1 2")
    assert 1 - max(apart.each["likeness"]) > 3 * (1 - min(alike.each["likeness"]))
    both = xplain.make(file(), "fourier", target=[0, 1], diversity=300.0, **given)
    assert np.array_equal(both.picture[2:], apart.picture)
    assert both.labels == (0, 0, 1, 1)
    with pytest.raises(UsageError, match="one picture alone"):
        xplain.make(file(), "fourier", target=1, diversity=1.0, size=(12, 10))
    with pytest.raises(UsageError, match="which layer"):
        xplain.make(file(), "fourier", target=1, diversity=1.0, variants=2, size=(12, 10))


def test_a_grid_has_the_picture_of_each_channel():
    found = xplain.make(plain(), "grid", layer="made", units="0,2", steps=40, jitter=0.0)
    assert found.names == ("made[0]", "made[2]")
    for n, channel in enumerate((0, 2)):
        means = found.picture[n].mean(axis=(1, 2))
        assert means[channel] == means.max() > 0.7
    with pytest.raises(UsageError, match="numbers of channels"):
        xplain.make(plain(), "grid", layer="made", units="first")


def test_beside_a_grids_pictures_stand_the_patches_that_excite_its_channels_most():
    """The layer is the picture itself, so a patch is one pixel: the reddest, and the bluest, of each photograph."""
    photographs = np.random.default_rng(5).integers(0, 200, (3, 8, 6, 3)).astype(np.uint8)
    photographs[1, 2, 3] = (251, 10, 20)
    photographs[2, 7, 0] = (240, 30, 40)
    photographs[0, 4, 5] = (50, 60, 252)
    found = xplain.make(plain(), "grid", layer="made", units="0,2", steps=2, photographs=list(photographs), patches=2)
    assert found.original.shape == (2, 1, 2, 3)
    assert found.original[0, 0].tolist() == [[251, 10, 20], [240, 30, 40]]
    assert found.original[1, 0, 0].tolist() == [50, 60, 252]
    np.testing.assert_allclose(found.each["largest"], [251 / 255, 252 / 255], rtol=1e-5)


def test_a_layer_that_is_not_named_is_asked_for():
    with pytest.raises(UsageError, match="layer="):
        xplain.make(file(), "dream", PICTURE, side=64)


def test_steps_are_those_of_their_formulas():
    """Adam against its paper's recursion, with bias corrections; ascent has a fixed length, and momentum averages."""
    state, gradients = np.zeros((2, 3), np.float32), RNG.normal(size=(5, 2, 3)).astype(np.float32)
    memory, moved = Adam(0.1).start(state), state
    mean = square = np.zeros((2, 3))
    slow = np.zeros((2, 3))
    for k, gradient in enumerate(gradients):
        moved, memory = Adam(0.1).step(moved, gradient, memory, k)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        slow = slow + 0.1 * (mean / (1 - 0.9 ** (k + 1))) / (np.sqrt(square / (1 - 0.999 ** (k + 1))) + 1e-8)
    np.testing.assert_allclose(moved, slow, rtol=1e-4)
    step, kept = Ascent(0.2).step(state, gradients[0], Ascent(0.2).start(state), 0)
    np.testing.assert_allclose(np.sqrt((step**2).mean(axis=1)), 0.2, rtol=1e-5)
    again, _ = Ascent(0.2, momentum=0.5).step(state, gradients[0], kept, 1)
    np.testing.assert_allclose(again, step, rtol=1e-5)  # half of the last direction, half of the same one
