"""Interval arithmetic: which rectangle of a tensor can change when a rectangle of its input does.

Boxes are int64 ``[M, 4]`` of (y, x, height, width), one per mask, inside the plane; an empty one is all zero.
"""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.native.delta import Kernel

__all__ = ["clipped", "live_taps", "live_taps_by_axis", "moved", "picked", "reached", "union"]


def _boxes(top: Array, left: Array, bottom: Array, right: Array) -> Array:
    """From half-open corners."""
    height, width = np.maximum(bottom - top, 0), np.maximum(right - left, 0)
    box = np.stack([top, left, height, width], axis=1)
    box[(height == 0) | (width == 0)] = 0
    return box


def clipped(corners: Array, plane: tuple[int, int]) -> Array:
    """Boxes of the part inside the plane of ``[M, 4]`` corners (y0, x0, y1, x1), half open."""
    c = corners.astype(np.int64)
    y, x = np.clip(c[:, 0::2], 0, plane[0]), np.clip(c[:, 1::2], 0, plane[1])
    return _boxes(y[:, 0], x[:, 0], y[:, 1], x[:, 1])


def _axis(
    low: Array, extent: Array, size: int, stride: int, pad: int, dilation: int, length: int
) -> tuple[Array, Array]:
    """Outputs ``o`` with ``o * stride - pad + k * dilation`` in [low, low + extent) for some tap k, as half open."""
    first = -((-(low + pad - (size - 1) * dilation)) // stride)  # ceil
    last = (low + extent - 1 + pad) // stride + 1
    first, last = (np.minimum(np.maximum(at, 0), length) for at in (first, last))  # np.clip is several times slower
    return first, np.where(extent > 0, last, first)


def reached(boxes: Array, kernel: Kernel, plane: tuple[int, int]) -> Array:
    """The outputs that a sliding kernel reaches from the boxes; ``plane`` is the output's."""
    (ky, kx), (sy, sx), (py, px), (dy, dx), _ = kernel
    top, bottom = _axis(boxes[:, 0], boxes[:, 2], ky, sy, py, dy, plane[0])
    left, right = _axis(boxes[:, 1], boxes[:, 3], kx, sx, px, dx, plane[1])
    return _boxes(top, left, bottom, right)


def union(*several: Array) -> Array:
    """The smallest boxes around others; empty ones do not count."""
    out = several[0]
    for other in several[1:]:
        top, left = np.minimum(out[:, 0], other[:, 0]), np.minimum(out[:, 1], other[:, 1])
        bottom = np.maximum(out[:, 0] + out[:, 2], other[:, 0] + other[:, 2])
        right = np.maximum(out[:, 1] + out[:, 3], other[:, 1] + other[:, 3])
        both = _boxes(top, left, bottom, right)
        out = np.where(out[:, 2:3] == 0, other, np.where(other[:, 2:3] == 0, out, both))
    return out


def moved(boxes: Array, by: tuple[int, int], plane: tuple[int, int]) -> Array:
    """Boxes after padding or cropping: shifted, and clipped to the new plane."""
    y, x = boxes[:, 0] + by[0], boxes[:, 1] + by[1]
    return clipped(np.stack([y, x, y + boxes[:, 2], x + boxes[:, 3]], axis=1), plane)


def picked(boxes: Array, rows: Array, columns: Array) -> Array:
    """Boxes after every output row and column picked one of the input, in non-decreasing order."""
    top, bottom = np.searchsorted(rows, boxes[:, 0]), np.searchsorted(rows, boxes[:, 0] + boxes[:, 2])
    left, right = np.searchsorted(columns, boxes[:, 1]), np.searchsorted(columns, boxes[:, 1] + boxes[:, 3])
    return _boxes(top, left, bottom, right)


def live_taps(source: Array, out: Array, kernel: Kernel) -> Array:
    """Per mask, the pairs of output pixel and kernel tap that read inside the source's box: int64 ``[M]``."""
    rows, columns = live_taps_by_axis(source, out, kernel)
    return rows * columns


def live_taps_by_axis(source: Array, out: Array, kernel: Kernel) -> tuple[Array, Array]:
    """The same along rows and along columns, whose product it is."""
    rows = _live(source[:, 0], source[:, 2], out[:, 0], out[:, 2], *kernel.flat[::2])
    columns = _live(source[:, 1], source[:, 3], out[:, 1], out[:, 3], *kernel.flat[1::2])
    return rows, columns


def _live(
    low: Array, extent: Array, first: Array, count: Array, size: int, stride: int, pad: int, dilation: int
) -> Array:
    total = np.zeros(len(low), np.int64)
    for k in range(size):
        begin = -((-(low + pad - k * dilation)) // stride)
        end = (low + extent - 1 + pad - k * dilation) // stride + 1
        total += np.maximum(np.minimum(end, first + count) - np.maximum(begin, first), 0)
    return np.where(extent > 0, total, 0)
