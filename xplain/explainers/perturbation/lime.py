"""LIME: fit a simple model to the scores around the item, and read that instead."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xplain.core.declaring.options import Fraction, NonNegative, Positive, PositiveReal, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.draws import Distinct, sized
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.estimation.regression import Fit, ridge_fit
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.estimation.selection import select
from xplain.explainers.estimation.tree import tree_fit
from xplain.explainers.features.spec import Features

__all__ = ["lime"]


@method(
    "lime",
    needs=Score,
    paper=Paper("Ribeiro 2016", "arXiv:1602.04938"),
    unit="delta {score} in a local model",
    sampled=True,
)
def lime(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 1000,
    distance: Literal["cosine", "l2"] = "cosine",
    width: PositiveReal | None = None,
    surrogate: Literal["ridge", "tree"] = "ridge",
    penalty: NonNegative = 1.0,
    top: Positive | None = None,
    selection: Literal["auto", "highest", "lasso-path", "forward"] = "auto",
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Switch features off at random and fit the scores by a simple model that counts what is near the item most.

    ``a, a0 = argmin sum over k of w(z_k) ( v(z_k) - a0 - z_k . a )^2 + penalty |a|^2`` over coalitions z with every
    feature shown with probability 1/2, the item itself among them; ``w(z) = exp(- d(z)^2 / (2 width^2))`` with d the
    distance of z from all ones: ``1 - sqrt(|z| / S)`` (cosine) or ``sqrt(S - |z|)`` (l2).

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about; about ten per feature are wanted.
        distance: ``cosine`` as for pictures and texts, ``l2`` as for tables.
        width: Kernel width; default 0.25 (cosine) or 0.75 sqrt(S) (l2), as in the authors' code.
        surrogate: ``ridge`` regression, or a regression ``tree`` whose value for a feature is what its splits add along
            the item's own path.
        penalty: Ridge penalty.
        top: Number of features the surrogate may use; the others get 0. None: all.
        selection: How the ``top`` are chosen: ``highest`` |coefficient| of a full fit, ``forward`` one by one,
            ``lasso-path`` as the Lasso lets them in; ``auto`` is forward up to 6, else highest.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's coefficient; per feature in ``notes["feature_values"]``,
        ranked in ``notes["ranked"]``. ``base`` is the intercept, ``notes["r2"]`` the weighted R² of the fit.
        ``error`` is the sandwich standard error for the features chosen (for a tree, a jackknife over 10 folds). Does
        not sum to f(x) minus anything.

    Cost:
        ``samples`` evaluations per item, times B. Stops early when the budget ends.

    Differs from the paper:
        The score is a logit, not a probability. The authors draw every feature with probability 1/2 and weigh with
        ``w``; here coalitions are drawn in proportion to ``sqrt(w)``, weighed with what is left, and none is asked
        twice: the same limit, with fewer questions spent on coalitions that hardly count.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than S + 5.
        BudgetError: the budget cannot pay for S + 5 coalitions.

    Source:
        Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016.
    """
    setup = set_up(view, features, baseline, background)

    def design(game: Game) -> _Cloud:
        usual = 0.25 if distance == "cosine" else 0.75 * float(np.sqrt(game.players))
        return _Cloud(game, distance, width or usual, surrogate, penalty, top, selection)

    worths = yield from play(setup, design, samples, precision, "lime")
    ranked = [np.argsort(-np.abs(worth.values), kind="stable")[: top or None].tolist() for worth in worths]
    return read_off(setup, worths, "lime", ranked=ranked)


@dataclass
class _Cloud:
    """A draw is one coalition; the first is the item itself."""

    game: Game
    distance: str
    width: float
    surrogate: str
    penalty: float
    top: int | None
    selection: str

    def __post_init__(self) -> None:
        self.view = self.game.view
        self.cost = self.game.backgrounds
        players = self.game.players
        self.least = min(players + 5, 2**players)
        self.fixed = 0
        sizes = np.arange(players)
        ways = [math.lgamma(players + 1) - math.lgamma(s + 1) - math.lgamma(players - s + 1) for s in sizes]
        self.ways = np.exp(np.array(ways) - players * math.log(2))  # as shares of all coalitions: no overflow
        self.tilted = self.ways * np.sqrt(self.kernel(sizes))
        self.drawn = Distinct(
            players, self._odds, self._draw, lambda count: uniforms(self.view, "clocks", 0, 1, count)[0]
        )

    def draws(self, samples: int) -> int:
        """Coalitions, at most all of them."""
        return min(samples, int(2**self.game.players))

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """Coalitions are all that is asked."""
        yield from ()

    def _draw(self, first: int, count: int) -> Array:
        """Coalitions that hide something, in proportion to the root of their weight."""
        players = self.game.players
        uniform = uniforms(self.view, "cloud", first, count, 1 + players)
        return sized(uniform, np.cumsum(self.tilted / self.tilted.sum()), np.arange(players))

    def _odds(self, rows: Array) -> Array:
        root = np.sqrt(self.kernel(np.arange(self.game.players)))
        each = np.append(root / self.tilted.sum(), 0.0) * 2.0**-self.game.players
        return np.asarray(each[rows.sum(axis=1, dtype=np.int64)])

    def cloud(self, draws: int) -> tuple[Array, Array, Array]:
        """The item and the first ``draws - 1`` distinct coalitions: rows, weights, and corrections."""
        drawn = self.drawn.first(draws - 1)
        usual = self.tilted.sum() / self.ways.sum() * (draws - 1)  # so that the penalty weighs as in a plain sample
        rows = np.concatenate([np.ones((1, self.game.players), np.uint8), drawn.rows])
        root = np.sqrt(self.kernel(drawn.rows.sum(axis=1, dtype=np.int64)))
        return rows, np.concatenate([[1.0], drawn.weights * root * usual]), np.concatenate([[0.0], drawn.correction])

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """The worth of each coalition."""
        return (yield from self.game.worth(self.cloud(first + draws)[0][first:], items))

    def kernel(self, shown: Array) -> Array:
        """How near the item a coalition is that shows so many features."""
        players = self.game.players
        away = 1 - np.sqrt(shown / players) if self.distance == "cosine" else np.sqrt(players - shown)
        return np.asarray(np.sqrt(np.exp(-(away**2) / self.width**2)))

    def fit(self, rows: Array, scores: Array, weights: Array, correction: Array) -> Fit:
        """The surrogate on the features that it may use."""
        chosen = select(rows, scores, weights, self.top, self.selection)
        if self.surrogate == "tree":
            some = tree_fit(rows[:, chosen], scores, weights)
        else:
            some = ridge_fit(rows[:, chosen], scores, weights, self.penalty, correction)
        values, deviations = np.zeros(rows.shape[1]), np.zeros((len(some.deviations), rows.shape[1]))
        values[chosen], deviations[:, chosen] = some.values, some.deviations
        return Fit(values, deviations, some.intercept, some.r2)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The surrogate's coefficients, with how well it fits."""
        rows, weights, correction = self.cloud(len(scores))
        fit = self.fit(rows.astype(np.float64), scores, weights, correction)
        effective = float(weights.sum() ** 2 / (weights**2).sum())
        freedom = len(fit.deviations) - 1 - (self.game.players if self.surrogate == "ridge" else 0)
        return Estimate.of(fit.values, fit.deviations, freedom, effective, base=fit.intercept, r2=fit.r2)
