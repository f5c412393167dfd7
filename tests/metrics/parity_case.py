"""Items, a small net, maps and masks for the comparison of metrics with another implementation; numpy alone.

The net is ``scores = V tanh(U x)``, whose gradient is written down, so that both sides explain alike without a library.
``benchmarks/audit/parity.py`` runs the other implementation on it, and keeps what it says in ``quantus.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

N, SIDE, CLASSES = 4, 12, 5
SIZE = SIDE * SIDE
_RNG = np.random.default_rng(20)
U = (_RNG.normal(size=(16, SIZE)) / 6).astype(np.float32).astype(np.float64)
V = _RNG.normal(size=(CLASSES, 16)).astype(np.float32).astype(np.float64)
X = _RNG.uniform(0.2, 1, (N, 1, SIDE, SIDE)).astype(np.float32)
MASKS = np.zeros((N, SIDE, SIDE), bool)
MASKS[:, 3:8, 2:9] = True
GOLDEN = Path(__file__).parent / "quantus.json"
SUBSETS, SUBSET = 40, 20
STEPS, REACH = 4, 0.05


def scores(rows: np.ndarray[Any, Any], u: Any = U, v: Any = V) -> np.ndarray[Any, Any]:
    """``[R, CLASSES]``."""
    return np.asarray(np.tanh(rows.reshape(len(rows), -1).astype(np.float64) @ u.T) @ v.T)


LABELS = scores(X).argmax(axis=1)


def explained(rows: Any, labels: Any, u: Any = U, v: Any = V) -> np.ndarray[Any, Any]:
    """Input times gradient, ``[R, SIDE, SIDE]``."""
    flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
    slopes = 1 - np.tanh(flat @ u.T) ** 2
    return np.asarray((flat * ((slopes * v[labels]) @ u)).reshape(-1, SIDE, SIDE))


MAPS = explained(X, LABELS)


def neighbours() -> list[np.ndarray[Any, Any]]:
    """What is added to the items, step by step."""
    rng = np.random.default_rng(7)
    return [rng.uniform(-REACH, REACH, X.shape).astype(np.float32) for _ in range(STEPS)]


def subsets() -> np.ndarray[Any, Any]:
    """Positions that are hidden together, ``[SUBSETS, N, SUBSET]``, as the other side draws them at seed 5."""
    old = np.random.RandomState(5)
    return np.array([[old.choice(SIZE, SUBSET, replace=False) for _ in range(N)] for _ in range(SUBSETS)])


def golden() -> dict[str, Any]:
    """What the other implementation says."""
    return dict(json.loads(GOLDEN.read_text()))
