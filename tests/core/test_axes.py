"""The algebra of axes, against arrays of coordinates that are moved by numpy in the same way."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from xplain.core.positions import axes as ax
from xplain.core.positions.grid import Grid, describe, grid_of, layer_layout, stated, tokens_of
from xplain.core.positions.layout import Layout

PICTURE = Layout("NCHW", (3, 8, 12))


def after_conv(channels=5, height=8, width=12):
    """The axes of a convolution's result on the picture."""
    start = ax.start("NXXX", PICTURE.item)
    return (start[0], ax.features(channels), ax.resized(start[2], height), ax.resized(start[3], width))


def said(axes):
    return describe(axes, PICTURE)


def rows_and_columns(grid: Grid, values: np.ndarray) -> np.ndarray:
    """What ``MapLayer.maps`` does, for an array of the layer's shape."""
    from xplain.explainers.cam.layers import MapLayer

    return MapLayer("layer", grid).maps(values)


def coordinates(height, width, channels=5):
    """``[1, C, h, w]`` whose values say where they are: 100 row + column."""
    plane = 100 * np.arange(height)[:, None] + np.arange(width)
    return np.broadcast_to(plane, (1, channels, height, width)).astype(np.float32)


MOVES = {
    "tokens": [("reshape", (1, 5, 96)), ("transpose", (0, 2, 1))],
    "channels last": [("transpose", (0, 2, 3, 1))],
    "turned": [("transpose", (0, 1, 3, 2)), ("reshape", (1, 5, 96)), ("transpose", (0, 2, 1))],
    "windows": [
        ("transpose", (0, 2, 3, 1)),
        ("reshape", (1, 2, 4, 3, 4, 5)),
        ("transpose", (0, 1, 3, 2, 4, 5)),
        ("reshape", (1, 6, 16, 5)),
    ],
    "windows and back": [
        ("transpose", (0, 2, 3, 1)),
        ("reshape", (1, 2, 4, 3, 4, 5)),
        ("transpose", (0, 1, 3, 2, 4, 5)),
        ("reshape", (6, 16, 5)),
        ("reshape", (1, 2, 3, 4, 4, 5)),
        ("transpose", (0, 1, 3, 2, 4, 5)),
        ("reshape", (1, 8, 12, 5)),
    ],
}


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)
def test_positions_are_where_numpy_puts_them(moves):
    axes, array = after_conv(), coordinates(8, 12)
    for kind, how in moves:
        axes = ax.reshaped(axes, how) if kind == "reshape" else tuple(axes[k] for k in how)
        array = array.reshape(how) if kind == "reshape" else array.transpose(how)
        assert ax.shape_of(axes) == array.shape
    grid = grid_of(ax.unfolded(axes), PICTURE)
    assert isinstance(grid, Grid), grid
    assert grid.cells == (8, 12)
    np.testing.assert_array_equal(rows_and_columns(grid, array), coordinates(8, 12))


@pytest.mark.parametrize(("lead", "trail"), [(1, 0), (2, 0), (5, 0), (0, 1), (1, 2)])
def test_extra_tokens_are_told_from_positions(lead, trail):
    axes = ax.reshaped(after_conv(), (1, 5, 96))
    axes = (axes[0], axes[2], axes[1])
    parts = [(None, lead)] * bool(lead) + [(axes[1], 96)] + [(None, trail)] * bool(trail)
    whole = (axes[0], ax.concat([part for part, _ in parts], [n for _, n in parts]), axes[2])
    tokens = tokens_of(whole[1], PICTURE)
    assert (tokens.lead, tokens.cells, tokens.trail) == (lead, (8, 12), trail)
    array = np.concatenate(
        [
            np.full((1, lead, 5), -1),
            coordinates(8, 12).reshape(1, 5, 96).transpose(0, 2, 1),
            np.full((1, trail, 5), -1),
        ],
        1,
    )
    np.testing.assert_array_equal(rows_and_columns(grid_of(whole, PICTURE), array), coordinates(8, 12))
    assert ax.sliced(whole[1], lead, 96) == axes[1]
    assert ax.sliced(whole[1], 0, 1) == ()


def test_rolled_rows_are_whole_again_when_they_are_rolled_back():
    axis = after_conv()[2]
    rolled = ax.concat([ax.sliced(axis, 3, 5), ax.sliced(axis, 0, 3)], [5, 3])
    assert tokens_of(rolled, PICTURE) is None
    assert ax.concat([ax.sliced(rolled, 5, 3), ax.sliced(rolled, 0, 5)], [3, 5]) == axis


def test_padded_and_cut_again():
    axis = after_conv()[2]
    padded = ax.resized(axis, 14, before=2, after=4)
    assert (padded[0].base.low, padded[0].base.high) == (Fraction(-2), Fraction(12))
    assert ax.sliced(padded, 2, 8) == axis


def test_merged_patches_cover_the_same_ground():
    axis = after_conv()[2]
    assert ax.sliced(axis, 0, 4, 2) == ax.sliced(axis, 1, 4, 2)
    assert (ax.sliced(axis, 1, 4, 2)[0].base.low, ax.sliced(axis, 1, 4, 2)[0].base.high) == (0, 8)


def test_a_crop_is_no_map_of_the_picture():
    axes = after_conv()
    cut = (*axes[:2], ax.sliced(axes[2], 4, 4), axes[3])
    assert grid_of(cut, PICTURE) == "it covers only 4 to 8 of the 8 along height"


def test_attention_multiplies_tokens_by_tokens():
    axes = ax.reshaped(after_conv(6), (1, 2, 3, 96))
    query = (axes[0], axes[1], axes[3], axes[2])
    matrix = ax.contracted(query, axes, (1, 2, 96, 3), (1, 2, 3, 96))
    assert said(matrix) == "N C:2 (H:8*W:12) (H:8*W:12)"
    value = ax.contracted(matrix, query, (1, 2, 96, 96), (1, 2, 96, 3))
    assert said(value) == "N C:2 (H:8*W:12) C:3"
    assert said(ax.contracted(query, None, (1, 2, 96, 3), (3, 7))) == "N C:2 (H:8*W:12) C:7"


def test_what_is_not_known_is_not_positions():
    axes = (after_conv()[0], *ax.unknown((5, 8, 12)))
    assert grid_of(axes, PICTURE) == "its axes could not be followed from the input"
    assert grid_of((after_conv()[0], ax.features(5)), PICTURE) == "it has none"


def test_a_batch_of_one_item_is_found_behind_a_reshape():
    axes = after_conv(6)
    tokens = ax.reshaped(axes, (1, 6, 96))
    first = (tokens[2], tokens[0], tokens[1])  # [T, N, C]
    heads = ax.reshaped(first, (96, 3, 2))  # [T, N h, d]
    assert said(ax.unfolded((heads[1], heads[0], heads[2]))) == "N C:3 (H:8*W:12) C:2"
    assert said(ax.reshaped(first, (96, 1, 3, 2))) == "(H:8*W:12) N C:3 C:2"
    assert ax.reshaped(ax.reshaped(first, (96, 6)), (96, 1, 6)) == first  # [T N, C] and back


@pytest.mark.parametrize(
    ("shape", "cells", "tokens", "channel"),
    [((97, 24), (8, 12), 1, 1), ((24, 96), (8, 12), 0, 0), ((24, 8, 12), (8, 12), 0, 0), ((8, 12, 24), (8, 12), 0, 2)],
)
def test_a_grid_that_is_stated(shape, cells, tokens, channel):
    grid = stated(shape, cells, tokens, PICTURE)
    assert (grid.cells, grid.channel) == (cells, channel)
    assert rows_and_columns(grid, np.zeros((1, *shape), np.float32)).shape == (1, 24, 8, 12)


@pytest.mark.parametrize(
    ("shape", "cells", "tokens", "why"),
    [
        ((97, 24), (8, 12), 0, "no axis has the 96 tokens"),
        ((96, 96), (8, 12), 0, "both its axes"),
        ((8, 8, 8), (8, 8), 0, "both its first and its last axis"),
        ((96, 24), (96,), 0, "grid has 1 number, and the item has 2 axes"),
    ],
)
def test_a_grid_that_cannot_be(shape, cells, tokens, why):
    assert why in stated(shape, cells, tokens, PICTURE)


def test_the_layout_of_a_layer_follows_its_axes():
    maps = after_conv()
    tokens = ax.reshaped(maps, (1, 5, 96))
    assert layer_layout(maps, (5, 8, 12), PICTURE).axes == "NCHW"
    assert layer_layout((maps[0], *maps[2:], maps[1]), (8, 12, 5), PICTURE).axes == "NHWC"
    assert layer_layout((tokens[0], tokens[2], tokens[1]), (96, 5), PICTURE).axes == "NTC"
    assert layer_layout(None, (96, 5), PICTURE).axes == "NXX"
    series = Layout("NCT", (2, 100))
    item = ax.start("NXX", series.item)
    assert layer_layout((item[0], ax.features(8), ax.resized(item[2], 50)), (8, 50), series).axes == "NCT"
