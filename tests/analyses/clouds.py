"""Clouds of points whose truth is known."""

from __future__ import annotations

import numpy as np


def sphere(dimension: int, count: int = 600, width: int = 64, seed: int = 0) -> np.ndarray:
    """Points of a sphere of so many dimensions, bent smoothly into a wider space."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, dimension + 1))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    a = rng.normal(size=(dimension + 1, width)) / np.sqrt(dimension + 1)
    b = rng.normal(size=(width, width)) / np.sqrt(width)
    return np.tanh(z @ a) @ b


def groups(count: int = 300, kinds: int = 5, width: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around so many centres, and the number of each point's centre."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, kinds, count)
    return rng.normal(size=(kinds, width))[kind] * 4 + rng.normal(size=(count, width)), kind
