"""Shapley values by permutations: add features one by one in random order, and average what each adds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.edits import Array
from xplain.core.options import Fraction, Positive
from xplain.core.query import Flow, Score, View
from xplain.core.registry import Paper, method
from xplain.methods.features.spec import Features
from xplain.methods.perturbation.game import Background, Game, Hidden, play, read_off, seat
from xplain.methods.perturbation.sampling import Estimate, uniforms

__all__ = ["shapley_sampling"]


@method(
    "shapley-sampling",
    needs=Score,
    paper=Paper("Castro 2009; Mitchell 2022", "doi:10.1016/j.cor.2008.04.004; arXiv:2104.12199"),
    unit="delta logit per feature",
    aliases=("permutation-shap", "sampling-shap"),
    sampled=True,
    complete=True,
    traceable=False,
)
def shapley_sampling(
    view: View,
    *,
    features: Features = "auto",
    samples: Positive = 2048,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Show features one after another in random order; a feature is worth what it adds, on average over orders.

    ``phi[i] = E over permutations of ( v(those before i, and i) - v(those before i) )``, ``v(T)`` the score with only
    the features of T shown. Each permutation is used with its reverse (antithetic), which cancels every interaction of
    two features exactly.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about, S - 1 per permutation.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``, exactly, whatever the number of samples. ``error`` is the standard error
        of the mean over pairs.

    Cost:
        1 + 2 (S - 1) P evaluations per item for P pairs, times B. Stops early when the budget ends.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than 4 (S - 1).
        BudgetError: the budget cannot pay for two pairs.

    Source:
        Castro, Gomez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009; Mitchell et al.,
        Sampling Permutations for Shapley Value Estimation, JMLR 2022 (antithetic sampling).
    """
    table = seat(view, features, baseline, background)
    worths = yield from play(table, _Permutations, samples, precision, "shapley-sampling")
    return read_off(table, worths, "shapley-sampling")


@dataclass
class _Permutations:
    """A draw is a permutation and its reverse."""

    game: Game
    least: int = 2
    nobody: Array = field(init=False)
    everybody: Array = field(init=False)

    def __post_init__(self) -> None:
        self.view = self.game.view
        self.fixed = self.game.backgrounds
        self.cost = max(1, 2 * (self.game.players - 1)) * self.game.backgrounds

    def draws(self, samples: int) -> int:
        """Pairs of permutations."""
        return samples // max(1, 2 * (self.game.players - 1))

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody and everybody, where every permutation starts and ends."""
        self.nobody, self.everybody = yield from self.game.ends()

    def orders(self, first: int, draws: int) -> Array:
        """Pairs of permutations ``[draws, 2, S]``."""
        order = np.argsort(uniforms(self.view, "permutations", first, draws, self.game.players), axis=1)
        return np.stack([order, order[:, ::-1]], axis=1)

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """The worth of the first 1 .. S - 1 features of each permutation."""
        players = self.game.players
        if players == 1:
            return np.zeros((len(items), draws, 2, 0))
        place = np.argsort(self.orders(first, draws), axis=2)
        keep = place[:, :, None, :] <= np.arange(players - 1)[:, None]
        answer = yield from self.game.worth(keep.reshape(-1, players), items)
        return answer.reshape(len(items), draws, 2, players - 1)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The mean over pairs of what each feature added."""
        start, end = (np.full((*scores.shape[:2], 1), own[item]) for own in (self.nobody, self.everybody))
        added = np.diff(np.concatenate([start, scores, end], axis=2), axis=2)
        marginal = np.take_along_axis(added, np.argsort(self.orders(0, len(scores)), axis=2), axis=2)
        return Estimate.mean(marginal.mean(axis=1), base=float(self.nobody[item]))
