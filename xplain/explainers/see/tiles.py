"""Items as small squares, to be drawn, and as rows of pixels, to be compared."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.edits import Array
from xplain.core.lenses.scene import Some

__all__ = ["pixels_of", "small", "tiles_of"]


def small(pictures: Array, side: int) -> Array:
    """Pictures uint8 ``[N, H, W, 3]`` as squares ``[N, side, side, 3]``: means of what falls on each pixel."""
    down = pictures
    for axis in (1, 2):
        extent = down.shape[axis]
        if extent <= side:
            continue
        edges = np.linspace(0, extent, side + 1).round().astype(int)[:-1]
        counts = np.diff([*edges, extent])
        shape = [1, 1, 1, 1]
        shape[axis] = side
        down = np.add.reduceat(down.astype(np.float32), edges, axis=axis) / counts.reshape(shape)
    if down.shape[1:3] != (side, side):
        down = np.moveaxis(enlarge(np.moveaxis(down.astype(np.float32), 3, 1), (side, side)), 1, 3)
    return np.clip(np.rint(down), 0, 255).astype(np.uint8)


def tiles_of(some: Some, side: int) -> Array | None:
    """Items as squares, uint8 ``[N, side, side, 3]``; None for what has no look, such as numbers without axes."""
    if some.drawn is not None:
        return some.drawn(side)
    return None if some.pictures is None else small(some.pictures, side)


def pixels_of(some: Some, side: int) -> Array:
    """Items as rows to be compared: pixels of pictures of a side, uint8; of anything else all its numbers, float32."""
    if some.pictures is None:
        return np.asarray(some.view.x.reshape(len(some), -1), np.float32)
    return small(some.pictures, side).reshape(len(some), -1)
