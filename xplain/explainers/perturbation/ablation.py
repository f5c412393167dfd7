"""Ablation: leave one feature out of the whole, or put one into nothing."""

from __future__ import annotations

from typing import Literal

from xplain.core.declaring.registry import Paper, method
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Hidden, Worth, read_off, set_up
from xplain.explainers.features.spec import Features

__all__ = ["ablation"]


@method(
    "ablation",
    needs=Score,
    paper=Paper("Robnik-Sikonja & Kononenko 2008", "doi:10.1109/TKDE.2007.190734"),
    unit="delta {score} when left out",
    aliases=("feature-ablation", "leave-one-out"),
)
def ablation(
    view: View,
    *,
    features: Features = "auto",
    leave: Literal["out", "in"] = "out",
    baseline: Hidden = 0.0,
    background: Background | None = None,
) -> Flow:
    """Leave one feature out, see how far the score falls; or show one feature alone, see how far it rises.

    ``out``: ``a[i] = v(all) - v(all without i)``; ``in``: ``a[i] = v(i alone) - v(nobody)``, ``v(T)`` the score with
    only the features of T shown. Where features stand in for each other, ``out`` sees none of them; where they only
    work together, ``in`` sees none. Shapley values average both ends and all between.

    Args:
        features: What is switched on and off.
        leave: ``out`` of the whole, or ``in`` alone.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. ``base`` is
        what values are relative to: f(x), or v(nobody). Does not sum to anything.

    Cost:
        S + 1 evaluations per item, times B.

    Raises:
        UsageError: features or baseline do not fit the items.

    Source:
        Robnik-Sikonja and Kononenko, Explaining Classifications for Individual Instances, TKDE 2008; captum's
        FeatureAblation.
    """
    setup = set_up(view, features, baseline, background)
    worths: list[Worth | None] = [None] * len(view.x)
    for game in setup.games:
        nobody, everybody = yield from game.ends()
        scores = yield from game.one_by_one(alone=leave == "in")
        for k, member in enumerate(game.members):
            base = nobody[k] if leave == "in" else everybody[k]
            values = scores[k] - base if leave == "in" else base - scores[k]
            worths[int(member)] = Worth(values, base=float(base))
    unit = "delta {score} when shown alone" if leave == "in" else None
    return read_off(setup, [worth for worth in worths if worth is not None], unit=unit)
