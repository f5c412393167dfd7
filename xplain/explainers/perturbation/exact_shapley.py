"""Exact Shapley values: every coalition of a few features."""

from __future__ import annotations

import math

import numpy as np

from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Hidden, Worth, read_off, set_up
from xplain.explainers.features.spec import Features

__all__ = ["exact_shapley", "shapley_values"]

_MOST = 14


@method(
    "exact-shapley",
    needs=Score,
    paper=Paper("Shapley 1953", "doi:10.1515/9781400881970-018"),
    unit="delta {score} per feature",
    complete=True,
)
def exact_shapley(
    view: View, *, features: Features = "auto:9", baseline: Hidden = 0.0, background: Background | None = None
) -> Flow:
    """Show every coalition of the features; a feature is worth what it adds, averaged over all orders of joining.

    ``phi[i] = sum over T without i of |T|! (S - |T| - 1)! / S! * ( v(T + i) - v(T) )``, ``v(T)`` the score with only
    the features of T shown.

    Args:
        features: What is switched on and off; at most 14.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``. Nothing is sampled, so there is no error.

    Cost:
        2^S evaluations per item, times B: 16,384 for 14 features.

    Raises:
        UsageError: more than 14 features; the message names methods that take more.

    Source:
        Shapley, A Value for n-Person Games, 1953.
    """
    setup = set_up(view, features, baseline, background)
    most = max(game.players for game in setup.games)
    if most > _MOST:
        raise UsageError(
            f"method 'exact-shapley': {most} features make 2^{most} coalitions; accepted: at most {_MOST} features. "
            "Use fewer (",
            option("features", "grid:3"),
            ", groups of columns), or kernel-shap, shapley-sampling, partition-shap.",
        )
    worths: list[Worth | None] = [None] * len(view.x)
    for game in setup.games:
        players = game.players
        # feature i is bit S - 1 - i, so that the row number reshaped to (2,) * S has axis i for feature i
        keep = (np.arange(2**players)[:, None] >> np.arange(players - 1, -1, -1)) & 1
        answer = yield from game.worth(keep)
        for member, scores in zip(game.members, answer, strict=True):
            worths[int(member)] = Worth(shapley_values(scores), base=float(scores[0]))
    return read_off(setup, [worth for worth in worths if worth is not None])


def shapley_values(scores: Array) -> Array:
    """Shapley values ``[S]`` from the scores of all coalitions ``[2^S]``; feature i is bit S - 1 - i of the index."""
    players = len(scores).bit_length() - 1
    sizes = ((np.arange(2**players)[:, None] >> np.arange(players)) & 1).sum(axis=1)
    share = np.array([math.factorial(s) * math.factorial(players - s - 1) for s in range(players)])
    cube, size = scores.reshape((2,) * players), sizes.reshape((2,) * players)
    values = np.empty(players)
    for i in range(players):
        without = np.take(size, 0, axis=i)
        values[i] = (share[without] * (np.take(cube, 1, axis=i) - np.take(cube, 0, axis=i))).sum()
    return values / math.factorial(players)
