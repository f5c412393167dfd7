"""How far methods agree on one item: the order of positions, the most important ones, and where all of them look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.results.attribution import Attribution

__all__ = ["TOP", "Pair", "agreement", "pairs", "ranks", "votes"]

TOP = 0.1
"""Share of positions that counts as the most important ones."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods on one item.

    Args:
        first: Name of a method.
        second: Name of the other.
        correlation: Spearman's, of their values; 1 for the same order of positions.
        shared: Positions among the most important of both, as a share of those of either: 1 for the same ones.
    """

    first: str
    second: str
    correlation: float
    shared: float


def agreement(one_item: Sequence[Attribution]) -> float | None:
    """Mean Spearman correlation over all pairs of methods, 1 for the same order; None for fewer than two maps alike.

    Args:
        one_item: Results of one item each, of one target.
    """
    known = [one.correlation for one in pairs(one_item)]
    return float(np.mean(known)) if known else None


def pairs(one_item: Sequence[Attribution]) -> list[Pair]:
    """Every two methods whose values lie at the same positions, and are not all alike.

    Channels are summed away. An unsigned map is compared with the sizes of a signed one.
    """
    found = []
    for a, b in combinations(one_item, 2):
        first, second = _flat(a), _flat(b)
        if first.shape != second.shape or first.size < 3:
            continue
        if not (a.signed and b.signed):
            first, second = np.abs(first), np.abs(second)
        x, y = ranks(first), ranks(second)
        if x.std() > 0 and y.std() > 0:
            best, other = _most(first), _most(second)
            shared = float((best & other).sum() / (best | other).sum())
            found.append(Pair(a.method, b.method, float(np.corrcoef(x, y)[0, 1]), shared))
    return found


def votes(one_item: Sequence[Attribution]) -> Array:
    """How many methods have each position among their most important ones, as a share of all, in the shape of a map.

    Raises:
        UsageError: the maps are not of one shape.
    """
    maps = [_positions(one) for one in one_item]
    if len({one.shape for one in maps}) != 1:
        shapes = ", ".join(f"{one.method} {list(values.shape)}" for one, values in zip(one_item, maps, strict=True))
        raise UsageError(f"Maps are compared position by position, but they are of different shapes: {shapes}.")
    sums: Array = np.mean([_most(one.ravel()).reshape(one.shape) for one in maps], axis=0)
    return sums


def _most(values: Array) -> Array:
    """The ``TOP`` share of positions with the highest values; where many share the lowest of those, all of them."""
    bar = np.sort(values)[-max(1, round(TOP * len(values)))]
    most: Array = values >= bar
    return most


def _positions(a: Attribution) -> Array:
    values = np.asarray(a.values[0], np.float64)
    axes = a.layout.partition(" ")[0][1:]
    if "C" in axes and values.ndim == len(axes):
        values = values.sum(axis=axes.index("C"))
    return values


def _flat(a: Attribution) -> Array:
    return _positions(a).ravel()


def ranks(values: Array) -> Array:
    """Ranks from 0, equal values sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    placed = np.empty(len(values))
    placed[order] = np.arange(len(values))
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Array = np.bincount(group, placed)[group] / counts[group]
    return shared
