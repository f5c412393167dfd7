"""Kernel SHAP: Shapley values as one weighted regression on coalitions."""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.declaring.options import Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.design.pairs import Pairs
from xplain.explainers.estimation.regression import contrast_fit
from xplain.explainers.estimation.sampling import Estimate
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
    samples: Samples = 2048,
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

    def design(game: Game) -> _Additive:
        payable = samples if share is None else min(samples, (share - game.backgrounds) // game.backgrounds)
        return _Additive(game, max(payable // 2, 0))

    worths = yield from play(setup, design, samples, precision, "kernel-shap")
    return read_off(setup, worths, "kernel-shap")


@dataclass
class _Additive(Pairs):
    """A draw is a coalition and its complement, fitted as one row."""

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The constrained regression, and its sandwich error over the drawn pairs."""
        asked = self.asked(item, scores)
        contrasts = 2.0 * asked.coalitions - 1.0
        fit = contrast_fit(contrasts, asked.gains, asked.weights, asked.correction, asked.total)
        count = float(len(asked.gains))
        return Estimate.of(fit.values, fit.deviations, asked.freedom, count, base=float(self.nobody[item]))
