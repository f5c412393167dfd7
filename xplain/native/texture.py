"""Textures by example: grown pixel by pixel, at once or on levels of a pyramid, or quilted of blocks along seams."""

from __future__ import annotations

import numpy as np

from xplain import _native
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = [
    "FINE",
    "MOST_WINDOW",
    "SEED",
    "bell",
    "grow",
    "halved",
    "most_levels",
    "onion",
    "pyramid",
    "quilt",
    "window_above",
]

MOST_WINDOW = 63
"""Pixels of a window's edge, at most."""

FINE = 5
"""Pixels of the window's edge on the levels of a pyramid that have one above them, which sees farther."""

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
    _fitting(sample, window)
    out, source, order = onion(sample, size, rng)
    draws = rng.random(len(order))
    _native.grow(np.ascontiguousarray(sample), out, source, order, draws, bell(window), slack=slack)
    return out, source


def pyramid(
    sample: Array, size: tuple[int, int], window: int, levels: int, slack: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """A picture settled from coarse to fine, and where in the sample each of its pixels comes from.

    The smallest level is grown, with a window of two thirds. Every other level is filled in the order in which one
    reads: the pixel at p becomes that of the q with the smallest
    ``sum |sample(q + n) - out(p + n)|^2``, n over the pixels before p in a window of ``FINE`` and over a window of half
    the size about p's parent, a level above. Of equal distances the first counts. Wei and Levoy, SIGGRAPH 2000.

    Args:
        sample: uint8 ``[h, w, C]``.
        size: Height and width.
        window: Pixels of the surroundings' edge, odd.
        levels: Of the pyramid, each half as large as the one below; 1 is ``grow`` alone.
        slack: As of ``grow``, for the smallest level.
        rng: Draws what ``grow`` does of the smallest level.

    Returns:
        As ``grow``.

    Raises:
        UsageError: a window that is even, or larger than the sample; more levels than the sample has for it.
    """
    _fitting(sample, window)
    if not 1 <= levels <= (most := most_levels(sample.shape[:2], window)):
        raise UsageError(option="levels", got=levels, accepted=f"1 to {most} for this sample and window")
    samples, sizes = [np.ascontiguousarray(sample)], [size]
    for _ in range(levels - 1):
        samples.append(halved(samples[-1]))
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    over = samples.pop()
    above, source_above = grow(over, sizes.pop(), window_above(window, levels), slack, rng)
    for one, (high, wide) in zip(reversed(samples), reversed(sizes), strict=True):
        out, source = np.zeros((high, wide, one.shape[2]), np.uint8), np.zeros((high, wide), np.int32)
        _native.level(one, out, source, over, above, source_above, window=FINE, above_window=FINE // 2 | 1)
        over, above, source_above = one, out, source
    return above, source_above


def _fitting(sample: Array, window: int) -> None:
    if window % 2 == 0 or not SEED <= window <= min(MOST_WINDOW, *sample.shape[:2]):
        most = min(MOST_WINDOW, *sample.shape[:2])
        raise UsageError(option="window", got=window, accepted=f"an odd number of pixels from {SEED} to {most}")


def halved(picture: Array) -> Array:
    """A picture uint8 ``[h, w, C]`` half as large: smoothed by 1 4 6 4 1 along both axes, every second pixel."""
    found = picture.astype(np.int64)
    for axis in (0, 1):
        wide = np.pad(found, [(2, 2) if k == axis else (0, 0) for k in range(3)], mode="edge")
        count = found.shape[axis]
        found = np.sum([w * wide.take(range(k, k + count), axis) for k, w in enumerate((1, 4, 6, 4, 1))], axis=0)
    return np.ascontiguousarray(((found + 128) // 256)[::2, ::2]).astype(np.uint8)


def window_above(window: int, levels: int) -> int:
    """The edge of the window by which the smallest of some levels is grown: two thirds, for it covers twice as much."""
    return window if levels == 1 else window * 2 // 3 | 1


def most_levels(sample: tuple[int, int], window: int) -> int:
    """How many levels a sample has on whose smallest one a window fits."""
    count, side = 1, -(-min(sample) // 2)
    while side >= max(window_above(window, 2), FINE):
        count, side = count + 1, -(-side // 2)
    return count


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
