"""The map as pixels: each position where it belongs, one limit for both signs, noise and clipping shown."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.errors import NonFinite, UsageError
from xplain.render.colormap import find
from xplain.render.overlay import Map, Style, cells, limit_of, map_of, overlay, top_region

PLAIN = Style(alpha=1.0, line=False, hatch=False)


def planted(row, column, shape=(5, 7), value=1.0):
    values = np.zeros(shape)
    values[row, column] = value
    return values


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 6), (4, 0), (4, 6), (2, 3)])
@pytest.mark.parametrize("zoom", [1, 2, 5])
def test_one_planted_position_colours_exactly_its_own_pixels(row, column, zoom):
    picture = np.full((5, 7, 3), 120, np.uint8)
    drawn = Map(planted(row, column), None, picture, True)
    pixels = overlay(drawn, 1.0, find(None, True), Style(alpha=1.0, zoom=zoom, line=False))
    assert pixels.shape == (5 * zoom, 7 * zoom, 3)
    coloured = np.ptp(pixels.astype(int), axis=2) > 40
    expected = planted(row, column).repeat(zoom, axis=0).repeat(zoom, axis=1) > 0
    np.testing.assert_array_equal(coloured, expected)


def test_the_line_surrounds_a_planted_position_and_leaves_it_visible():
    picture = np.full((9, 9, 3), 120, np.uint8)
    pixels = overlay(Map(planted(4, 4, (9, 9)), None, picture, True), 1.0, find(None, True), Style(alpha=1.0))
    assert np.ptp(pixels[4, 4].astype(int)) > 40
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert (pixels[3:6, 3:6][ring] == 255).all()
    outside = pixels[2:7, 2:7].copy()
    outside[1:4, 1:4] = 30
    assert (outside == 30).all()


def test_where_nothing_matters_the_grey_picture_shows_through(scene):
    flat = Map(np.zeros((24, 32)), None, scene[0], True)
    seen = overlay(flat, 0.0, find(None, True), Style()).astype(float)
    assert np.ptp(seen, axis=2).max() <= 1
    luma = scene[0] @ [0.299, 0.587, 0.114]
    assert np.corrcoef(seen[..., 0].ravel(), luma.ravel())[0, 1] > 0.999


def test_opposite_values_are_equally_strong(scene):
    drawn = Map(np.array([[-1.0, 0.0, 1.0]]), None, None, True)
    low, zero, high = overlay(drawn, 1.0, find(None, True), PLAIN)[0].astype(int)
    assert np.ptp(zero) <= 2
    assert abs(int(low.mean()) - int(high.mean())) < 40
    assert low[2] > low[0]
    assert high[0] > high[2]


def test_noise_is_grey_and_hatched():
    values, picture = np.full((24, 24), 1.0), np.full((24, 24, 3), 200, np.uint8)
    noise = np.zeros((24, 24), bool)
    noise[:, 12:] = True
    pixels = overlay(Map(values, noise, picture, True), 1.0, find(None, True), Style(line=False)).astype(int)
    assert np.ptp(pixels[:, :12], axis=2).min() > 40
    assert np.ptp(pixels[:, 12:], axis=2).max() <= 1
    assert len(np.unique(pixels[:, 12:, 0])) == 2, "lines on grey"
    unmarked = overlay(Map(values, noise, picture, True), 1.0, find(None, True), Style(line=False, hatch=False))
    np.testing.assert_array_equal(unmarked[:, 12:], unmarked[:, :12])


def test_the_interval_decides_what_is_noise(make):
    values = [[[1.97, 1.95, -1.97, -1.95, 0.0]]]
    error = np.ones((1, 1, 5), np.float32)
    error[..., 4] = 0
    drawn = map_of(make(values, error=error), 0)
    assert drawn.noise.tolist() == [[False, True, False, True, False]]
    assert map_of(make(values), 0).noise is None


def test_limit_is_the_99th_percentile_of_the_size():
    values = np.arange(-50.0, 51.0)
    assert limit_of(values) == pytest.approx(np.percentile(np.abs(values), 99))
    assert limit_of(np.zeros((3, 3))) == 0.0
    assert limit_of(planted(0, 0, (40, 40), -3.0)) == 3.0, "the percentile of a sparse map is zero"
    assert limit_of(np.ones(5), 3 * np.ones(5)) == 3.0


def test_top_region_holds_a_tenth():
    values = np.add.outer(np.arange(20.0), 0.01 * np.arange(20))
    region = top_region(Map(values, None, None, True))
    assert region.sum() == 40
    assert values[region].min() > values[~region].max()


def test_top_region_of_special_maps():
    def region(values, noise=None):
        return top_region(Map(values, noise, None, True))

    assert not region(np.ones((4, 4))).any(), "a constant map has no top"
    assert not region(-np.ones((4, 4))).any()
    assert not region(np.zeros((1, 1))).any()
    plateau = np.zeros((4, 4))
    plateau[:2] = 1.0
    np.testing.assert_array_equal(region(plateau), plateau > 0)
    speckle = np.random.default_rng(0).normal(size=(50, 50))
    assert not region(speckle).any(), "a line around scattered pixels would hide the map"
    spike = planted(2, 2, (40, 40))
    assert region(spike).sum() == 1
    assert not region(spike, spike > 0).any(), "noise is not enclosed"


def test_cells_are_means_over_their_areas():
    values = np.arange(16.0).reshape(4, 4)
    expected = np.array([[2.5, 4.5], [10.5, 12.5]]).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(cells(values, (2, 2)), expected)
    uneven = cells(np.arange(5.0)[None], (1, 2))
    np.testing.assert_allclose(uneven, [[0.5, 0.5, 3.0, 3.0, 3.0]])
    np.testing.assert_allclose(cells(values, (9, 9)), values)
    np.testing.assert_allclose(cells(values, (3, 3)).sum(), values.sum())


def test_native_resolution_shows_the_cells(make):
    smooth = np.linspace(0, 1, 64).reshape(1, 8, 8)
    drawn = map_of(make(smooth, resolution=(2, 2), error=np.full((1, 8, 8), 0.2)), 0, native_resolution=True)
    assert len(np.unique(drawn.values)) == 4
    assert np.unique(drawn.noise[:4, :4]).tolist() == [True]
    assert np.unique(drawn.noise[4:, 4:]).tolist() == [False]


def test_channels_are_summed_wherever_they_lie(make, scene):
    values = np.random.default_rng(0).normal(size=(1, 3, 24, 32)).astype(np.float32)
    expected = values[0].sum(axis=0)
    first = map_of(make(values, pictures=scene), 0)
    last = map_of(make(values.transpose(0, 2, 3, 1), pictures=scene), 0)
    np.testing.assert_allclose(first.values, expected, atol=1e-5)
    np.testing.assert_allclose(last.values, expected, atol=1e-5)
    np.testing.assert_allclose(map_of(make(values.transpose(0, 2, 3, 1)), 0).values, expected, atol=1e-5)


def test_what_cannot_be_drawn(make, scene):
    with pytest.raises(NonFinite, match="holds 1 values that are not finite, so it is not drawn"):
        map_of(make([[[0.0, np.nan]]]), 0)
    with pytest.raises(UsageError, match=r"The map is \[3, 3\] and the picture \[24, 32\]"):
        map_of(make(np.zeros((1, 3, 3)), pictures=scene), 0)
    with pytest.raises(UsageError, match=r"Values of shape \[1, 2, 3, 4\] per item cannot be drawn"):
        map_of(make(np.zeros((1, 1, 2, 3, 4))), 0)
    with pytest.raises(UsageError, match="Item 1 was asked for; the result has 1 item, 0 to 0"):
        map_of(make(np.zeros((1, 2, 2))), 1)
