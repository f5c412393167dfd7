"""How far methods agree on one item: rank correlations of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from xplain.core.edits import Array
from xplain.results.attribution import Attribution

__all__ = ["agreement", "ranks"]


def agreement(one_item: Sequence[Attribution]) -> float | None:
    """Mean Spearman correlation over all pairs of methods, 1 for the same order; None for fewer than two maps alike.

    Values are compared where positions are: channels are summed away, and maps of another shape are left out. An
    unsigned map is compared with the sizes of a signed one.

    Args:
        one_item: Results of one item each, of one target.
    """
    found = [_pair(a, b) for a, b in combinations(one_item, 2)]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _pair(a: Attribution, b: Attribution) -> float | None:
    first, second = _flat(a), _flat(b)
    if first.shape != second.shape or first.size < 3:
        return None
    if not (a.signed and b.signed):
        first, second = np.abs(first), np.abs(second)
    x, y = ranks(first), ranks(second)
    if x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _flat(a: Attribution) -> Array:
    values = np.asarray(a.values[0], np.float64)
    axes = a.layout.partition(" ")[0][1:]
    if "C" in axes and values.ndim == len(axes):
        values = values.sum(axis=axes.index("C"))
    return values.ravel()


def ranks(values: Array) -> Array:
    """Ranks from 0, equal values sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    placed = np.empty(len(values))
    placed[order] = np.arange(len(values))
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    sums: Array = np.bincount(group, placed)[group] / counts[group]
    return sums
