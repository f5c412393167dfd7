"""Linear SHAP: the closed form, once the model is seen to be additive in the features."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.options import PositiveReal
from xplain.core.declaring.registry import Paper, method
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.core.target import SCORES
from xplain.explainers.design.game import Background, Hidden, Worth, read_off, set_up
from xplain.explainers.estimation.sampling import uniforms
from xplain.explainers.features.spec import Features

__all__ = ["linear_shap"]

_CHECKS = 8


@method(
    "linear-shap",
    needs=Score,
    paper=Paper("Lundberg & Lee 2017", "arXiv:1705.07874, corollary 1"),
    unit="delta {score} per feature",
    complete=True,
    suits="additive",
)
def linear_shap(
    view: View,
    *,
    features: Features = "auto",
    baseline: Hidden = 0.0,
    background: Background | None = None,
    tolerance: PositiveReal = 1e-4,
) -> Flow:
    """In a model that adds up its features, a feature is worth what leaving it out takes away, whatever else is shown.

    ``phi[i] = v(all) - v(all without i)``, which for ``f = b + sum of w[i] x[i]`` is ``w[i] (x[i] - baseline[i])``.
    That the model is such a sum is not believed. It is proved where the graph has only linear operators between input
    and score; elsewhere it is tried: on random coalitions T the score must be
    ``v(nobody) + sum over i in T of phi[i]``.

    Args:
        features: What is switched on and off.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them. A linear graph's mean is its value at
            the mean item, which is used; of what is only seen to add up, every item is asked.
        tolerance: Largest accepted gap as a share of the largest difference between two coalitions' scores.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``. ``notes["gap"]`` is the largest relative gap that was seen,
        ``notes["proof"]`` says how the model was found to be a sum.

    Cost:
        S + 1 evaluations per item for a linear graph, else S + 9, times B, instead of 2^S.

    Raises:
        UsageError: the model is not additive in these features; says by how much, and names methods that fit.

    Source:
        Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; Strumbelj and Kononenko
        2014 for the closed form.
    """
    linear = _linear_graph(view)
    if linear and background is not None:
        items = background[None] if background.ndim == view.x.ndim - 1 else background
        background = np.asarray(items, np.float64).mean(axis=0, keepdims=True)
    setup = set_up(view, features, baseline, background)
    checks = 0 if linear else _CHECKS
    worths: list[Worth | None] = [None] * len(view.x)
    gaps = np.zeros(len(view.x))
    for game in setup.games:
        nobody, everybody = yield from game.ends()
        coalitions = uniforms(view, "linear checks", 0, checks, game.players) < 0.5
        without = yield from game.one_by_one(alone=False)
        scores = np.concatenate([without, (yield from game.worth(coalitions))], axis=1) if checks else without
        values = everybody[:, None] - without
        sums = nobody[:, None] + values @ coalitions.T
        ends = np.abs(nobody + values.sum(axis=1) - everybody)
        gap = np.maximum(np.abs(sums - scores[:, game.players :]).max(axis=1, initial=0.0), ends)
        seen = np.concatenate([scores, nobody[:, None], everybody[:, None]], axis=1)
        gaps[game.members] = np.where(gap > 0, gap / np.maximum(np.ptp(seen, axis=1), 1e-300), 0.0)
        for k, member in enumerate(game.members):
            worths[int(member)] = Worth(values[k], base=float(nobody[k]))
    worst = int(gaps.argmax())
    if gaps[worst] > tolerance:
        raise UsageError(
            f"method 'linear-shap': the model is not additive in these features: for item {worst} a sum of single "
            f"effects misses the score by {gaps[worst]:.2g} of its range; accepted: tolerance {tolerance:g}. Use "
            "kernel-shap or exact-shapley."
        )
    proof = (
        "the graph has only linear operators between input and score"
        if linear
        else f"the scores of {_CHECKS} random coalitions were sums of single effects"
    )
    return read_off(setup, [worth for worth in worths if worth is not None], notes={"proof": proof}, gap=gaps.tolist())


def _linear_graph(view: View) -> bool:
    """Whether the target reads scores that the graph makes by linear operators alone."""
    outline = view.outline
    known = any(layer.affine and layer.name == outline.scores.tensor for layer in outline.layers)
    return known and view.target.tensors == (SCORES,)
