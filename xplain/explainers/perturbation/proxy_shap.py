"""Proxy SHAP: kernel SHAP with its answers told apart into what small trees foresee and what they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.declaring.options import Fraction, Positive, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.design.pairs import Asked, Pairs
from xplain.explainers.estimation.boosting import boosted
from xplain.explainers.estimation.regression import Fit, contrast_fit
from xplain.explainers.estimation.sampling import Estimate
from xplain.explainers.features.spec import Features

__all__ = ["proxy_shap"]

_FOLDS = 5
_LINE = 0.8
"""Share of the line that is taken off before trees are grown."""


@method(
    "proxy-shap",
    needs=Score,
    paper=Paper("Thies 2026; Fumagalli 2026", "arXiv:2605.22738; arXiv:2602.01399"),
    unit="delta {score} per feature",
    aliases=("proxyshap",),
    sampled=True,
    complete=True,
)
def proxy_shap(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 2048,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
    trees: Positive = 60,
) -> Flow:
    """Fit small trees to the scores of coalitions; their Shapley values are exact, kernel SHAP estimates what is left.

    ``phi = phi(g) + kernel-shap(v - g)``, g boosted trees of depth 4 beside four fifths of the line. Each fifth of the
    drawn coalitions is predicted by a g that was fitted to the others, so that trees which learn nothing, or learn by
    heart, cost precision and never the truth: the estimate is as consistent, and its error as honest, as kernel SHAP's.
    Where that error is not smaller, kernel SHAP's own values are returned. A fifth of the line is left to the trees,
    for of products alone, without their line, no first split explains anything.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about, the same as kernel SHAP asks. All of them are asked when there are no more.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.
        trees: Trees of each g.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``, exactly. ``error`` is the sandwich standard error of the regression on what
        the trees leave. ``notes["proxied"]`` says whether they helped.

    Cost:
        1 + ``samples`` evaluations per item, times B, and some tenths of a second of fitting, which pay where an
        evaluation costs money or time.

    Differs from the paper:
        The residual is fitted by paired kernel SHAP instead of a maximum sample reuse estimator, out of fold, and with
        an error; of the prediction what is odd is taken off, ``g(T) - g(not T)``, for nothing else decides the values.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than 2 S + 8.
        BudgetError: the budget cannot pay for the fewest coalitions that determine all features.

    Source:
        Thies et al., Proxy-Based Approximation of Shapley and Banzhaf Interactions, 2026 (proxy and residual);
        Fumagalli et al., An Odd Estimator for Shapley Values, ICML 2026 (the odd part).
    """
    setup = set_up(view, features, baseline, background)
    share = None if view.budget is None else view.budget // len(view.x)

    def design(game: Game) -> _Proxied:
        payable = samples if share is None else min(samples, (share - game.backgrounds) // game.backgrounds)
        return _Proxied(game, max(payable // 2, 0), trees=trees)

    worths = yield from play(setup, design, samples, precision, "proxy-shap")
    helped = [bool(one.outcome and one.outcome.estimate.notes.get("proxied")) for one in worths]
    return read_off(setup, worths, "proxy-shap", proxied=helped)


@dataclass
class _Proxied(Pairs):
    """A draw is a coalition and its complement, fitted as one row once the trees' prediction is taken off."""

    trees: int = 60

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The better of the regression on the answers and that on what the trees leave of them."""
        asked = self.asked(item, scores)
        contrasts = 2.0 * asked.coalitions - 1.0
        fit = contrast_fit(contrasts, asked.gains, asked.weights, asked.correction, asked.total)
        values, helped = fit.values, False
        if len(fit.deviations):
            foreseen, left = self._left(asked, contrasts)
            if (left.deviations**2).sum() < (fit.deviations**2).sum():
                values, fit, helped = foreseen + left.values, left, True
        count, base = float(len(asked.gains)), float(self.nobody[item])
        return Estimate.of(values, fit.deviations, asked.freedom, count, base=base, proxied=helped)

    def _left(self, asked: Asked, contrasts: Array) -> tuple[Array, Fit]:
        """The trees' Shapley values, and kernel SHAP of what they do not foresee."""
        shown = asked.coalitions.astype(np.float64)
        fold = np.arange(len(shown)) % _FOLDS
        gains, foreseen = asked.gains.copy(), np.zeros(shown.shape[1])
        everywhere = np.zeros(len(shown))
        for k in range(_FOLDS):
            others, own = fold != k, fold == k
            line = contrast_fit(
                contrasts[others], asked.gains[others], asked.weights[others], np.zeros(others.sum())
            ).values
            rows = np.concatenate([shown[others], 1 - shown[others]])
            worths = asked.worths[others].T.reshape(-1) - _LINE * (rows - 0.5) @ line
            weights = np.tile(asked.weights[others], 2)
            grown = boosted(rows, worths - weights @ worths / weights.sum(), weights, self.trees)
            predicted = grown.at(shown) - grown.at(1 - shown)
            foreseen += grown.shapley() / _FOLDS
            everywhere += predicted / _FOLDS
            gains[own] -= predicted[own]
        sure = asked.correction == 0  # asked whole, so the mean of all trees is as good, and exact
        gains[sure] = asked.gains[sure] - everywhere[sure]
        return foreseen, contrast_fit(contrasts, gains, asked.weights, asked.correction, asked.total - foreseen.sum())
