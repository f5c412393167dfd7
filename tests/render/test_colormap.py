"""Colours: what people may conclude from them must be true of the values."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from xplain.core.errors import UnknownName, UsageError
from xplain.render.colormap import find

SIGNED, UNSIGNED = ("blue-red", "purple-green"), ("heat", "grey", "blue-red")


def lightness(name, signed):
    return rgb2lab(find(name, signed).table[None] / 255.0)[0, :, 0]


@pytest.mark.parametrize("name", SIGNED)
def test_signed_maps_are_neutral_at_zero_and_equally_dark_on_both_sides(name):
    shade = lightness(name, True)
    middle = len(shade) // 2
    zero = find(name, True).paint(np.zeros(1), 1.0)[0].astype(int)
    assert np.ptp(zero) <= 2
    np.testing.assert_allclose(shade, shade[::-1], atol=1.5)
    assert (np.diff(shade[middle:]) < 0.2).all()
    assert shade[middle] - shade[-1] > 60


@pytest.mark.parametrize("name", UNSIGNED)
def test_unsigned_maps_darken_evenly(name):
    steps = np.diff(lightness(name, False))
    assert (steps < 0.4).all()
    assert abs(steps.max() - steps.min()) < 1.5


def test_signs_are_told_apart():
    low, high = find(None, True).paint(np.array([-1.0, 1.0]), 1.0).astype(int)
    assert low[2] > low[0] + 60, "negative is blue"
    assert high[0] > high[2] + 60, "positive is red"


def test_values_beyond_the_limit_saturate():
    colours = find(None, True)
    np.testing.assert_array_equal(colours.paint(np.array([2.0, -9.0]), 2.0), colours.paint(np.array([7.0, -2.0]), 2.0))
    np.testing.assert_array_equal(find(None, False).paint(np.array([-1.0]), 1.0), find(None, False).paint([0.0], 1.0))


def test_a_limit_of_zero_paints_zero():
    np.testing.assert_array_equal(find(None, True).paint(np.zeros(3), 0.0), find(None, True).paint(np.zeros(3), 1.0))


def test_names():
    with pytest.raises(UnknownName, match="Unknown colour map 'bluered'. Did you mean 'blue-red'"):
        find("bluered", True)
    with pytest.raises(UsageError, match="'heat' cannot show the sign of these values; accepted: blue-red, purple-gr"):
        find("heat", True)
    with pytest.raises(UnknownName, match="Unknown colour map 'jet'"):
        find("jet", False)
