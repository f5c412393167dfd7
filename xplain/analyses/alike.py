"""The same thing again: do the places that explanations point at look alike, wherever they lie?

A watermark, a ruler, a tag is one object, printed into many pictures, often anywhere in them; what a class honestly
shows differs from picture to picture. So windows around the peaks of maps are compared with one another under all small
shifts, and pictures whose window returns in others of their class are the lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Again", "again", "likeness", "windows"]

PARTNERS = 8
"""Others in which a window must return: one pair that looks alike may be a double of one picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Again:
    """Which windows of a class return in others of it.

    Args:
        score: Mean likeness of each window to the 8 most alike, ``[N]``.
        level: What windows of other classes, compared in the same way and number, reach at most.
        members: Rows whose score passes the level, best first.
    """

    score: Array
    level: float
    members: Array


def windows(pictures: Any, boxes: Array, slack: tuple[int, int]) -> Array:
    """What lies in each box and ``slack`` positions around it, ``[N, C, h + 2 s, w + 2 s]``; moved inside at the edges.

    Args:
        pictures: ``[N, C, H, W]``.
        boxes: (y0, x0, y1, x1), half open, all of one size, ``[N, 4]``.
        slack: Positions by which two windows may be shifted against each other, down and across.
    """
    given = np.asarray(pictures, np.float32)
    high, wide = (int(n) for n in boxes[0, 2:] - boxes[0, :2] + 2 * np.array(slack))
    if high > given.shape[2] or wide > given.shape[3]:
        raise UsageError(
            f"A window of {high} x {wide} does not fit into {list(given.shape[2:])}; ask for smaller boxes."
        )
    top = np.clip(boxes[:, 0] - slack[0], 0, given.shape[2] - high)
    left = np.clip(boxes[:, 1] - slack[1], 0, given.shape[3] - wide)
    return np.stack([one[:, y : y + high, x : x + wide] for one, y, x in zip(given, top, left, strict=True)])


def likeness(some: Array, others: Array, slack: tuple[int, int]) -> Array:
    """How alike the middle of each window is to another window, at the best shift: ``[N, M]`` in [-1, 1].

    The normalised cross-correlation, all channels together: ``max over shifts of <t, w> / (|t| |w|)``, both with each
    channel's mean taken off. By Fourier transforms, so that all shifts cost as much as a few.

    Args:
        some: ``[N, C, h + 2 s, w + 2 s]``, as ``windows`` cuts them; their middles ``[h, w]`` are compared.
        others: ``[M, C, h + 2 s, w + 2 s]``.
        slack: The ``s`` down and across.

    Source:
        Lewis, Fast Normalized Cross-Correlation, Vision Interface 1995.
    """
    size = (some.shape[2] - 2 * slack[0], some.shape[3] - 2 * slack[1])
    middle = some[:, :, slack[0] : slack[0] + size[0], slack[1] : slack[1] + size[1]].astype(np.float64)
    middle = middle - middle.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt((middle**2).sum(axis=(1, 2, 3), keepdims=True))
    middle = np.divide(middle, length, out=np.zeros_like(middle), where=length > 1e-9)
    turned = np.conj(np.fft.rfft2(middle, s=some.shape[2:]))
    wide = others.astype(np.float64) - others.mean(axis=(2, 3), keepdims=True)
    there = np.fft.rfft2(wide)
    sums, squares = (_boxed(one, size) for one in (wide, wide**2))
    energy = np.sqrt(np.maximum(squares - sums**2 / (size[0] * size[1]), 0).sum(axis=1))
    out = np.empty((len(some), len(others)))
    for n, one in enumerate(turned):
        products = np.fft.irfft2((there * one).sum(axis=1), s=others.shape[2:])
        products = products[:, : energy.shape[1], : energy.shape[2]]
        found = np.divide(products, energy, out=np.zeros_like(products), where=energy > 1e-9)
        out[n] = found.reshape(len(others), -1).max(axis=1)
    return np.clip(out, -1, 1)


def again(own: Array, others: Array, slack: tuple[int, int], partners: int = PARTNERS) -> Again:
    """The windows of a class that return in others of the class, more than windows of other classes return there.

    The score of a window is its mean likeness to the ``partners`` windows of the class that are most alike; the level
    is the largest such score of as many windows of other classes, so that one honest set in some passes it by little.

    Args:
        own: Windows of the class, ``[N, C, h + 2 s, w + 2 s]``.
        others: Windows of other classes, likewise.
        slack: The ``s``.
        partners: Others that count.

    Cost:
        (N + M) N Fourier transforms of a window: 120 and 120 of 24 x 26 take about 1 s of a core.

    Raises:
        UsageError: fewer than twice as many windows as partners on either side.
    """
    if min(len(own), len(others)) < 2 * partners:
        raise UsageError(f"There are {len(own)} and {len(others)} windows; at least {2 * partners} of each are needed.")
    mutual = likeness(own, own, slack)
    mutual = np.maximum(mutual, mutual.T)
    np.fill_diagonal(mutual, -1)
    foreign = np.maximum(likeness(others, own, slack), likeness(own, others, slack).T)
    score, null = (np.partition(one, -partners, axis=1)[:, -partners:].mean(axis=1) for one in (mutual, foreign))
    order = np.argsort(-score, kind="stable")
    level = float(null.max())
    return Again(score, level, order[score[order] > level])


def _boxed(values: Array, size: tuple[int, int]) -> Array:
    """Sums over every window of a size."""
    sums = np.pad(values.cumsum(axis=2).cumsum(axis=3), ((0, 0), (0, 0), (1, 0), (1, 0)))
    high, wide = size
    return np.asarray(
        sums[..., high:, wide:] - sums[..., :-high, wide:] - sums[..., high:, :-wide] + sums[..., :-high, :-wide]
    )
