"""A map without overlap: every point gets a cell of its own, as near to its place as all cells together allow."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["evened", "lattice"]

_TOGETHER = 1024
"""Points that are assigned at once; of more, the plane is halved first."""


def lattice(places: Array, shape: tuple[int, int] | None = None) -> Array:
    """A cell (row, column) for every point, none twice, with the least sum of squared moves: linear assignment.

    More than 1,024 points are halved first, again and again, across the longer side of their cells, each half with its
    points in order: assignment costs the cube of the number. Within each part the sum is the least.

    Args:
        places: ``[N, 2]``: x to the right, y upwards.
        shape: Rows and columns; None: the squarest that hold all.

    Returns:
        int64 ``[N, 2]``: row from the top, and column.

    Raises:
        UsageError: fewer cells than points.
    """
    points = np.asarray(places, np.float64)
    count = len(points)
    columns = int(np.ceil(np.sqrt(count)))
    rows, columns = shape or (-(-count // columns), columns)
    if rows * columns < count:
        raise UsageError(f"A grid of {rows} x {columns} has {rows * columns} cells for {count} points.")
    spot = evened(points)
    spot = np.stack([(1 - spot[:, 1]) * (rows - 1), spot[:, 0] * (columns - 1)], axis=1)
    cells = np.empty((count, 2), np.int64)
    waiting = [(np.arange(count), (0, rows, 0, columns))]
    while waiting:
        some, (top, bottom, left, right) = waiting.pop()
        high, wide = bottom - top, right - left
        if len(some) <= _TOGETHER and high * wide <= 2 * _TOGETHER:
            cells[some] = _assigned(spot[some], top, bottom, left, right)
            continue
        axis = 0 if high >= wide else 1
        middle = (high if axis == 0 else wide) // 2
        share = middle / (high if axis == 0 else wide)
        order = some[np.argsort(spot[some, axis], kind="stable")]
        first, second = _halves((top, bottom, left, right), axis, middle)
        cut = round(len(some) * share)
        cut = min(max(cut, len(some) - _cells(second)), _cells(first))
        waiting += [(order[:cut], first), (order[cut:], second)]
    return cells


def evened(places: Array) -> Array:
    """Places moved to the middle of the unit square and scaled, both axes alike, until they fill one of its sides."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    return np.asarray((places - (low + high) / 2) / extent + 0.5)


def _assigned(spot: Array, top: int, bottom: int, left: int, right: int) -> Array:
    from scipy.optimize import linear_sum_assignment

    rows, columns = np.mgrid[top:bottom, left:right]
    grid = np.stack([rows.ravel(), columns.ravel()], axis=1)
    cost = ((spot[:, None] - grid[None]) ** 2).sum(axis=2)
    return np.asarray(grid[linear_sum_assignment(cost)[1]])


_Box = tuple[int, int, int, int]


def _halves(box: _Box, axis: int, middle: int) -> tuple[_Box, _Box]:
    top, bottom, left, right = box
    if axis == 0:
        return (top, top + middle, left, right), (top + middle, bottom, left, right)
    return (top, bottom, left, left + middle), (top, bottom, left + middle, right)


def _cells(box: _Box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])
