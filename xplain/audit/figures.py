"""Numbers that a map is told by, for many maps at once: how spread, where, and of which sign; and what scores predict.

Every function takes maps ``[N, *shape]`` and gives float64 ``[N]``. Sums are float64 and go along one map alone, so a
number does not depend on the maps beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.units import kind_of, probabilities

__all__ = ["entropies", "geometry", "relative"]

BORDER = 1 / 8
"""How wide the border is, as a share of each side."""


def geometry(maps: Array) -> dict[str, Array]:
    """The columns of a record that describe its map; see ``xplain.audit.schema``.

    Of a volume, or a video, the planes are added up; a series and a row of a table count as one line. A map of zeros
    has a scale of 0, a peak in its first position, and no shares: these are NaN.
    """
    values = maps.astype(np.float64)
    flat = values.reshape(len(values), -1)
    mass = np.abs(flat)
    scale, whole = mass.max(axis=1, initial=0.0), mass.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = mass / whole[:, None]
        plane = _plane(np.abs(values)) / whole[:, None, None]
    height, width = plane.shape[1:]
    place = plane.reshape(len(plane), -1).argmax(axis=1)
    upper, left = _half(height), _half(width)
    found = {
        "scale": scale,
        "total": flat.sum(axis=1),
        "positive": np.where(flat > 0, shares, 0.0).sum(axis=1),
        "gini": gini(shares),
        "complexity": complexity(shares),
        "peak_y": (place // width + 0.5) / height,
        "peak_x": (place % width + 0.5) / width,
        "border": 1.0 - ((plane @ _inner(width)) @ _inner(height)),
    }
    for k, (rows, columns) in enumerate((a, b) for a in (upper, 1 - upper) for b in (left, 1 - left)):
        found[f"corner{k}"] = (plane @ columns) @ rows
    nothing = whole == 0
    for name in ("positive", "gini", "complexity", "border", "corner0", "corner1", "corner2", "corner3"):
        found[name] = np.where(nothing, np.nan, found[name])
    return found


def gini(shares: Array) -> Array:
    """Gini coefficient of n shares each: 0 where all are alike, 1 - 1 / n where one has all.

    ``sum over i of (2 i - n - 1) s_(i) / n`` with the shares ascending.

    Source:
        Hurley and Rickard, Comparing Measures of Sparsity, 2009.
    """
    count = shares.shape[1]
    weights = 2 * np.arange(1, count + 1) - count - 1
    return np.asarray((np.sort(shares, axis=1) * weights).sum(axis=1) / count)


def complexity(shares: Array) -> Array:
    """Entropy of the shares in nats: 0 where one has all, log n where all are alike.

    Source:
        Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.
    """
    safe = np.where(shares > 0, shares, 1.0)
    return np.asarray(-(safe * np.log(safe)).sum(axis=1))


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


def relative(values: Array) -> tuple[Array, Array]:
    """Values divided by the largest magnitude of each item, float16, and that magnitude, float64 ``[N]``.

    Half precision ends at 65,504 and at 6e-8; so divided, a value keeps three digits whatever its unit.
    """
    flat = np.abs(values.reshape(len(values), -1)).astype(np.float64)
    scale = flat.max(axis=1, initial=0.0)
    by = np.where(scale > 0, scale, 1.0).reshape(-1, *[1] * (values.ndim - 1))
    return (values / by).astype(np.float16), scale


def _plane(mass: Array) -> Array:
    """Magnitudes ``[N, *shape]`` as ``[N, rows, columns]``."""
    if mass.ndim <= 2:
        return np.asarray(mass.reshape(len(mass), 1, -1))
    return np.asarray(mass.reshape(len(mass), -1, *mass.shape[-2:]).sum(axis=1))


def _half(count: int) -> Array:
    """How much of each of so many cells lies in the first half."""
    return np.asarray(np.clip(count / 2 - np.arange(count), 0.0, 1.0))


def _inner(count: int) -> Array:
    """How much of each cell lies inside the border; all of one that has no neighbour."""
    if count == 1:
        return np.ones(1)
    edges = np.arange(count + 1) / count
    inside = np.clip(edges[1:], BORDER, 1 - BORDER) - np.clip(edges[:-1], BORDER, 1 - BORDER)
    return np.asarray(inside * count)
