"""Square: random squares, kept where the margin grows; scores alone are asked."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.options import Fraction, Positive
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Score
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.explainers.attacks.climbing import ball_of

__all__ = ["square"]

_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, from which the area of a square is halved, as in the paper."""


@attack(
    "square",
    needs=Score,
    paper=Paper("Andriushchenko 2020", "arXiv:1912.00049"),
    norms=("linf",),
    trial={"queries": 20},
)
def square(threat: Threat, *, queries: Positive = 1000, area: Fraction = 0.05) -> AttackFlow:
    """Squares at random places, each of one colour at the border of the ball; one that raises the margin stays.

    It starts from vertical stripes of ``-epsilon`` and ``epsilon``; the squares get smaller as time goes on. Of series
    they are stretches of time, of other items sets of neighbours in their order.

    Args:
        queries: Evaluations of each item at most; successes stop early.
        area: Share of the positions that the first squares cover.

    Returns:
        The first success of each item, else the candidate with the largest margin.

    Differs from the paper:
        In ``linf`` alone. A class that an endpoint leaves out is unknown: a candidate counts as better only by what its
        answer says.

    Cost:
        At most ``queries`` evaluations per item.

    Raises:
        UsageError: a target whose score the model leaves out of its answer.

    Source:
        Andriushchenko et al., Square Attack: a query-efficient black-box adversarial attack via random search, 2020.
    """
    items = threat.open
    if not len(items):
        return Ended()
    _check_known(threat, items)
    ball, layout = ball_of(threat, items), threat.layout
    rngs = [threat.view.rngs("squares")[int(n)] for n in items]
    rows, columns = layout.plane
    change = np.stack([_stripes(rng, threat, columns) for rng in rngs])
    best = np.full(len(items), -np.inf)
    for k in range(queries):
        tried = change.copy()
        if k:
            side = max(1, round((area * _share(k, queries) * rows * columns) ** 0.5))
            for n, rng in enumerate(rngs):
                _paint(tried[n], rng, threat, side)
        tried = ball.settle(tried)
        margin = yield from threat.judge(items, threat.values[items] + tried, k + 1)
        better = margin > best
        change[better], best[better] = tried[better], margin[better]
        stay = margin <= 0
        if not stay.all():
            items, change, best = items[stay], change[stay], best[stay]
            ball, rngs = ball.of(np.flatnonzero(stay)), [rng for rng, one in zip(rngs, stay, strict=True) if one]
        if not len(items):
            break
    return Ended()


def _check_known(threat: Threat, items: Array) -> None:
    """A targeted search has nothing to follow while the target's score is not in the answer."""
    known = np.isfinite(threat.scores[items, threat.goal.labels[items]])
    if threat.goal.targeted and not known.all():
        raise UsageError(
            f"The model leaves the target's score out of its answer ({threat.view.outline.scores.partial}), and an "
            "unknown score is no number that could grow. Attack 'decision' needs the predicted class alone."
        )


def _share(k: int, queries: int) -> float:
    """How much of the first area is left at query k."""
    return 0.5 ** sum(k * 10_000 / queries > at for at in _HALVED_AT)


def _plane(change: Array, threat: Threat) -> Array:
    """An item's change as a view ``[C, rows, columns]`` of its own memory."""
    axis = threat.layout.channel_axis
    turned = change[None] if axis is None else np.moveaxis(change, axis - 1, 0)
    return turned if turned.ndim == 3 else turned.reshape(len(turned), *threat.layout.plane)


def _stripes(rng: np.random.Generator, threat: Threat, columns: int) -> Array:
    change = np.zeros(threat.values.shape[1:])
    plane = _plane(change, threat)
    plane[:] = rng.choice([-1.0, 1.0], (len(plane), 1, columns)) * threat.radius
    return change if np.shares_memory(plane, change) else _back(plane, threat)


def _paint(change: Array, rng: np.random.Generator, threat: Threat, side: int) -> None:
    plane = _plane(change, threat)
    rows, columns = plane.shape[1:]
    tall, wide = min(side, rows), min(side if rows > 1 else side * side, columns)
    top, left = (int(rng.integers(0, n - m + 1)) for n, m in ((rows, tall), (columns, wide)))
    plane[:, top : top + tall, left : left + wide] = rng.choice([-1.0, 1.0], (len(plane), 1, 1)) * threat.radius
    if not np.shares_memory(plane, change):
        change[:] = _back(plane, threat)


def _back(plane: Array, threat: Threat) -> Array:
    """A plane ``[C, rows, columns]`` as an item's change."""
    axis, item = threat.layout.channel_axis, threat.values.shape[1:]
    if axis is None:
        return plane.reshape(item)
    rest = item[: axis - 1] + item[axis:]
    return np.moveaxis(plane.reshape(len(plane), *rest), 0, axis - 1)
