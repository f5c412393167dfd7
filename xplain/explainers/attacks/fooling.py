"""Fooling pictures: noise that the model is sure of."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.options import Positive, PositiveReal, Share
from xplain.core.declaring.registry import Paper, attack
from xplain.core.query import Sweep
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.core.targets.units import confidence
from xplain.explainers.attacks.climbing import Nudge, ball_of

__all__ = ["fooling"]


@attack(
    "fooling",
    needs=Sweep,
    paper=Paper("Nguyen 2015", "arXiv:1412.1897, section 3.3"),
    aliases=("fooling-noise", "rubbish"),
    goals="targeted",
    invents=True,
    trial={"steps": 8},
)
def fooling(threat: Threat, *, steps: Positive = 60, step: PositiveReal = 2.0, sure: Share = 0.99) -> AttackFlow:
    """A picture of noise that the model is sure is the target: what a class looks like is not what it is sure of.

    ``x <- round(clip(x + step sign(d margin / d x)))`` from uniform noise, until the target's share is ``sure``. No
    items are needed; of those given only their number, size and draws count.

    Args:
        steps: Steps at most.
        step: Length of one, in values of the picture (of 255), or in the items' own units.
        sure: The target's share at which the picture is good.

    Returns:
        One picture per item; ``before`` is the noise that it was made of.

    Differs from the paper:
        Signs of the margin's gradient on whole numbers, where the paper climbs the logit in floating point (section
        3.3; its evolved pictures need no gradient).

    Cost:
        At most ``steps`` sweeps and 1 evaluation per item.

    Source:
        Nguyen, Yosinski and Clune, Deep Neural Networks are Easily Fooled, CVPR 2015.
    """
    space, board, outline = threat.space, threat.board, threat.view.outline
    items, shape = np.arange(len(threat.values)), threat.values.shape[1:]
    low, high = (space.low, space.high) if np.isfinite([space.low, space.high]).all() else (0.0, 1.0)
    noise = np.stack([rng.uniform(low, high, shape) for rng in threat.view.rngs("fooling noise")])
    values = space.rounded(noise)
    board.origin = values.copy()
    rivals = threat.goal.rival(threat.scores)
    nudge = Nudge(threat)
    for k in range(steps):
        gradient, scores = yield from threat.climb(items, values, rivals)
        rivals = threat.goal.of(items).rival(scores)
        good = confidence(scores, threat.goal.labels[items], outline) >= sure
        if good.any():
            yield from threat.judge(items[good], values[good], k)
        moved = space.rounded(values + step * np.sign(gradient)) - values
        values = space.rounded(values + nudge.moved(items, gradient, moved, ball_of(threat, items, step)))
        stay = ~good & ~nudge.stuck(items)
        items, values, rivals = items[stay], values[stay], rivals[stay]
        if not len(items):
            return Ended()
    yield from threat.judge(items, values, steps)
    return Ended()
