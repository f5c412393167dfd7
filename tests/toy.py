"""A model small enough to know by heart, scores W @ x, that counts every row which reaches it; and questions to it."""

from __future__ import annotations

import numpy as np

from xplain import native
from xplain.core.abilities import Abilities
from xplain.core.edits import Coalitions, Untouched
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Reading, Score
from xplain.core.target import SCORES, label
from xplain.engine import Settings, drive

X = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
ZERO = np.zeros((1, 1), np.float32)


def coalitions(count=8, seed=1, x=X):
    keep = np.random.default_rng(seed).integers(0, 2, (count, 6)).astype(np.uint8)
    return Score(x, Coalitions(np.arange(6, dtype=np.int32), keep, ZERO), label(1))


def flow(*queries):
    found = []
    for query in queries:
        found.append((yield query))
    return Reading(found)


def run(model, *queries, **settings):
    readings, cost = drive([flow(*queries)], model, Settings(**settings))
    return readings[0].values, cost


class Toy:
    answers = frozenset({Score})

    def __init__(self, features=6, classes=3, digest="toy-1", price=None, fail_after=None, partial=""):
        self.weights = np.random.default_rng(5).integers(-9, 9, (classes, features)).astype(np.float64)
        self.outline = Outline(
            source="toy",
            kind="function",
            digest=digest,
            inputs=(TensorSpec("x", (None, features), "float32"),),
            input="x",
            layout=Layout("NS", (features,)),
            scores=ScoreSpec("y", classes, "logits", "softmax", "given", partial),
        )
        self.abilities, self.fail_after = Abilities(price=price), fail_after
        self.rows = []

    def answer(self, query):
        start, stop = query.rows
        out = np.empty((stop - start, *query.x.shape[1:]), np.float32)
        native.fill(query.x, query.edits, start, stop, out, query.layout_in(self.outline))
        if self.fail_after is not None and len(self.rows) + len(out) > self.fail_after:
            raise RuntimeError("the toy broke")
        self.rows += [row.tobytes() for row in out]
        count = 1 if isinstance(query.edits, Untouched) else query.edits.count
        return query.target.read({SCORES: self.scores(out)}, np.arange(start, stop) // count).reshape(len(out), -1)

    def scores(self, rows):
        return rows.astype(np.float64) @ self.weights.T
