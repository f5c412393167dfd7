"""What the attacks by gradient share: the ball around each item, a start inside it, and what to do without a slope."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.synthesis.attack import Threat
from xplain.explainers.attacks.balls import Ball

__all__ = ["Nudge", "ball_of"]


def ball_of(threat: Threat, items: Array, radius: float | None = None) -> Ball:
    """The changes that a threat allows to some items."""
    values, space = threat.values[items], threat.space
    return Ball(
        threat.norm,
        threat.radius if radius is None else radius,
        np.minimum(space.low - values, 0.0),
        np.maximum(space.high - values, 0.0),
        space.layout,
        space.whole,
    )


class Nudge:
    """Moves an item at random where no gradient reaches it, a few times, and says so.

    A saturated probability, rectifiers that are all closed, or an input that is rounded inside the model leave a
    gradient of zero, which no step can follow.

    Args:
        threat: The items.
        most: Random moves before an item is left where it is.
    """

    def __init__(self, threat: Threat, most: int = 3) -> None:
        self.threat, self.most = threat, most
        self.tried = np.zeros(len(threat.values), int)
        self._draws = threat.view.rngs("a way out of a flat place")

    def moved(self, items: Array, gradient: Array, change: Array, ball: Ball) -> Array:
        """The changes, those without a gradient replaced by random ones; whether an item moves on, is in ``stuck``."""
        flat = ~np.any(gradient.reshape(len(gradient), -1), axis=1)
        for k in np.flatnonzero(flat):
            n = int(items[k])
            self.tried[n] += 1
            noise = self._draws[n].standard_normal(change[k].shape)
            change[k] = ball.of(np.array([k])).anywhere(noise[None])[0]
        return change

    def stuck(self, items: Array) -> Array:
        """Items for which noise did not help either; each is said once."""
        over = self.tried[items] > self.most
        for n in items[over]:
            self.threat.board.say(
                "No gradient reaches this item, from noise around it either: the score may be a probability that is "
                "saturated, or the input may be rounded inside the model. Try 'square', which needs scores alone.",
                int(n),
                "unchanged",
            )
        return over
