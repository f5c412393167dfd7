"""Pairs of coalitions by the Shapley kernel: sizes that can be paid for whole, and draws of the others.

What kernel-shap and interactions ask; how the answers are fitted is theirs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.edits import Array
from xplain.core.query import Score
from xplain.explainers.design.draws import Distinct, Sample, sized
from xplain.explainers.design.game import Game
from xplain.explainers.estimation.sampling import uniforms

__all__ = ["Asked", "Pairs"]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one item's pairs have said so far, those of sizes that are asked whole first.

    Args:
        coalitions: 0 and 1, ``[n, S]``; each stands for its complement too.
        worths: Of each and of its complement, ``[n, 2]``.
        gains: The worth of each less that of its complement, ``[n]``.
        weights: Weight of each in a regression.
        correction: Finite population correction of each; 0 for those that were sure to be asked.
        total: The worth of everybody less that of nobody.
        freedom: Degrees of freedom of an error over the drawn ones.
    """

    coalitions: Array
    worths: Array
    gains: Array
    weights: Array
    correction: Array
    total: float
    freedom: int


@dataclass
class Pairs:
    """A draw is a coalition and its complement, of a size that is not asked for all its coalitions.

    Args:
        game: Whose coalitions are drawn.
        pairs: How many are paid for, those of sizes that are asked whole among them.
        enough: Draws below which not all numbers that are fitted can be told apart, with an error.
    """

    game: Game
    pairs: int
    enough: int = 0
    listed: Array = field(init=False)
    nobody: Array = field(init=False)
    everybody: Array = field(init=False)
    known: Array = field(init=False)

    def __post_init__(self) -> None:
        players = self.game.players
        self.view = self.game.view
        sizes = np.arange(1, players // 2 + 1)
        weights = (players - 1) / (sizes * (players - sizes)) * np.where(2 * sizes == players, 1, 2)
        weights /= weights.sum() if players > 1 else 1.0
        counts = [math.comb(players, int(s)) // (2 if 2 * s == players else 1) for s in sizes]
        left, full = self.pairs, 0
        while full < len(sizes) and left * weights[full] / weights[full:].sum() >= counts[full] * (1 - 1e-9):
            left -= counts[full]
            full += 1
        if sum(counts[full:]) <= 4:  # fewer than the draws that an error needs
            full = len(sizes)
        self.listed = _coalitions(players, [int(s) for s in sizes[:full]])
        self.listed_weights = np.repeat(weights[:full] / counts[:full], counts[:full])
        self.sizes, self.size_weights, self.counts = (
            sizes[full:],
            weights[full:],
            np.array([float(min(count, 10**300)) for count in counts[full:]]),
        )
        self.rest = sum(counts[full:])
        self.drawn = self._stream()
        self.fixed = (1 + 2 * len(self.listed)) * self.game.backgrounds
        self.cost = 2 * self.game.backgrounds
        enough = self.enough or (4 if full else players + 4)
        self.least = 0 if not len(self.sizes) else max(4, enough - len(self.listed) * (self.enough > 0))

    def draws(self, samples: int) -> int:
        """Pairs that are left beside the sizes that are asked whole."""
        return min(samples // 2 - len(self.listed), self.rest)

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody, of everybody, and of the sizes that are asked whole."""
        self.nobody, self.everybody = yield from self.game.ends()
        self.known = yield from self._worths(np.arange(len(self.game)), self.listed)

    def _worths(self, items: Array, coalitions: Array) -> Generator[Score, Array, Array]:
        """The worth of coalitions and of their complements, ``[items, n, 2]``."""
        if not len(coalitions):
            return np.zeros((len(items), 0, 2))
        both = np.stack([coalitions, 1 - coalitions], axis=1).reshape(-1, self.game.players)
        answer = yield from self.game.worth(both, items)
        return answer.reshape(len(items), -1, 2)

    def _stream(self) -> Distinct:
        """Coalitions of the sizes that are left, none of them the complement of another."""
        players = self.game.players
        shares = self.size_weights / self.size_weights.sum() if self.rest else self.size_weights
        each = np.zeros(players + 1)
        each[self.sizes] = shares / self.counts

        def draw(first: int, count: int) -> Array:
            uniform = uniforms(self.view, "coalitions", first, count, 1 + players)
            rows = sized(uniform, np.cumsum(shares), self.sizes)
            # a half and its complement have the same size: take the one that holds feature 0
            return np.where(2 * rows.sum(axis=1, keepdims=True) == players, rows == rows[:, :1], rows)

        def odds(rows: Array) -> Array:
            size = rows.sum(axis=1, dtype=np.int64)
            return np.where((2 * size == players) & (rows[:, 0] == 0), 0.0, each[size])

        return Distinct(players, odds, draw, lambda count: uniforms(self.view, "clocks", 0, 1, count)[0])

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """The worth of each drawn coalition and of its complement."""
        return (yield from self._worths(items, self.drawn.first(first + draws).rows[first:]))

    def asked(self, item: int, scores: Array) -> Asked:
        """All pairs of an item that were asked, with the scores of its draws ``[draws, 2]``."""
        drawn = self.drawn.first(len(scores))
        both = np.concatenate([self.known[item], scores])
        return Asked(
            np.concatenate([self.listed, drawn.rows]),
            both,
            both[:, 0] - both[:, 1],
            np.concatenate([self.listed_weights, self.shares(drawn)]),
            np.concatenate([np.zeros(len(self.listed)), drawn.correction]),
            float(self.everybody[item] - self.nobody[item]),
            len(scores) - 1 - (0 if len(self.listed) else self.game.players - 1),
        )

    def shares(self, drawn: Sample) -> Array:
        """What each drawn pair stands for, on the scale of ``listed_weights``."""
        return np.asarray(drawn.weights * (self.size_weights.sum() / max(drawn.weights.sum(), 1e-300)))


def _coalitions(players: int, sizes: list[int]) -> Array:
    """All coalitions of these sizes up to complement, uint8 ``[n, S]``."""
    rows = []
    for size in sizes:
        halved = 2 * size == players  # the complement has the same size: keep those that hold player 0
        for members in itertools.combinations(range(players), size):
            if not halved or members[0] == 0:
                row = np.zeros(players, np.uint8)
                row[list(members)] = 1
                rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, players), np.uint8)
