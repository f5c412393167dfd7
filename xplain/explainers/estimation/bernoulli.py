"""Bounds of a probability from so many tries, by the relative entropy of two coins (Chernoff)."""

from __future__ import annotations

import math

__all__ = ["lower_bound", "upper_bound"]

_HALVINGS = 40


def upper_bound(share: float, tried: int, level: float) -> float:
    """The largest q with ``tried * KL(share, q) <= level``; the truth is above it with chance exp(-level) at most."""
    return _edge(share, 1.0, tried, level)


def lower_bound(share: float, tried: int, level: float) -> float:
    """The smallest q with ``tried * KL(share, q) <= level``."""
    return _edge(share, 0.0, tried, level)


def _edge(share: float, end: float, tried: int, level: float) -> float:
    """Where between ``share`` and ``end`` the entropy reaches the level, by halving."""
    inside, outside = share, end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if tried * _entropy(share, middle) <= level else (inside, middle)
    return inside if tried else end


def _entropy(p: float, q: float) -> float:
    """KL divergence of a coin with share p from one with share q, in nats."""
    q = min(max(q, 1e-15), 1 - 1e-15)
    left = p * math.log(p / q) if p > 0 else 0.0
    right = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return left + right
