"""Defences: each undoes what it must, the same attack through it is told beside that, and neither is guessed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

import xplain
from tests.nets import FLOAT, model
from xplain.core.errors import UnknownName, UsageError
from xplain.core.positions.layout import Layout
from xplain.core.synthesis.space import Space
from xplain.render.defences import DEFENCES

RNG = np.random.default_rng(0)
SIDE = 8


def brightness() -> Any:
    """Class 1 where the picture is brighter than 119.5 of 255 in the mean, else class 0."""
    weights = np.zeros((3 * SIDE * SIDE, 2), np.float32)
    weights[:, 1] = 1 / weights.shape[0]
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "w", "b"], ["y"])]
    given = {"w": weights, "b": np.array([119.5 / 255, 0], np.float32)}
    made = model(nodes, {"x": (FLOAT, ["N", 3, SIDE, SIDE])}, {"y": (FLOAT, ["N", 2])}, given)
    return xplain.load(made, card={"mode": "RGB", "crop": [SIDE, SIDE]})


def test_a_step_that_levels_take_back_is_undone_and_one_that_crosses_a_level_goes_through():
    """119 is the seventh of sixteen levels: 118 to 127 are rounded to it, so only a larger change gets through."""
    picture = np.full((SIDE, SIDE, 3), 119, np.uint8)
    small = xplain.attack(brightness(), [picture], "fgsm", epsilon="2/255", defend="depth", explain=None)
    assert small.fooled.all()
    assert small.facts["defences"] == {"depth": {"clean kept": 1.0, "undone": 1.0, "fooled through": 0.0}}
    large = xplain.attack(brightness(), [picture], "fgsm", epsilon="12/255", defend=["depth"], explain=None)
    assert large.facts["defences"]["depth"]["fooled through"] == 1.0
    assert "attacked through it, 100% are fooled" in str(large)
    alone = xplain.attack(brightness(), [picture], "fgsm", epsilon="2/255", explain=None)
    assert small.cost.sweeps == 2 * alone.cost.sweeps  # the attack once more is paid for


def test_a_median_takes_single_pixels_back():
    """l0 may turn one pixel white; in a field of grey the median gives every neighbourhood its grey."""
    picture = np.full((SIDE, SIDE, 3), 119, np.uint8)
    found = xplain.attack(brightness(), [picture], "pgd", norm="l0", epsilon=1, defend="median", explain=None)
    assert found.fooled.all()
    assert found.facts["defences"]["median"]["undone"] == 1.0


def test_nothing_found_is_nothing_undone_and_a_dark_room_keeps_its_class():
    picture = np.full((SIDE, SIDE, 3), 10, np.uint8)
    found = xplain.attack(brightness(), [picture], "fgsm", epsilon="1/255", defend="jpeg,depth", explain=None)
    assert np.isnan(found.facts["defences"]["jpeg"]["undone"])
    assert found.facts["defences"]["jpeg"]["clean kept"] == 1.0
    assert "nothing was found to undo" in str(found)


def test_each_defence_does_what_its_paper_says():
    pictures = RNG.integers(0, 255, (2, 20, 24, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pictures[1]).save(held, "JPEG", quality=75)
    assert np.array_equal(DEFENCES["jpeg"](pictures)[1], np.asarray(Image.open(held)))
    assert set(np.unique(DEFENCES["depth"](pictures))) <= set(range(0, 256, 17))
    window = pictures[0, 4:7, 8:11, 2]
    assert DEFENCES["median"](pictures)[0, 5, 9, 2] == np.median(window)
    moved = DEFENCES["resize"](pictures)
    assert moved.shape == pictures.shape
    assert np.array_equal(moved[1], DEFENCES["resize"](pictures[1:])[0])  # its own draw, whatever is beside it


@pytest.mark.parametrize(("mode", "letters"), [("RGB", "NCHW"), ("BGR", "NHWC"), ("L", "NCHW")])
def test_pictures_and_values_lead_back_to_one_another(mode, letters):
    card = xplain.Card(mode=mode)
    shape = (SIDE, SIDE, card.channels) if letters == "NHWC" else (card.channels, SIDE, SIDE)
    space = Space(Layout(letters, shape, "stated"), card, 0.0, 255.0)
    values = RNG.integers(0, 256, (3, *shape)).astype(np.float64)
    assert np.array_equal(space.valued(space.pictures(values)), values)


def test_what_has_no_defence_is_refused():
    with pytest.raises(UnknownName, match="jpeg"):
        xplain.attack(brightness(), [np.zeros((SIDE, SIDE, 3), np.uint8)], "fgsm", defend="jpg")
    rows = xplain.load(lambda x: x @ np.array([[1.0, -1.0]] * 4))
    with pytest.raises(UsageError, match="are of pictures"):
        xplain.attack(rows, np.ones((1, 4)), "square", epsilon=3.0, queries=20, defend="all")


def test_noise_that_is_still_taken_for_the_target_is_not_undone():
    found = xplain.attack(brightness(), kind="fooling", target=1, steps=4, defend="median", explain=None, seed=3)
    assert found.fooled.all()
    told = found.facts["defences"]["median"]
    again = xplain.predict(brightness(), DEFENCES["median"](found.after).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert told["undone"] == float(again.argmax() != 1)
