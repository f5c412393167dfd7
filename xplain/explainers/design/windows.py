"""Sliding windows over a grid of positions: rectangles of a plane, cuboids of a volume."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["extent", "sliding_windows"]

_AXES = ("deep", "high", "wide")


def extent(value: int | tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, ...]:
    """An option given as one number or one per axis, as one per axis; a number means the width alone on a 1-row plane.

    Raises:
        UsageError: another number of extents than positions have axes.
    """
    if not isinstance(value, tuple):
        return (1, value) if len(grid) == 2 and grid[0] == 1 else (value,) * len(grid)
    if len(value) != len(grid):
        shown = "(height, width)" if len(grid) == 2 else "(depth, height, width)"
        raise UsageError(f"Extents {value} are for {len(value)} axes; positions of {list(grid)} take {shown}.")
    return value


def sliding_windows(
    grid: tuple[int, ...], patch: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[Array, tuple[int, ...]]:
    """All windows of ``patch`` at steps of ``stride``, row by row, the last of each axis clipped at the border.

    Along an axis of length n there are ``ceil((n - patch) / stride) + 1`` windows, from 0 on: the same windows as
    captum's ``Occlusion``.

    Returns:
        int32 ``[M, 4]`` of (y0, x0, y1, x1), for volumes ``[M, 6]`` of (z0, y0, x0, z1, y1, x1); and the number of
        windows along each axis.

    Raises:
        UsageError: the patch is larger than the grid.
    """
    for what, size, length in zip(_AXES[-len(grid) :], patch, grid, strict=True):
        if size > length:
            raise UsageError(
                f"The patch is {size} positions {what}, but the input is only {length} {what}. Use a patch of at most "
                f"{' x '.join(map(str, grid))}."
            )
    starts = [np.arange(-(-(n - p) // s) + 1) * s for n, p, s in zip(grid, patch, stride, strict=True)]
    low = [corner.reshape(-1) for corner in np.meshgrid(*starts, indexing="ij")]
    high = [np.minimum(one + size, length) for one, size, length in zip(low, patch, grid, strict=True)]
    return np.stack([*low, *high], axis=1).astype(np.int32), tuple(len(one) for one in starts)
