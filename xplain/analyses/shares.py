"""Maps as shares: how much of a map's positive mass lies in each of few cells, so that maps of any scale compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["SIDE", "directions", "peaks", "pooled", "ranks", "shares"]

SIDE = 8
"""Cells a side: finer ones told planted shortcuts no better, and need more items."""


def shares(maps: Any, side: int = SIDE) -> Array:
    """Each map's positive mass in ``side x side`` cells, divided by its sum: float32 ``[N, g, g]``.

    A cell is a whole number of the map's positions where that goes, else positions are shared out between cells by
    their area; maps of fewer positions than cells keep their own. A map without positive values, or one that holds
    NaN (an item that failed), is NaN throughout: no answer is not an even answer.

    Args:
        maps: ``[N, H, W]``; ``[N, T]`` is taken as ``[N, 1, T]``.
        side: Cells a side, at most.

    Raises:
        UsageError: another shape.
    """
    given = np.asarray(maps)
    given = given[:, None] if given.ndim == 2 else given
    if given.ndim != 3 or not given.size or side < 1:
        raise UsageError(f"The maps are {list(given.shape)}; accepted: [N, H, W], or [N, T], and at least one cell.")
    down, across = (_areas(n, min(n, side)) for n in given.shape[1:])
    out = np.empty((len(given), len(down), len(across)), np.float32)
    for start in range(0, len(given), _ROWS):
        some = given[start : start + _ROWS].astype(np.float64)
        bad = np.asarray(~np.isfinite(some).all(axis=(1, 2)))
        cells = down @ np.maximum(np.where(bad[:, None, None], 0, some), 0) @ across.T
        total = cells.sum(axis=(1, 2), keepdims=True)
        out[start : start + _ROWS] = np.divide(cells, total, out=np.full_like(cells, np.nan), where=total > 0)
    return out


def pooled(values: Any, cells: tuple[int, int]) -> Array:
    """Means of ``[N, H, W]`` over rows and columns of cells, positions shared out by area: float64 ``[N, h, w]``."""
    given = np.asarray(values, np.float64)
    down, across = (_areas(n, c) for n, c in zip(given.shape[1:], cells, strict=True))
    return np.asarray((down / down.sum(axis=1, keepdims=True)) @ given @ (across / across.sum(axis=1, keepdims=True)).T)


def directions(relevance: Any) -> Array:
    """Position-free relevance without its scale: rows divided by the sum of their magnitudes, float32 ``[N, R]``.

    A row of zeros, or one that holds NaN, is NaN throughout.
    """
    rows = np.asarray(relevance, np.float32)
    if rows.ndim != 2:
        raise UsageError(f"The relevance is {list(rows.shape)}; accepted: [N, R], one number per channel.")
    total = np.abs(rows).sum(axis=1, keepdims=True)
    out = np.full_like(rows, np.nan)
    np.divide(rows, total, out=out, where=total > 0)
    return out


def peaks(maps: Any, window: tuple[float, float] = (0.125, 0.125)) -> Array:
    """The middle of the window that holds most of each map's positive mass, as shares of height and width, ``[N, 2]``.

    One bright position of a speckled map says little; a window of this share of the sides says where the area lies.

    Args:
        maps: ``[N, H, W]``.
        window: Height and width of the window, as shares of the map's.
    """
    given = np.maximum(np.nan_to_num(np.asarray(maps, np.float64)), 0)
    high, wide = (max(1, round(share * n)) for share, n in zip(window, given.shape[1:], strict=True))
    sums = np.pad(given.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    within = sums[:, high:, wide:] - sums[:, :-high, wide:] - sums[:, high:, :-wide] + sums[:, :-high, :-wide]
    y, x = np.divmod(within.reshape(len(given), -1).argmax(axis=1), within.shape[2])
    return np.stack([(y + high / 2) / given.shape[1], (x + wide / 2) / given.shape[2]], axis=1)


def ranks(rows: Any) -> Array:
    """Rank of each value within its row, from 0, equal values sharing their mean rank: float64 ``[N, D]``."""
    given = np.asarray(rows)
    order = np.argsort(given, axis=1, kind="stable")
    ordered = np.take_along_axis(given, order, axis=1)
    starts = np.concatenate([np.ones((len(given), 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    places = np.arange(given.shape[1])
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    ends = np.concatenate([starts[:, 1:], np.ones((len(given), 1), bool)], axis=1)
    last = np.minimum.accumulate(np.where(ends, places, given.shape[1])[:, ::-1], axis=1)[:, ::-1]
    out = np.empty(given.shape, np.float64)
    np.put_along_axis(out, order, (first + last) / 2, axis=1)
    return out


def _areas(positions: int, cells: int) -> Array:
    """What of each position falls to each cell, ``[cells, positions]``; columns add up to 1."""
    edges = np.linspace(0, positions, cells + 1)
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(positions)[None]
    return np.asarray(np.maximum(0, np.minimum(high, at + 1) - np.maximum(low, at)))


_ROWS = 4096
