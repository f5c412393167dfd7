"""Painting in a region of a photograph: all around it stays, and the result says where it was painted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import xplain
from tests.contract.test_recipes import net
from xplain.core.errors import UsageError

CARD = {"mode": "RGB", "crop": [24, 20]}
PHOTOGRAPH = np.random.default_rng(3).integers(0, 256, (24, 20, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    return xplain.load(net(), card=CARD)


@pytest.mark.parametrize("recipe", ["class", "fourier"])
def test_a_region_is_painted_until_the_target_is_liked_more_and_the_rest_is_the_photograph_to_the_bit(recipe, model):
    made = xplain.make(model, recipe, target=[0, 2], on=PHOTOGRAPH, within=(4, 5, 16, 15), steps=12)
    inside = np.zeros((24, 20), bool)
    inside[4:16, 5:15] = True
    assert made.pixels.shape == (2, 24, 20, 3)
    for pixels in made.pixels:
        np.testing.assert_array_equal(pixels[~inside], PHOTOGRAPH[~inside])
        assert (pixels[inside] != PHOTOGRAPH[inside]).mean() > 0.9
    before = xplain.predict(model, PHOTOGRAPH)[0, [0, 2]]
    np.testing.assert_allclose(made.each["target before"], before, rtol=1e-5)
    assert (made.value > before).all()
    said = "rows 4 to 15 and columns 5 to 14 of 24 x 20 pixels, 25% of the photograph '0'"
    assert said in made.facts["painted within"]
    assert said in str(made)
    np.testing.assert_array_equal(made.original[0], PHOTOGRAPH)


def test_a_mask_and_a_box_of_a_photograph_file_say_the_same_region(model, tmp_path):
    mask = np.zeros((24, 20, 3), np.uint8)
    mask[2:9, 3:20] = 255
    for name, pixels in (("photograph", PHOTOGRAPH), ("mask", mask)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    ask = {"target": 1, "on": tmp_path / "photograph.png", "steps": 2, "views": 2}
    regions = (tmp_path / "mask.png", mask[..., 0] > 0, "2,3,9,20", [2, 3, 9, 20])
    one, *others = (xplain.make(model, "fourier", within=within, **ask) for within in regions)
    assert one.names == others[0].names
    for other in others:
        np.testing.assert_array_equal(one.picture, other.picture)
        assert one.facts["painted within"] == other.facts["painted within"]
    assert "of the photograph 'photograph'" in one.facts["painted within"]


def test_a_region_is_cropped_and_resized_as_its_photograph_is():
    """Of 48 x 60 pixels the model sees the middle 24 x 20 of 24 x 30, so a box at the left is not seen."""
    model = xplain.load(net(), card={"mode": "RGB", "resize_short": 24, "crop": [24, 20]})
    photograph = np.full((48, 60, 3), 90, np.uint8)
    made = xplain.make(model, "class", target=0, on=photograph, within=(20, 26, 28, 34), steps=2)
    changed = (made.pixels[0] != 90).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (9, 14) >= (rows[0], rows[-1]) >= (8, 13)
    assert (7, 12) >= (columns[0], columns[-1]) >= (6, 11)
    with pytest.raises(UsageError, match="not cropped off"):
        xplain.make(model, "class", target=0, on=photograph, within="0,0,48,6")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on": PHOTOGRAPH}, "where in the photograph is painted. Give within="),
        ({"within": "1,2,9,9"}, "'within' is a region of a photograph, and there is none. Give on='FILE'"),
        ({"on": PHOTOGRAPH, "within": "4,4,25,9"}, "within the 24 rows and 20 columns of the photograph"),
        ({"on": PHOTOGRAPH, "within": "9,4,4,9"}, "top,left,bottom,right"),
        ({"on": PHOTOGRAPH, "within": "1,2,3"}, "top,left,bottom,right"),
        ({"on": PHOTOGRAPH, "within": np.ones((9, 9), bool)}, "a picture of 9 rows and 9 columns"),
        ({"on": PHOTOGRAPH, "within": "1,2,9,9", "room": 1.5}, "room"),
        ({"on": PHOTOGRAPH, "within": "1,2,9,9", "variants": 2}, "variants"),
        ({"on": [PHOTOGRAPH, PHOTOGRAPH], "within": "1,2,9,9"}, "takes one picture for 'on'"),
    ],
)
def test_a_region_that_is_none_is_refused_before_any_step(given, said, model):
    with pytest.raises(UsageError, match=re.escape(said)):
        xplain.make(model, "fourier", target=0, **given)


def test_an_interrupted_region_goes_on_to_the_same_bits(model, tmp_path):
    ask = {"target": 1, "on": PHOTOGRAPH, "within": (4, 5, 16, 15), "steps": 6, "views": 2}
    whole = xplain.make(model, "fourier", **ask)

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt

    cut = xplain.make(model, "fourier", **ask, resume=tmp_path / "way", stepped=stop)
    assert any("interrupted" in said for said in cut.said)
    np.testing.assert_array_equal(cut.pixels[0][:4], PHOTOGRAPH[:4])
    again = xplain.make(model, "fourier", **ask, resume=tmp_path / "way")
    np.testing.assert_array_equal(again.picture, whole.picture)
