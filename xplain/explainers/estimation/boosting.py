"""Boosted trees over coalitions, whose exact Shapley values follow from their leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array

__all__ = ["Leaves", "boosted"]

_DEPTH = 4
_RATE = 0.15
_LEAST = 4
_GAIN = 1e-9
"""Share of the first spread below which a split explains nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """A sum of leaves: each adds ``value`` where the features ``on`` are shown and those ``off`` are hidden.

    Args:
        on: bool ``[L, S]``.
        off: bool ``[L, S]``.
        value: ``[L]``.
    """

    on: Array
    off: Array
    value: Array

    def at(self, rows: Array) -> Array:
        """The sum for coalitions of 0 and 1, ``[n, S]``: a leaf is reached where no condition is broken."""
        broken = (1 - rows) @ self.on.T.astype(np.float64) + rows @ self.off.T.astype(np.float64)
        return np.asarray((broken == 0) @ self.value)

    def shapley(self) -> Array:
        """The exact Shapley values of the sum as a game, ``[S]``.

        A leaf of a features shown and b hidden is worth its value to exactly those coalitions, so each that must be
        shown gets ``value (a-1)! b! / (a+b)!`` and each that must be hidden ``-value a! (b-1)! / (a+b)!``.
        """
        a, b = self.on.sum(axis=1), self.off.sum(axis=1)
        f = math.factorial
        shown = np.array([f(p - 1) * f(q) / f(p + q) if p else 0.0 for p, q in zip(a, b, strict=True)])
        hidden = np.array([f(p) * f(q - 1) / f(p + q) if q else 0.0 for p, q in zip(a, b, strict=True)])
        return np.asarray((self.value * shown) @ self.on - (self.value * hidden) @ self.off)


def boosted(rows: Array, scores: Array, weights: Array, rounds: int) -> Leaves:
    """Gradient boosting of the weighted squared error by trees of depth 4, at least 4 rows in a leaf, shrunk by 0.15.

    Args:
        rows: Coalitions of 0 and 1, ``[n, S]``.
        scores: What is fitted, ``[n]``.
        weights: Weight of each row.
        rounds: Trees; fewer where nothing is left that a split explains.
    """
    players, rest = rows.shape[1], scores.astype(np.float64)
    shown = rows.astype(np.float64)
    floor = _GAIN * float(weights @ rest**2)
    found: list[tuple[Array, Array, float]] = []
    for _ in range(rounds):
        leaves = [(np.arange(len(rows)), np.zeros(players, bool), np.zeros(players, bool))]
        for _ in range(_DEPTH):
            leaves = [part for leaf in leaves for part in _split(leaf, shown, rest, weights, floor)]
        if len(leaves) == 1:
            break
        for inside, on, off in leaves:
            step = _RATE * float(weights[inside] @ rest[inside] / weights[inside].sum())
            rest[inside] -= step
            found.append((on, off, step))
    if not found:
        return Leaves(np.zeros((0, players), bool), np.zeros((0, players), bool), np.zeros(0))
    return Leaves(*(np.array([one[k] for one in found]) for k in range(3)))


_Leaf = tuple[Array, Array, Array]


def _split(leaf: _Leaf, rows: Array, rest: Array, weights: Array, floor: float) -> list[_Leaf]:
    """A leaf in two by the feature that explains most, or itself."""
    inside, on, off = leaf
    if len(inside) < 2 * _LEAST:
        return [leaf]
    z, w = rows[inside], weights[inside]
    y = rest[inside]
    total, mass = w @ y, w.sum()
    count, heavy, sums = z.sum(axis=0), w @ z, (w * y) @ z
    both = np.maximum(heavy * (mass - heavy), 1e-300)
    gain = np.where(
        (count >= _LEAST) & (len(z) - count >= _LEAST), (sums * mass - total * heavy) ** 2 / (mass * both), 0
    )
    best = int(gain.argmax())
    if gain[best] <= floor:
        return [leaf]
    here = z[:, best] > 0.5
    more, less = on.copy(), off.copy()
    more[best], less[best] = True, True
    return [(inside[here], more, off), (inside[~here], on, less)]
