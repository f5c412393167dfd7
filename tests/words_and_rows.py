"""A model of texts and one of rows whose explanations are known: what a word or a column adds is its value."""

from __future__ import annotations

import re

import numpy as np

import xplain

WORTH = {"good": 2.0, "not": -1.5, "bad": -3.0, "film": 0.25}
ROWS = {
    "age": [20.0, 30.0, 40.0, 50.0, 60.0],
    "job": ["clerk", "nurse", "clerk", "smith", "clerk"],
    "years": [1, 2, 2, 3, 9],
}


def worth(texts):
    """Each known word adds its worth."""
    rows = [sum(WORTH.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
    return np.stack([rows, np.negative(rows)], axis=1)


def premium(table):
    """What the columns add: their Shapley values are known."""
    jobs = {"clerk": 0.0, "nurse": 1.0, "smith": 4.0}
    rows = [0.1 * a + jobs.get(j, -8.0) + y for a, j, y in zip(table["age"], table["job"], table["years"], strict=True)]
    return np.stack([rows, np.negative(rows)], axis=1)


def readers():
    return {
        "words": xplain.text(worth, labels=["up", "down"]),
        "rows": xplain.table(premium, columns=ROWS, labels=["more", "less"]),
    }


def failing(table):
    """A model that cannot take a row."""
    raise RuntimeError(f"a secret path, and {len(table)} columns")
