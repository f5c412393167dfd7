"""Transfer: a substitute is trained on the model's answers and attacked by its gradient; what falls out is tried."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.declaring.options import Natural, Positive
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency
from xplain.core.query import Query, Score
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.explainers.attacks.climbing import ball_of

__all__ = ["transfer"]

_SHIFT = 0.1
"""How far a copy for training is shifted, as a share of each edge."""


@attack(
    "transfer",
    needs=Score,
    paper=Paper("Papernot 2017", "arXiv:1602.02697"),
    aliases=("substitute",),
    norms=("linf",),
    together=True,
    learns=True,
    trial={"labels": 12, "steps": 2, "epochs": 2},
)
def transfer(
    threat: Threat, *, labels: Positive = 150, steps: Positive = 10, epochs: Positive = 60, rounds: Natural = 0
) -> AttackFlow:
    """Only classes are bought, for copies of the items; a small net learns them, and its gradient attacks the model.

    ``D = items and shifted, darker, noisy copies; net = fit(D, class of D); x <- project(x + sign(momentum of the net's
    margin gradient))`` for all ``steps``, without stopping where the net itself is fooled. ``rounds`` add copies moved
    along the signs of the net's own gradient (Jacobian augmentation), each round's bought anew.

    Args:
        labels: Answers that may be bought to train on, all rounds together.
        steps: Steps on the net.
        epochs: Passes over what was bought, per training.
        rounds: Rounds of augmentation.

    Returns:
        One candidate per item, tried on the model once. The facts say how often the net agrees with the model on what
        it was trained on.

    Differs from the paper:
        The copies are shifts, lights and noise of the items; 150 answers sufficed for a digit model, and augmentation
        to 1,200 gained nothing there, so ``rounds`` is 0 unless asked for.

    Cost:
        ``labels`` evaluations in all, and 1 per item.

    Raises:
        MissingDependency: torch is not installed.

    Source:
        Papernot et al., Practical Black-Box Attacks against Machine Learning, 2017; Dong et al., arXiv:1710.06081.
    """
    if threat.learn is None:
        raise MissingDependency("Attack 'transfer' trains a small net, which needs torch: pip install torch.")
    space, goal = threat.space, threat.goal
    share = max(1, labels // (1 + rounds))
    data, classes = yield from _bought(threat, _copies(threat, share))
    count = max(int(classes.max()), int(goal.labels.max()), threat.scores.shape[1] - 1) + 1
    net = threat.learn(space.tensor(data), classes, count, epochs, threat.view.seed)
    for _ in range(rounds):
        slopes = space.slope(np.asarray(net.slope(space.tensor(data), classes, classes)[0], np.float64))
        more = space.rounded(data + threat.radius * np.sign(slopes))[: max(0, labels - len(data))]
        if not len(more):
            break
        found, said = yield from _bought(threat, more)
        data, classes = np.concatenate([data, found]), np.concatenate([classes, said])
        net = threat.learn(space.tensor(data), classes, count, epochs, threat.view.seed)
    every = np.arange(len(threat.values))
    ball, along = ball_of(threat, every), np.zeros_like(threat.values)
    change = np.zeros_like(threat.values)
    pace = max(1.0 if space.whole else 0.0, 2.5 * threat.radius / steps)
    for _ in range(steps):
        x = space.tensor(space.rounded(threat.values + change))
        scores = np.asarray(net.scores(x), np.float64)
        gradient = np.asarray(net.slope(x, goal.labels, goal.rival(scores))[0], np.float64)
        gradient = space.slope(gradient) * (-1.0 if goal.targeted else 1.0)
        size = np.abs(gradient).reshape(len(every), -1).mean(axis=1).reshape(-1, *(1,) * (gradient.ndim - 1))
        along = along + gradient / np.maximum(size, np.finfo(np.float64).tiny)
        change = ball.project(change + pace * np.sign(along))
    agreement = float((np.asarray(net.scores(space.tensor(data))).argmax(axis=1) == classes).mean())
    threat.board.say(f"The substitute agrees with the model on {agreement:.0%} of the {len(data)} answers it learnt.")
    yield from threat.judge(every, threat.values + ball.settle(change), steps)
    return Ended()


def _copies(threat: Threat, count: int) -> Array:
    """The items and copies of them that are shifted, brighter or darker, and noisy, as many as may be bought."""
    rng, values = threat.rng("copies"), threat.values
    found = list(values[:count])
    spread = values.std() or 1.0
    while len(found) < count:
        one = values[int(rng.integers(len(values)))]
        for axis in threat.layout.plane_axes if threat.layout.is_picture else ():
            most = max(1, int(_SHIFT * one.shape[axis - 1]))
            one = np.roll(one, int(rng.integers(-most, most + 1)), axis=axis - 1)
        found.append(one * rng.uniform(0.8, 1.2) + rng.normal(size=one.shape) * 0.2 * spread)
    return threat.space.rounded(np.stack(found))


def _bought(threat: Threat, values: Array) -> Generator[Query, Any, tuple[Array, Array]]:
    """The classes of some copies, as the model says them; each is asked once and counts for the items in turn."""
    items = np.arange(len(values)) % len(threat.values)
    scores = yield from threat.ask(items, values)
    return values, np.where(np.isfinite(scores), scores, -np.inf).argmax(axis=1)
