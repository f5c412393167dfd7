"""What a lane keeps of a reading: the map as small as the method made it, and a vector of relevance beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ItemError
from xplain.core.lane import CHANNELS, Lane
from xplain.core.query import Reading

__all__ = ["filled", "native_of", "pooled", "relevance_of"]

_SIDE = 8
"""Cells per axis of a map's own vector."""


def native_of(reading: Reading, values: Any, error: bool = False) -> Array:
    """A map as the method made it, float32 ``[N, *native]``.

    What was enlarged is given as it was before. What states fewer true cells than positions is averaged over them:
    exact where windows tile the item, as occlusion's do with a step of their size. A standard error is averaged too,
    which bounds that of the mean from above.
    """
    if reading.native is not None and not error:
        return np.ascontiguousarray(reading.native, dtype=np.float32)
    maps = np.asarray(values, dtype=np.float32)
    cells = tuple(reading.resolution or ())
    cells = cells[max(0, len(cells) - maps.ndim + 1) :]
    fits = len(cells) == maps.ndim - 1 and all(1 <= c <= n for c, n in zip(cells, maps.shape[1:], strict=True))
    return pooled(maps, cells) if fits else np.ascontiguousarray(maps)


def filled(maps: Array, shape: tuple[int, ...]) -> Array:
    """Maps ``[N, *map]`` of shorter texts filled up with zeros to the lane's own shape.

    Raises:
        ItemError: one is longer.
    """
    if maps.shape[1:] == shape:
        return maps
    if maps.ndim != 2 or len(shape) != 1:
        raise ItemError(f"The method makes maps of {list(maps.shape[1:])}; planned are maps of {list(shape)}.")
    if maps.shape[1] > shape[0]:
        raise ItemError(f"The text has {maps.shape[1]} features; this audit was planned for {shape[0]} at most.")
    return np.pad(maps, ((0, 0), (0, shape[0] - maps.shape[1])))


def pooled(maps: Array, cells: Sequence[int]) -> Array:
    """Maps ``[N, *map]`` averaged over nearly equal blocks of positions, float32 ``[N, *cells]``."""
    if tuple(maps.shape[1:]) == tuple(cells):
        return np.ascontiguousarray(maps, dtype=np.float32)
    found = maps.astype(np.float64)
    for axis, count in enumerate(cells, 1):
        starts = np.arange(count) * found.shape[axis] // count
        widths = np.diff([*starts, found.shape[axis]])
        spread = [1] * found.ndim
        spread[axis] = count
        found = np.add.reduceat(found, starts, axis=axis) / widths.reshape(spread)
    return np.ascontiguousarray(found, dtype=np.float32)


def relevance_of(lane: Lane, maps: Array, channels: Array | None) -> Array:
    """The vector of each item, float32 ``[N, R]``.

    What the layer's channels add, which does not say where; projected to 64 numbers where there are more. For a method
    that reads no layer, its map averaged over at most 8 cells per axis.
    """
    if (
        channels is None
        and lane.layout == "NS"
        and maps.ndim == 2
        and lane.relevance in (0, maps.shape[1])
        and maps.shape[1] <= CHANNELS
    ):
        return np.ascontiguousarray(maps, dtype=np.float32)  # columns have no neighbours to be averaged with
    if channels is None:
        cells = [min(_SIDE, n) for n in maps.shape[1:]]
        if len(cells) > 2 or int(np.prod(cells)) > CHANNELS:
            cells = [1] * (len(cells) - 2) + cells[-2:]
        return pooled(maps, cells).reshape(len(maps), -1)
    matrix = _projection(lane.seed, lane.relevance, channels.shape[1])
    found = channels.astype(np.float64)
    return np.ascontiguousarray(found if matrix is None else found @ matrix, dtype=np.float32)


@lru_cache(maxsize=4)
def _projection(seed: int, wanted: int, channels: int) -> Array | None:
    """A lane's matrix, made once."""
    return Lane("", "", "", "", relevance=wanted, seed=seed).projection(channels)
