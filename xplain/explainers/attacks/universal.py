"""A universal change: one for all items, that turns most of them, and items that it was not made on."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.options import Positive, Share
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.query import Sweep
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.explainers.attacks.balls import Ball

__all__ = ["held_out_of", "universal"]


@attack(
    "universal",
    needs=Sweep,
    paper=Paper("Moosavi-Dezfooli 2017", "arXiv:1610.08401"),
    norms=("linf", "l2"),
    together=True,
    trial={"steps": 3},
)
def universal(threat: Threat, *, steps: Positive = 20, held_out: Share = 0.25) -> AttackFlow:
    """One change for all items: up the mean margin of those that it does not turn yet.

    ``d <- project(d + step * steepest(sum over items with margin < 0 of d margin / d x))``; ``d`` is added to every
    item, each clipped and rounded.

    Args:
        steps: Passes over the items.
        held_out: Share of the items that ``d`` is only tried on at the end; with two items or more.

    Returns:
        ``shared`` is the change, in the model's layout and the items' values; ``each["held out"]`` says which items it
        was not made on, and the facts how many of them it turns.

    Differs from the paper:
        Projected steps on the margin, where the paper adds the smallest changes of single items.

    Cost:
        ``steps`` sweeps per item that is not held out, and 1 evaluation per item.

    Source:
        Moosavi-Dezfooli et al., Universal Adversarial Perturbations, CVPR 2017.
    """
    count, space = len(threat.values), threat.space
    out = held_out_of(threat, held_out)
    made_on = np.flatnonzero(~out)
    shape = threat.values.shape[1:]
    wide = np.full((1, *shape), space.high - space.low if space.whole else np.inf)
    ball = Ball(threat.norm, threat.radius, -wide, wide, space.layout, space.whole)
    change = np.zeros((1, *shape))
    rivals = threat.goal.rival(threat.scores)
    best, kept = -1, change
    length = max(threat.radius / 4, 1.0 if space.whole and threat.norm == "linf" else 0.0)
    for _ in range(steps):
        now = ball.settle(change)
        values = space.rounded(threat.values[made_on] + now)
        gradient, scores = yield from threat.climb(made_on, values, rivals[made_on])
        margin = threat.goal.of(made_on).margin(scores)
        rivals[made_on] = threat.goal.of(made_on).rival(scores)
        if int((margin > 0).sum()) > best:
            best, kept = int((margin > 0).sum()), now
        if (margin > 0).all():
            break
        size = np.abs(gradient).reshape(len(made_on), -1).mean(axis=1).reshape(-1, *(1,) * len(shape))
        pull = (gradient / np.maximum(size, np.finfo(np.float64).tiny))[margin <= 0].sum(axis=0)
        change = ball.project(change + length * ball.steepest(pull[None]))
    every = np.arange(count)
    yield from threat.judge(every, threat.values + kept, steps)
    threat.board.shared = kept[0].astype(np.float32)
    threat.board.each["held out"] = out
    return Ended()


def held_out_of(threat: Threat, share: float) -> Array:
    """Which items an attack of all of them is only tried on: a share, drawn by the seed, of two items or more."""
    count = len(threat.values)
    many = min(round(share * count), count - 1)
    out = np.zeros(count, bool)
    out[threat.rng("held out").permutation(count)[:many]] = True
    return out
