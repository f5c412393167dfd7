"""Numbers that a map is told by, for many maps at once: how spread, where, and of which sign; and what scores predict.

Every number is float64 and goes along one map alone, so it does not depend on the maps beside it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.targets.units import kind_of, probabilities
from xplain.native import describe

__all__ = ["described", "entropies", "geometry", "halved", "inner", "largest"]

BORDER = 1 / 8
"""How wide the border is, as a share of each side."""


def geometry(maps: Array, axes: str = "") -> dict[str, Array]:
    """The columns of a record that describe its map; see ``described``."""
    return described(maps, axes=axes)[0]


def described(
    maps: Array, extents: Array | None = None, placed: bool = True, axes: str = ""
) -> tuple[dict[str, Array], Array]:
    """The columns of a record that describe its map, and the map as it is kept: divided by its scale, in float16.

    Half precision ends at 65,504 and at 6e-8; divided by the largest magnitude, a value keeps three digits whatever its
    unit. How spread a map is is told of what is kept. See ``xplain.audit.stores.schema`` for the columns.

    Channels, the planes of a volume and the frames of a video are added up. What has no rows and columns, a series
    above all, counts as one line: its border is both ends, it has a place along the line alone, and no corners. A map
    of zeros has a scale of 0, a peak in its first position, and no shares: these are NaN. One that is not finite has
    nothing, and is kept as NaN.

    Args:
        maps: Maps ``[N, *shape]``.
        extents: Positions that are each map's own, where shorter ones are filled up with zeros; None where all are.
        placed: Whether positions lie beside one another; those of a table's row do not, and have no border or corners.
        axes: Letters of ``shape``; empty where they are not known: the last two are then rows and columns.
    """
    if extents is None:
        found, kept = _described(maps, axes)
    else:
        found, kept = _described(np.ones((1, 1), np.float32), "")
        found, kept = {name: np.full(len(maps), np.nan) for name in found}, np.full(maps.shape, np.nan, np.float16)
        for extent in np.unique(extents[extents > 0]):
            rows = np.flatnonzero(extents == extent)
            some, kept[rows, :extent] = _described(maps[rows, :extent], "")
            kept[rows, extent:] = maps[rows, extent:]
            for name, values in some.items():
                found[name][rows] = values
    if not placed:
        found |= {name: np.full(len(maps), np.nan) for name in found if name.startswith(("peak", "border", "corner"))}
    return found, kept


def _described(maps: Array, axes: str) -> tuple[dict[str, Array], Array]:
    """The same, where every map has all its positions."""
    order, (layers, height, width) = _plane(maps.shape[1:], axes)
    laid = maps.transpose(0, *(1 + axis for axis in order))
    upper, left = _half(height), _half(width)
    rows, columns = np.stack([inner(height), upper, 1 - upper]), np.stack([inner(width), left, 1 - left])
    found = describe(laid.reshape(-1, layers, height, width), rows, columns, threads=1)
    mass, place = np.where(found.mass > 0, found.mass, np.nan), found.place
    shares = found.parts / mass[:, None, None]
    told = {
        "scale": found.scale,
        "total": found.total,
        "positive": (1.0 + found.total / mass) / 2,
        "gini": found.gini,
        "complexity": found.entropy,
        "peak_y": (place // width + 0.5) / height,
        "peak_x": (place % width + 0.5) / width,
        "border": np.maximum(1.0 - shares[:, 0, 0], 0.0),
        **{f"corner{k}": shares[:, 1 + k // 2, 1 + k % 2] for k in range(4)},
    }
    if height == 1:
        told |= {name: np.full(len(maps), np.nan) for name in ("peak_y", *(f"corner{k}" for k in range(4)))}
    return told, found.codes.reshape(laid.shape).transpose(0, *(1 + np.argsort(order)))


def complexity(shares: Array) -> Array:
    """Entropy of the shares in nats: 0 where one has all, log n where all are alike.

    Source:
        Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
    """
    logs = np.maximum(shares, np.finfo(shares.dtype).tiny)  # times 0 where a share is 0
    np.log(logs, out=logs)
    logs *= shares
    return np.asarray(-logs.sum(axis=1, dtype=np.float64))


def entropies(scores: Array, outline: Outline) -> Array:
    """Entropy of each item's probabilities in nats, float64 ``[N]``; NaN where scores are none and become none.

    Logits of a file without a softmax go through one; with a sigmoid behind them, entropies of the classes add up.
    """
    spec = replace(outline.scores, kind=kind_of(outline, scores))
    if spec.kind == "logits" and spec.link == "none":
        spec = replace(spec, link="softmax" if scores.shape[1] > 1 else "sigmoid")
    found = probabilities(scores, spec) if scores.shape[1] else None
    if found is None:
        return np.full(len(scores), np.nan)
    if spec.link == "sigmoid":
        return complexity(found) + complexity(1.0 - found)
    return complexity(found)


def halved(values: Array, scale: Array) -> Array:
    """Values ``[N, ...]`` divided by each item's scale where it has one, in float16.

    Half precision ends at 65,504 and at 6e-8; divided by the largest magnitude, a value keeps three digits whatever its
    unit.
    """
    by = np.where(scale > 0, scale, np.ones((), scale.dtype)).reshape(-1, *[1] * (values.ndim - 1))
    return np.ascontiguousarray((values / by).astype(np.float16))


def largest(values: Array) -> Array:
    """The largest magnitude of each item's values, in their type."""
    return np.asarray(np.abs(values.reshape(len(values), -1)).max(axis=1, initial=0.0))


def _plane(shape: tuple[int, ...], axes: str) -> tuple[list[int], tuple[int, int, int]]:
    """An order of a map's axes in which those that are added up come first, and how many layers, rows and columns.

    One row where there is nothing but a line.
    """
    every = list(range(len(shape)))
    if len(shape) <= 1:
        return every, (1, 1, math.prod(shape))
    if len(axes) != len(shape):
        plane = every[-2:]
    else:
        plane = [axis for axis in every if axes[axis] in "HW"]
        if len(plane) != 2:  # a line, and the channels that are added up
            channels = [axis for axis in every if axes[axis] == "C"]
            line = [axis for axis in every if axis not in channels]
            layers = math.prod(shape[axis] for axis in channels)
            return channels + line, (layers, 1, math.prod(shape[axis] for axis in line))
    others = [axis for axis in every if axis not in plane]
    height, width = (shape[axis] for axis in plane)
    return others + plane, (math.prod(shape[axis] for axis in others), height, width)


def _half(count: int) -> Array:
    """How much of each of so many cells lies in the first half."""
    return np.asarray(np.clip(count / 2 - np.arange(count), 0.0, 1.0))


def inner(count: int) -> Array:
    """How much of each cell lies inside the border; all of one that has no neighbour."""
    if count == 1:
        return np.ones(1)
    edges = np.arange(count + 1) / count
    inside = np.clip(edges[1:], BORDER, 1 - BORDER) - np.clip(edges[:-1], BORDER, 1 - BORDER)
    return np.asarray(inside * count)
