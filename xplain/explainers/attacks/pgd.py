"""Projected gradient ascent on the margin, and its single step, FGSM."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.options import Natural, Positive, PositiveReal, Share
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.query import Sweep
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.explainers.attacks.climbing import Nudge, ball_of

__all__ = ["climbed", "fgsm", "pgd"]

_PACE = 2.5
"""How many radii all steps together could go, if they went one way."""

_SPARSE_STEP = 0.3
"""Share of the way to the border that a position of ``l0`` goes in a step."""


@attack(
    "fgsm",
    needs=Sweep,
    paper=Paper("Goodfellow 2015", "arXiv:1412.6572"),
    aliases=("fast-gradient-sign",),
    norms=("linf", "l2", "l1", "l0"),
)
def fgsm(threat: Threat) -> AttackFlow:
    """One step as far as it may go, the way the margin rises most: along the sign of its gradient in ``linf``.

    ``x' = round(x + epsilon sign(d margin / d x))``; in the other norms the step of that length that gains most.

    Returns:
        One candidate per item; the item itself where it fails.

    Differs from the paper:
        The margin (best other logit less the own) is climbed, not the cross-entropy, whose gradient vanishes where the
        model is sure of itself; and the step is rounded to whole numbers of the picture before it is judged.

    Cost:
        1 sweep and 1 evaluation per item.

    Source:
        Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015.
    """
    return (yield from climbed(threat, steps=1, step=None, momentum=0.0, start=False))


@attack(
    "pgd",
    needs=Sweep,
    paper=Paper("Madry 2018", "arXiv:1706.06083"),
    aliases=("projected-gradient", "bim", "iterative"),
    norms=("linf", "l2", "l1", "l0"),
)
def pgd(
    threat: Threat,
    *,
    steps: Positive = 20,
    step: PositiveReal | None = None,
    momentum: Share = 0.0,
    start: bool = True,
    restarts: Natural = 0,
) -> AttackFlow:
    """Many small steps up the margin, each brought back into the ball; an item is left as soon as it is a success.

    ``d <- project(d + step * steepest(d margin / d x at round(x + d)))``. ``steepest`` is the sign in ``linf``, the
    gradient over its length in ``l2``, the signs of the largest percent of its elements in ``l1``, and in ``l0`` the
    way to the border of the box at the positions that gain most. Every candidate is rounded before it is looked at.

    Args:
        steps: Steps at most.
        step: Length of one, as a share of the radius; none: ``2.5 / steps``, in ``linf`` at least one whole
            number, in ``l0`` 0.3 of the way to the border.
        momentum: Share of the directions before that is kept: directions are scaled to a mean size of 1 and added up.
        start: Whether to start at a random change instead of the item itself (false is BIM, the basic iterative
            method).
        restarts: Further tries from other random starts, for items that failed.

    Returns:
        The first success of each item, else the candidate with the largest margin.

    Differs from the paper:
        The margin is climbed, not the cross-entropy; its rival is the best other class of the step before, so that a
        step costs one sweep and no evaluation beside it.

    Cost:
        At most ``steps`` sweeps and 1 evaluation per item and try; successes stop early.

    Source:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018; Kurakin et al.,
        arXiv:1607.02533 (start=false); Dong et al., arXiv:1710.06081 (momentum); Tramer and Boneh, arXiv:1904.13000
        (the sparse step of l1); Croce and Hein, arXiv:1909.05040 (l0).
    """
    for k in range(1 + restarts):
        yield from climbed(threat, steps, step, momentum, start or k > 0, f"start {k}")
    return Ended()


def climbed(
    threat: Threat,
    steps: int,
    step: float | None,
    momentum: float,
    start: bool,
    stream: str = "start",
    items: Array | None = None,
) -> AttackFlow:
    """One try of the items that are still open: ``pgd`` from one start; see there for the options.

    Args:
        threat: What is allowed.
        steps: Steps at most.
        step: Length of one as a share of the radius, or None.
        momentum: Share of the directions before that is kept.
        start: Whether to start at a random change.
        stream: What the start is drawn under.
        items: Which of them; None for all.
    """
    items = threat.open if items is None else items
    if not len(items):
        return Ended()
    ball, goal = ball_of(threat, items), threat.goal
    shape = threat.values.shape[1:]
    change = np.zeros((len(items), *shape))
    if start:
        draws = threat.view.rngs(stream)
        change = ball.anywhere(np.stack([draws[int(n)].standard_normal(shape) for n in items]))
    rivals = goal.of(items).rival(threat.scores[items])
    length = 1.0 if steps == 1 else _SPARSE_STEP if threat.norm == "l0" else _PACE / steps
    length = length if step is None else step
    if threat.norm == "linf":
        length = max(length * threat.radius, 1.0 if threat.space.whole else 0.0)
    elif threat.norm != "l0":
        length *= threat.radius
    along = np.zeros_like(change)
    nudge = Nudge(threat)
    for k in range(steps):
        values = threat.values[items] + ball.settle(change)
        gradient, scores = yield from threat.climb(items, values, rivals)
        margin = goal.of(items).margin(scores)
        won = margin > 0
        if won.any():  # a sweep's scores may be those of a graph that is not the whole file: the model itself decides
            confirmed = yield from threat.judge(items[won], values[won], k)
            won[won] = confirmed > 0
        threat.keep(items[~won], values[~won], np.minimum(margin[~won], 0.0), scores[~won], k)
        rivals = goal.of(items).rival(scores)
        if momentum:
            scale = np.abs(gradient).reshape(len(gradient), -1).mean(axis=1).reshape(-1, *(1,) * len(shape))
            along = momentum * along + gradient / np.maximum(scale, np.finfo(np.float64).tiny)
        way = along if momentum else gradient
        change = ball.project(change + length * ball.steepest(way))
        change = nudge.moved(items, way, change, ball)
        stay = ~won & ~nudge.stuck(items)
        items, change, along, rivals = items[stay], change[stay], along[stay], rivals[stay]
        ball = ball.of(np.flatnonzero(stay))
        if not len(items):
            return Ended()
    yield from threat.judge(items, threat.values[items] + ball.settle(change), steps)
    return Ended()
