"""Numbers that a map is told by, for many maps at once: how spread, where, and of which sign; and what scores predict.

Every function takes maps ``[N, *shape]`` and gives float64 ``[N]``. Shares are float32, as maps are; sums are float64
and go along one map alone, so a number does not depend on the maps beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.targets.units import kind_of, probabilities

__all__ = ["entropies", "geometry", "halved", "inner", "largest", "own_geometry"]

BORDER = 1 / 8
"""How wide the border is, as a share of each side."""


def geometry(maps: Array, axes: str = "") -> dict[str, Array]:
    """The columns of a record that describe its map; see ``xplain.audit.stores.schema``.

    Channels, the planes of a volume and the frames of a video are added up. What has no rows and columns, a series
    above all, counts as one line: its border is both ends, it has a place along the line alone, and no corners. A map
    of zeros has a scale of 0, a peak in its first position, and no shares: these are NaN.

    Args:
        maps: Maps ``[N, *shape]``.
        axes: Letters of ``shape``; empty where they are not known: the last two are then rows and columns.
    """
    flat = np.ascontiguousarray(maps, np.float32).reshape(len(maps), -1)
    mass = np.abs(flat)
    scale, whole = mass.max(axis=1, initial=0.0).astype(np.float64), mass.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.divide(mass, whole[:, None], out=mass, dtype=np.float64, casting="same_kind")
    plane = _plane(shares.reshape(maps.shape), axes)
    height, width = plane.shape[1:]
    place = plane.reshape(len(plane), -1).argmax(axis=1)
    rows = plane.sum(axis=2, dtype=np.float64)
    inside = ((plane @ inner(width).astype(np.float32)) * inner(height)).sum(axis=1, dtype=np.float64)
    left = plane @ _half(width).astype(np.float32)
    upward = (whole > 0).all() and (flat.min(axis=1, initial=0.0) >= 0).all()
    total = whole if upward else flat.sum(axis=1, dtype=np.float64)
    found = {
        "scale": scale,
        "total": total,
        "positive": (1.0 + total / np.where(whole > 0, whole, 1.0)) / 2,
        "gini": gini(shares),
        "complexity": complexity(shares),
        "peak_y": (place // width + 0.5) / height,
        "peak_x": (place % width + 0.5) / width,
        "border": 1.0 - inside,
    }
    upper = _half(height)
    halves = {"corner0": left * upper, "corner1": (rows - left) * upper}
    halves |= {"corner2": left * (1 - upper), "corner3": (rows - left) * (1 - upper)}
    found |= {name: one.sum(axis=1, dtype=np.float64) for name, one in halves.items()}
    nothing = whole == 0
    for name in ("positive", "gini", "complexity", "border", "corner0", "corner1", "corner2", "corner3"):
        found[name] = np.where(nothing, np.nan, found[name])
    if height == 1:
        found |= {name: np.full(len(maps), np.nan) for name in ("peak_y", *(f"corner{k}" for k in range(4)))}
    return found


def own_geometry(maps: Array, extents: Array | None, placed: bool, axes: str = "") -> dict[str, Array]:
    """The same, of each map's own positions.

    Args:
        maps: Maps ``[N, *shape]``.
        extents: Positions that are each map's own, where shorter ones are filled up; None where all are.
        placed: Whether positions lie beside one another; those of a table's row do not, and have no border or corners.
        axes: Letters of ``shape``, see ``geometry``.
    """
    if extents is None:
        found = geometry(maps, axes)
    else:
        found = {name: np.full(len(maps), np.nan) for name in geometry(np.ones((1, 1), np.float32))}
        for extent in np.unique(extents[extents > 0]):
            rows = np.flatnonzero(extents == extent)
            for name, values in geometry(maps[rows, :extent]).items():
                found[name][rows] = values
    if not placed:
        found |= {name: np.full(len(maps), np.nan) for name in found if name.startswith(("peak", "border", "corner"))}
    return found


def gini(shares: Array) -> Array:
    """Gini coefficient of n shares each: 0 where all are alike, 1 - 1 / n where one has all.

    ``sum over i of (2 i - n - 1) s_(i) / n`` with the shares ascending.

    Source:
        Hurley and Rickard, Comparing Measures of Sparsity, 2009.
    """
    count = shares.shape[1]
    weights = ((2 * np.arange(1, count + 1) - count - 1) / count).astype(shares.dtype)
    ranked = np.sort(shares, axis=1)
    ranked *= weights  # no product of matrices, which rounds by the number of rows
    return np.asarray(ranked.sum(axis=1, dtype=np.float64))


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


def _plane(mass: Array, axes: str) -> Array:
    """Magnitudes ``[N, *shape]`` as ``[N, rows, columns]``; one row where there is nothing but a line."""
    if mass.ndim <= 2:
        return np.asarray(mass.reshape(len(mass), 1, -1))
    if mass.ndim == 3 and (len(axes) != 2 or axes == "HW"):
        return mass
    if len(axes) != mass.ndim - 1:
        return np.asarray(mass.reshape(len(mass), -1, *mass.shape[-2:]).sum(axis=1))
    plane = [k for k, letter in enumerate(axes, 1) if letter in "HW"]
    if len(plane) == 2:
        others = [k for k in range(1, mass.ndim) if k not in plane]
        moved = np.ascontiguousarray(mass.transpose(0, *others, *plane))
        return np.asarray(moved.reshape(len(mass), -1, *moved.shape[-2:]).sum(axis=1))
    channel = axes.find("C") + 1
    line = mass.sum(axis=channel) if channel else mass
    return np.asarray(line.reshape(len(mass), 1, -1))


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
