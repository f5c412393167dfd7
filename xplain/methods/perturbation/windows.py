"""Sliding windows over a plane of positions."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["extent", "sliding_windows"]


def extent(value: int | tuple[int, int], plane: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an option given as one number or two; one number means the width alone on a 1-row plane."""
    if isinstance(value, tuple):
        return value
    return (1, value) if plane[0] == 1 else (value, value)


def sliding_windows(
    plane: tuple[int, int], patch: tuple[int, int], stride: tuple[int, int]
) -> tuple[Array, tuple[int, int]]:
    """All windows of ``patch`` at steps of ``stride``, row by row, the last of each axis clipped at the border.

    Along an axis of length n there are ``ceil((n - patch) / stride) + 1`` windows, from 0 on: the same windows as
    captum's ``Occlusion``.

    Returns:
        int32 ``[M, 4]`` of (y0, x0, y1, x1), and (windows per column, windows per row).

    Raises:
        UsageError: the patch is larger than the plane.
    """
    for what, size, length in zip(("high", "wide"), patch, plane, strict=True):
        if size > length:
            raise UsageError(
                f"The patch is {size} positions {what}, but the input is only {length} {what}. Use a patch of at most "
                f"{plane[0]} x {plane[1]}."
            )
    starts = [np.arange(-(-(n - p) // s) + 1) * s for n, p, s in zip(plane, patch, stride, strict=True)]
    top, left = (grid.reshape(-1) for grid in np.meshgrid(*starts, indexing="ij"))
    bottom, right = np.minimum(top + patch[0], plane[0]), np.minimum(left + patch[1], plane[1])
    return np.stack([top, left, bottom, right], axis=1).astype(np.int32), (len(starts[0]), len(starts[1]))
