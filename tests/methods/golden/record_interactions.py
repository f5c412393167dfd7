"""Writes the golden values of interaction indices: shapiq 1.4.1 on a game of 7 players.

python -m venv peer && peer/bin/pip install shapiq==1.4.1
peer/bin/python tests/methods/golden/record_interactions.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from shapiq import ExactComputer

PLAYERS = 7


def game(coalitions: np.ndarray) -> np.ndarray:
    """Tables of random numbers, one per coalition; nobody is worth 0."""
    worths = np.random.default_rng(11).normal(size=2**PLAYERS)
    numbers = np.asarray(coalitions, dtype=int) @ 2 ** np.arange(PLAYERS - 1, -1, -1)
    return worths[numbers] - worths[0]


if __name__ == "__main__":
    computer = ExactComputer(n_players=PLAYERS, game=game)
    found = {}
    for name in ("FSII", "k-SII", "STII"):
        values = computer(name, order=2)
        main = np.array([values[(i,)] for i in range(PLAYERS)])
        pairs = np.zeros((PLAYERS, PLAYERS))
        for i in range(PLAYERS):
            for j in range(i + 1, PLAYERS):
                pairs[i, j] = pairs[j, i] = values[(i, j)]
        found[f"{name.lower()} main"], found[f"{name.lower()} pairs"] = main, pairs
    np.savez(Path(__file__).parent / "interactions.npz", **found)
