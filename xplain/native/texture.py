"""Textures by example: grown pixel by pixel from what surrounds them, or quilted of blocks along their best seams."""

from __future__ import annotations

import numpy as np

from xplain import _native
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["MOST_WINDOW", "SEED", "bell", "grow", "onion", "quilt"]

MOST_WINDOW = 63
"""Pixels of a window's edge, at most."""

SEED = 3
"""Pixels of the edge of the piece of the sample that growing begins with."""


def grow(
    sample: Array, size: tuple[int, int], window: int, slack: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """A picture grown outward from a piece of the sample, and where in that each pixel comes from.

    For each place p, from the seed on, ``d(q) = sum of w_n |sample(q + n) - out(p + n)|^2`` over known n at all
    q whose window lies in the sample; of those with ``d <= min d (1 + slack / 1000)`` one is drawn. Whole numbers
    throughout, so the result is the same on every machine. Efros and Leung, ICCV 1999.

    Args:
        sample: uint8 ``[h, w, C]``.
        size: Height and width.
        window: Pixels of the surroundings' edge, odd.
        slack: Per mille of the smallest distance that others may lie above it.
        rng: Draws the seed and the choices.

    Returns:
        uint8 ``[H, W, C]``, and int32 ``[H, W]``: row times the sample's width plus column.

    Raises:
        UsageError: a window that is even, or larger than the sample.
    """
    if window % 2 == 0 or not SEED <= window <= min(MOST_WINDOW, *sample.shape[:2]):
        most = min(MOST_WINDOW, *sample.shape[:2])
        raise UsageError(option="window", got=window, accepted=f"an odd number of pixels from {SEED} to {most}")
    out, source, order = onion(sample, size, rng)
    draws = rng.random(len(order))
    _native.grow(np.ascontiguousarray(sample), out, source, order, draws, bell(window), slack=slack)
    return out, source


def quilt(
    sample: Array, size: tuple[int, int], block: int, overlap: int, slack: int, rng: np.random.Generator
) -> Array:
    """A picture laid out with blocks of the sample that fit what is there, each cut along the seam of least difference.

    Efros and Freeman, SIGGRAPH 2001. Args as of ``grow``; ``block`` and ``overlap`` are in pixels.

    Raises:
        UsageError: a block larger than the sample, or no larger than the overlap.
    """
    if not 2 <= block <= min(sample.shape[:2]):
        raise UsageError(option="block", got=block, accepted=f"2 to {min(sample.shape[:2])} pixels, as the sample has")
    if not 1 <= overlap < block:
        raise UsageError(option="overlap", got=overlap, accepted=f"1 to {block - 1} pixels: a block's are {block}")
    step = block - overlap
    rows, columns = (max(1, -(-(n - overlap) // step)) for n in size)
    out = np.zeros((rows * step + overlap, columns * step + overlap, sample.shape[2]), np.uint8)
    draws = rng.random((rows, columns))
    _native.quilt(np.ascontiguousarray(sample), out, draws, block=block, overlap=overlap, slack=slack)
    return np.ascontiguousarray(out[: size[0], : size[1]])


def bell(window: int) -> Array:
    """What neighbours count: a Gaussian of a sixth of the window, as whole numbers up to 255, int32 ``[W, W]``."""
    apart = np.arange(window) - window // 2
    line = np.exp(-0.5 * (apart / (window / 6.4)) ** 2)
    weights: Array = np.maximum(1, np.rint(255 * np.outer(line, line))).astype(np.int32)
    return weights


def onion(sample: Array, size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """A picture with its seed in the middle, where its pixels come from, and the order in which the others are filled.

    Ring after ring around the seed, each ring in the order in which one reads.
    """
    high, wide = size
    edge = min(SEED, high, wide)
    out, source = np.zeros((high, wide, sample.shape[2]), np.uint8), np.full((high, wide), -1, np.int32)
    top, left = (int(rng.integers(0, n - edge + 1)) for n in sample.shape[:2])
    y, x = (high - edge) // 2, (wide - edge) // 2
    out[y : y + edge, x : x + edge] = sample[top : top + edge, left : left + edge]
    rows, columns = np.mgrid[top : top + edge, left : left + edge]
    source[y : y + edge, x : x + edge] = rows * sample.shape[1] + columns
    places = np.flatnonzero(source.reshape(-1) < 0)
    ring = np.maximum(np.abs(places // wide - y - edge // 2), np.abs(places % wide - x - edge // 2))
    return out, source, places[np.argsort(ring, kind="stable")].astype(np.int32)
