"""Windows and soft grids over volumes: the same values as the definitions, whatever the order of axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from xplain import native
from xplain.core.edits import SoftGrid, Windows
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.native import reference
from xplain.native.volumes import grid_cells

ZERO = np.zeros((1,) * 5, np.float32)
GRID = (4, 5, 7)


@pytest.mark.parametrize(("axes", "item"), [("NCDHW", (2, *GRID)), ("NDHWC", (*GRID, 2)), ("NTCHW", (4, 2, 5, 7))])
def test_a_cuboid_hides_its_positions_in_all_channels(axes, item):
    layout = Layout(axes, item)
    x = np.arange(1, 2 * np.prod(item) + 1, dtype=np.float32).reshape(2, *item)
    boxes = np.array([[1, 2, 3, 3, 4, 6], [-2, 0, 0, 9, 9, 9], [0, 0, 0, 0, 5, 7], [3, 4, 6, 4, 5, 7]], np.int32)
    out = np.empty((8, *item), np.float32)
    native.fill(x, Windows(boxes, ZERO - 1), 0, 8, out, layout)
    for row, (n, box) in enumerate(itertools.product(range(2), boxes)):
        wanted = np.moveaxis(x[n], layout.channel_axis - 1, 0).copy()
        z0, y0, x0, z1, y1, x1 = np.clip(box, 0, [*GRID, *GRID])
        wanted[:, z0:z1, y0:y1, x0:x1] = -1
        assert np.array_equal(np.moveaxis(out[row], layout.channel_axis - 1, 0), wanted)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("cells", [(2, 3, 3), (4, 5, 7), (1, 1, 1)])
def test_sums_of_grids_are_sums_of_their_masks(cells, power):
    rng = np.random.default_rng(1)
    edits = SoftGrid(2**63 + 9, 40, cells, 0.4, ZERO, first=2**33)
    weights = rng.standard_normal((2, 40, 3))
    got = native.accumulate(edits, weights, GRID, power=power)
    assert np.allclose(got, reference.accumulate(edits, weights, GRID, power), atol=1e-5)


def test_sums_of_cuboids_count_where_they_cover():
    rng = np.random.default_rng(2)
    corners = np.sort(rng.integers(-2, 9, (2, 30, 3, 2)), axis=-1)
    boxes = np.moveaxis(corners, -1, -2).reshape(2, 30, 6).astype(np.int32)
    weights = rng.standard_normal((2, 30, 2))
    for edits in (Windows(boxes, ZERO), Windows(boxes[0], ZERO)):
        got = native.accumulate(edits, weights, GRID)
        assert np.allclose(got, reference.accumulate(edits, weights, GRID), atol=1e-10)
    assert native.coverage(Windows(boxes[0], ZERO), GRID).shape == (1, *GRID)


def test_cells_and_shifts_are_the_references():
    edits = SoftGrid(12345678901234567890, 7, (3, 2, 4), 0.3, ZERO, first=2**40)
    cells, shifts = grid_cells(edits, (31, 64, 20))
    wanted = reference.soft_grid_cells(edits.seed, edits.first, 7, edits.cells, edits.keep, (31, 64, 20))
    assert np.array_equal(cells, wanted[0])
    assert np.array_equal(shifts, wanted[1])


def test_every_position_is_kept_as_often_as_asked():
    edits = SoftGrid(3, 4000, (2, 2, 2), 0.3, ZERO)
    mean = native.coverage(edits, GRID)[0] / 4000
    assert np.abs(mean - 0.3).max() < 0.04


def test_cuboids_of_a_plane_and_grids_that_do_not_fit_are_refused():
    x = np.zeros((1, 2, 5, 7), np.float32)
    box = np.zeros((1, 6), np.int32)
    with pytest.raises(UsageError, match=r"cuboids .*, but the positions are \[5, 7\]"):
        native.fill(x, Windows(box, np.zeros((1, 1, 1, 1), np.float32)), 0, 1, x.copy(), Layout("NCHW", (2, 5, 7)))
    with pytest.raises(UsageError, match=r"cells are 5 x 5 x 7; accepted: 1 to 4 x 1 to 5 x 1 to 7"):
        native.coverage(SoftGrid(0, 3, (5, 5, 7), 0.5, ZERO), GRID)
