"""Kernel SHAP: Shapley values as one weighted regression on coalitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.edits import Array
from xplain.core.options import Fraction, Positive
from xplain.core.query import Flow, Score, View
from xplain.core.registry import Paper, method
from xplain.explainers.design.draws import Distinct, sized
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.estimation.regression import contrast_fit
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.features.spec import Features

__all__ = ["kernel_shap"]


@method(
    "kernel-shap",
    needs=Score,
    paper=Paper("Lundberg & Lee 2017; Covert & Lee 2021", "arXiv:1705.07874; arXiv:2012.01536"),
    unit="delta {score} per feature",
    aliases=("kernelshap",),
    sampled=True,
    complete=True,
)
def kernel_shap(
    view: View,
    *,
    features: Features = "auto",
    samples: Positive = 2048,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Show random coalitions of features and fit their scores by a sum of one number per feature.

    ``phi = argmin over phi of sum over T of k(|T|) ( v(T) - v(nobody) - sum over i in T of phi[i] )^2``, with
    ``k(s) = (S - 1) / (C(S, s) s (S - s))`` and ``sum phi = v(everybody) - v(nobody)`` exact, ``v(T)`` the score with
    only the features of T shown. Sizes that ``samples`` can pay for are asked for all their coalitions, the smallest
    and largest first; the rest are drawn with probability ``k``, each with its complement, none twice.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about. All of them are asked when there are no more, and the values are then exact.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``, exactly. ``error`` is the sandwich standard error of the regression over
        the drawn pairs, 0 where all coalitions were asked.

    Cost:
        1 + ``samples`` evaluations per item, times B. Stops early when the budget ends.

    Differs from the paper:
        A coalition and its complement are fitted as one row, the difference of their scores on ``2 T - 1``: the same
        solution with half the rows. No feature is dropped by a Lasso beforehand.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than 2 S + 8.
        BudgetError: the budget cannot pay for the fewest coalitions that determine all features.

    Source:
        Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; Covert and Lee, Improving
        KernelSHAP, AISTATS 2021 (pairing, error).
    """
    setup = set_up(view, features, baseline, background)
    share = None if view.budget is None else view.budget // len(view.x)

    def design(game: Game) -> _Pairs:
        payable = samples if share is None else min(samples, (share - game.backgrounds) // game.backgrounds)
        return _Pairs(game, max(payable // 2, 0))

    worths = yield from play(setup, design, samples, precision, "kernel-shap")
    return read_off(setup, worths, "kernel-shap")


@dataclass
class _Pairs:
    """A draw is a coalition and its complement, of a size that is not asked for all its coalitions."""

    game: Game
    pairs: int
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
        self.least = 0 if not len(self.sizes) else 4 if full else players + 4

    def draws(self, samples: int) -> int:
        """Pairs that are left beside the sizes that are asked whole."""
        return min(samples // 2 - len(self.listed), self.rest)

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody, of everybody, and of the sizes that are asked whole."""
        self.nobody, self.everybody = yield from self.game.ends()
        self.known = yield from self._gains(np.arange(len(self.game)), self.listed)

    def _gains(self, items: Array, coalitions: Array) -> Generator[Score, Array, Array]:
        if not len(coalitions):
            return np.zeros((len(items), 0))
        both = np.stack([coalitions, 1 - coalitions], axis=1).reshape(-1, self.game.players)
        answer = yield from self.game.worth(both, items)
        return answer[:, 0::2] - answer[:, 1::2]

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
        """Gain of each drawn coalition over its complement."""
        return (yield from self._gains(items, self.drawn.first(first + draws).rows[first:]))

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The constrained regression, and its sandwich error over the drawn pairs."""
        drawn = self.drawn.first(len(scores))
        contrasts = 2.0 * np.concatenate([self.listed, drawn.rows]) - 1.0
        gains = np.concatenate([self.known[item], scores])
        own = drawn.weights * (self.size_weights.sum() / max(drawn.weights.sum(), 1e-300))
        correction = np.concatenate([np.zeros(len(self.listed)), drawn.correction])
        total = float(self.everybody[item] - self.nobody[item])
        fit = contrast_fit(contrasts, gains, np.concatenate([self.listed_weights, own]), correction, total)
        freedom = len(scores) - 1 - (0 if len(self.listed) else self.game.players - 1)
        return Estimate.of(fit.values, fit.deviations, freedom, float(len(gains)), base=float(self.nobody[item]))


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
