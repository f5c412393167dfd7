"""Banzhaf values: what a feature adds to a random half of the others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.declaring.options import Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.draws import Distinct
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.estimation.regression import contrast_fit
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.features.spec import Features

__all__ = ["banzhaf"]


@method(
    "banzhaf",
    needs=Score,
    paper=Paper("Wang & Jia 2023", "arXiv:2205.15466"),
    unit="delta {score} per feature",
    sampled=True,
)
def banzhaf(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 1024,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Show random halves of the features; a feature is worth what it adds to them on average.

    ``b[i] = E over T of ( v(T + i) - v(T) )``, every T of the others equally likely, ``v(T)`` the score with only the
    features of T shown. Of all such averages it is the one that noise in the scores disturbs least.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about, half of them drawn and half their complements, none twice.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. Does not
        sum to anything. ``error`` is the sandwich standard error of the regression. ``base`` is v(nobody).

    Cost:
        1 + ``samples`` evaluations per item, times B. Stops early when the budget ends.

    Differs from the paper:
        The values are the coefficients of the least-squares fit by a sum over features (Hammer and Holzman 1992), found
        from pairs of complements, instead of two plain means: the same limit with less noise.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than 2 S + 8.
        BudgetError: the budget cannot pay for 2 S + 8 coalitions.

    Source:
        Wang and Jia, Data Banzhaf, AISTATS 2023; Banzhaf 1965.
    """
    setup = set_up(view, features, baseline, background)
    worths = yield from play(setup, _Halves, samples, precision, "banzhaf")
    return read_off(setup, worths, "banzhaf")


@dataclass
class _Halves:
    """A draw is a random half of the features and its complement."""

    game: Game
    nobody: Array = field(init=False)

    def __post_init__(self) -> None:
        self.view = self.game.view
        self.fixed = self.game.backgrounds
        self.cost = 2 * self.game.backgrounds
        self.pairs: int = 2 ** (self.game.players - 1)
        self.least = min(self.game.players + 4, self.pairs)
        self.halves = Distinct(
            self.game.players, self._odds, self._draw, lambda count: uniforms(self.view, "clocks", 0, 1, count)[0]
        )

    def draws(self, samples: int) -> int:
        """Pairs of complements, at most all of them."""
        return min(samples // 2, self.pairs)

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody, for the record."""
        self.nobody, _ = yield from self.game.ends()

    def _draw(self, first: int, count: int) -> Array:
        """Coalitions that hold feature 0; the others are their complements."""
        rows = uniforms(self.view, "halves", first, count, self.game.players) < 0.5
        return np.asarray(rows == rows[:, :1])

    def _odds(self, rows: Array) -> Array:
        return np.where(rows[:, 0] == 1, 1 / self.pairs, 0.0)

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """Gain of each coalition over its complement."""
        drawn = self.halves.first(first + draws).rows[first:]
        answer = yield from self.game.worth(np.stack([drawn, 1 - drawn], axis=1).reshape(-1, self.game.players), items)
        return answer[:, 0::2] - answer[:, 1::2]

    def estimate(self, item: int, scores: Array) -> Estimate:
        """Coefficients of the fit by a sum over features."""
        drawn, count = self.halves.first(len(scores)), len(scores)
        fit = contrast_fit(2.0 * drawn.rows - 1.0, scores, drawn.weights, drawn.correction)
        base = float(self.nobody[item])
        return Estimate.of(fit.values, fit.deviations, count - self.game.players, float(count), base=base)
