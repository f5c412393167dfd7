"""Feedback: look and think twice. Units that argue against the target are shut, and the net is asked again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.caveat import Caveat, each
from xplain.core.declaring.options import NonNegative, Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence
from xplain.core.edits import Array
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.rules import Rules

__all__ = ["feedback", "shut"]

_ELEMENTS = 2**18
"""Elements of the items that are swept together: gates of every layer are held for all of them."""


@method(
    "feedback",
    needs=Sweep,
    paper=Paper("Cao 2015", "doi:10.1109/ICCV.2015.338"),
    unit="|delta {score}| per input unit, through the open gates",
    aliases=("look-and-think-twice", "feedback-net"),
    signed=False,
    traceable=False,
    adaptive=True,
    trial={"rounds": 3},
)
def feedback(
    view: View, *, rounds: Positive = 1, penalty: NonNegative = 0.0, channels: bool = False, signed: bool = False
) -> Flow:
    """Shut the units that argue against the target, ask the net again, and look at the gradient that is left.

    Behind each rectifier stands a gate z in {0, 1}, open at first, and the net goes on with ``z a``. What the score
    rises by a gate is ``d f / d z = a * d f / d(z a)``. In each round those shut whose rise is below what they cost,
    all at once; the next pass goes through the gates that are left, and is judged anew. Gates do not open again, so it
    ends: when none shuts any more, or after ``rounds``. The map is ``max over c of | d f / d x[c, p] |`` through what
    is open. Experimental: see Returns.

    Args:
        rounds: Rounds at most; 10 is enough for most gates to settle.
        penalty: What an open gate costs, as a multiple of its layer's mean positive rise; the larger, the more shut.
        channels: Keep channels: the raw signed gradient.
        signed: Sum over channels with sign, instead of the largest magnitude.

    Returns:
        ``[N, H, W]``, at least 0 unless ``signed``. ``each`` holds the ``score`` of the net as it is, and ``through the
        gates``, the share of units with a say that were ``shut``, and the ``rounds`` that it took. Where a net is
        deep, every further round raises the score far beyond any that an item has, and the map tells less of the item.

    Cost:
        Up to ``rounds + 1`` sweeps per item, each with a number per unit fed and returned.

    Differs from the paper:
        Gates are 0 or 1 and shut greedily, where the paper climbs by gradient steps and clips to [0, 1]; one round
        instead of ten or more; gates stand behind rectifiers, and a pooling passes on what its winner's lets through.

    Source:
        Cao et al., Look and Think Twice: Capturing Top-Down Visual Attention with Feedback Convolutional Neural
        Networks, ICCV 2015.
    """
    step = max(1, _ELEMENTS // max(1, int(np.prod(view.x.shape[1:]))))
    parts = []
    for left in range(0, len(view.x), step):
        parts.append((yield from _settled(view, np.arange(left, min(left + step, len(view.x))), rounds, penalty)))
    gradient, before, after, closed, took = (np.concatenate([one[k] for one in parts]) for k in range(5))
    own = {"score": before, "through the gates": after, "shut": closed, "rounds": took}
    warnings = (*_without(parts[0]), *_fallen(before, after), *_empty(gradient))
    notes = {"gated layers": parts[0].layers}
    values = gradient if channels else collapse(gradient, view.layout, "sum" if signed else "max-abs")
    unit = "delta {score} per input unit, through the open gates" if signed or channels else None
    return Reading(values, signed=signed or channels, unit=unit, notes=notes, each=own, warnings=warnings)


class _Settled(NamedTuple):
    """What came of some items."""

    gradient: Array
    before: Array
    after: Array
    shut: Array
    rounds: Array
    layers: int


def _settled(view: View, items: Array, rounds: int, penalty: float) -> Generator[Sweep, Any, _Settled]:
    """Some items, until their gates stay as they are."""
    x, target, count = view.x[items][:, None], view.target.take(items), len(items)
    gates: dict[str, Array] = {}
    took, closed, scores = np.zeros(count, np.int64), np.zeros(count), list[Array]()
    for k in range(rounds + 1):
        answer = yield Sweep(x, target, Rules(), gates=gates)
        scores.append(np.asarray(answer.target, np.float64))
        rises: dict[str, Array] = answer.gates
        if k == rounds:
            break
        fresh = {name: shut(gates.get(name, np.ones_like(rise)), rise, penalty) for name, rise in rises.items()}
        moved = np.zeros(count, bool)
        for name, one in fresh.items():
            falls = _counted(one != gates.get(name, 1.0))
            moved |= falls > 0
            closed += falls
        took += moved
        gates |= fresh
        if not moved.any():
            break
    gradient = np.asarray(answer["input"][1])
    working = sum((_counted(one != 0) for one in rises.values()), start=np.zeros(count))
    share = closed / np.maximum(closed + working, 1)
    return _Settled(gradient, scores[0], scores[-1], share, took, len(rises))


def shut(gates: Array, rises: Array, penalty: float = 0.0) -> Array:
    """The gates of a layer after a round, ``[N, *shape]``: shut where they rise by less than they cost.

    A unit that is off, or that nothing leads on from, rises by exactly 0; nothing is known of it, and it stays.
    """
    positive = np.maximum(rises, 0)
    axes = tuple(range(1, rises.ndim))
    number = np.maximum((positive > 0).sum(axis=axes, keepdims=True), 1)
    least = penalty * positive.sum(axis=axes, keepdims=True, dtype=np.float64) / number
    return np.where((rises != 0) & (rises < least), np.float32(0), gates).astype(np.float32, copy=False)


def _counted(flags: Array) -> Array:
    return np.asarray(np.asarray(flags).reshape(len(flags), -1).sum(axis=1), np.float64)


def _without(part: _Settled) -> tuple[Caveat, ...]:
    """Says so where nothing could be gated."""
    if part.layers:
        return ()
    return (
        Caveat(
            "No rectifier was found between the item and the target that a gate could stand behind, so nothing was "
            "shut: this is the plain gradient.",
            "unchanged",
        ),
    )


def _empty(gradient: Array) -> tuple[Caveat, ...]:
    """Says so, item by item, where no way to the item is left."""
    flat = [not one.any() for one in gradient]
    text = "No way from the item to the target is left open, so its map is zero."
    return each((text if one else "" for one in flat), "empty")


def _fallen(before: Array, after: Array) -> tuple[Caveat, ...]:
    """Says so, item by item, where shutting gates lowered the score: units then worked together."""
    text = (
        "The score fell from {:.3g} to {:.3g} as gates were shut, so what they said one by one did not hold together."
    )
    told = (Sentence(text.format(a, b)) if b < a else "" for a, b in zip(before, after, strict=True))
    return each(told, "other")
