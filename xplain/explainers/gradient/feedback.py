"""Feedback: look and think twice. Units that do not speak for the target are shut, and the net is asked again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.caveat import Caveat, each
from xplain.core.declaring.options import NonNegative, Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence
from xplain.core.edits import Array
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.rules import Rules
from xplain.core.target import Target

__all__ = ["Looks", "feedback", "looked", "shut", "without"]

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
    view: View, *, rounds: Positive = 2, penalty: NonNegative = 0.0, channels: bool = False, signed: bool = False
) -> Flow:
    """Shut the units that do not speak for the target, ask the net again, and look at the gradient that is left.

    Behind each rectifier stands a gate z in {0, 1}, open at first, and the net goes on with ``z a``. What the score
    rises by a gate is ``d f / d z = a * d f / d(z a)``. In each round all those shut at once whose rise is not above
    what they cost: units that argue against the target, and those that say nothing, which else would wake up as their
    opponents fall silent. The next pass goes through the gates that are left, and is judged anew. Gates do not open
    again, so it ends: when none shuts any more, or after ``rounds``. The map is ``max over c of | d f / d x[c, p] |``
    through what is open.

    Args:
        rounds: Rounds at most. What the first leaves open was judged by a net that is gone, so one alone may mislead;
            about ten until the gates stay as they are, for a map of few points.
        penalty: What an open gate costs, as a multiple of its layer's mean positive rise; the larger, the more shut.
        channels: Keep channels: the raw signed gradient.
        signed: Sum over channels with sign, instead of the largest magnitude.

    Returns:
        ``[N, H, W]``, at least 0 unless ``signed``. ``each`` holds the ``score`` of the net as it is, and ``through the
        gates``, the share ``shut`` of the units that had a say at first, and the ``rounds`` that it took. The score
        through the gates is one that no item has. Of a class that others share units with, ``margin:CLASS,smooth`` as
        target shuts what speaks for these as well.

    Cost:
        Up to ``rounds + 1`` sweeps per item, each with a number per unit fed and returned.

    Differs from the paper:
        The paper climbs ``f - lambda sum z`` by gradient steps with z clipped to [0, 1]; here gates are 0 or 1 and shut
        greedily, with a lambda of 0 from above unless there is a ``penalty``. Gates stand behind rectifiers, as the
        paper's do, and a pooling passes on what its winner's lets through: one behind it would shut nothing more, as a
        unit that loses a pooling has no rise and is shut.

    Source:
        Cao et al., Look and Think Twice: Capturing Top-Down Visual Attention with Feedback Convolutional Neural
        Networks, ICCV 2015; shut greedily, as in their Feedback Convolutional Neural Network for Visual Localization
        and Segmentation, TPAMI 2019.
    """
    step = max(1, _ELEMENTS // max(1, int(np.prod(view.x.shape[1:]))))
    parts = []
    for left in range(0, len(view.x), step):
        items = np.arange(left, min(left + step, len(view.x)))
        parts.append((yield from looked(Looks(), view.x[items], view.target.take(items), rounds, penalty)))
    gradient = np.concatenate([one.gradients[-1] for one in parts])
    before, after = (np.concatenate([one.scores[k] for one in parts]) for k in (0, -1))
    closed, took = (np.concatenate([getattr(one, name) for one in parts]) for name in ("shut", "rounds"))
    own = {"score": before, "through the gates": after, "shut": closed, "rounds": took}
    warnings = (*without(parts[0]), *_fallen(before, after), *_empty(gradient))
    notes = {"gated layers": parts[0].layers}
    values = gradient if channels else collapse(gradient, view.layout, "sum" if signed else "max-abs")
    unit = "delta {score} per input unit, through the open gates" if signed or channels else None
    return Reading(values, signed=signed or channels, unit=unit, notes=notes, each=own, warnings=warnings)


@dataclass(slots=True, eq=False)
class Looks:
    """What came of some items, look by look; the first is the net as it is. It stands whatever ends the looking.

    Args:
        films: Whether every look's gradient is kept, or the last one alone.
        gradients: By the items, ``[N, *item]`` at each look.
        scores: ``[N]`` at each look.
        shut: Share of the units with a say at first that are shut, ``[N]``.
        rounds: In how many rounds a gate of an item shut, ``[N]``.
        layers: Rectifiers with gates.
    """

    films: bool = False
    gradients: list[Array] = field(default_factory=list)
    scores: list[Array] = field(default_factory=list)
    shut: Array = field(default_factory=lambda: np.zeros(0))
    rounds: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    layers: int = 0


def looked(found: Looks, x: Array, target: Target, rounds: int, penalty: float) -> Generator[Sweep, Any, Looks]:
    """Look at items ``[N, *item]`` until their gates stay as they are; see ``feedback`` for rounds and penalty."""
    gates: dict[str, Array] = {}
    first: dict[str, Array] = {}
    found.shut, found.rounds = np.zeros(len(x)), np.zeros(len(x), np.int64)
    for k in range(rounds + 1):
        answer = yield Sweep(x[:, None], target, Rules(), gates=gates)
        rises: dict[str, Array] = answer.gates
        found.scores.append(np.asarray(answer.target, np.float64))
        found.gradients = [*(found.gradients if found.films else []), np.asarray(answer["input"][1])]
        if not k:
            first, found.layers = {name: one != 0 for name, one in rises.items()}, len(rises)
        left = {name: (first[name] & (gates[name] != 0)) if k else first[name] for name in first}
        said = _total(first, len(x))
        found.shut = (said - _total(left, len(x))) / np.maximum(said, 1)
        if k == rounds:
            break
        fresh = {name: shut(gates.get(name, np.ones_like(rise)), rise, penalty) for name, rise in rises.items()}
        fallen = _total({name: one != gates.get(name, 1.0) for name, one in fresh.items()}, len(x)) > 0
        if not fallen.any():
            break
        found.rounds += fallen
        gates |= fresh
    return found


def shut(gates: Array, rises: Array, penalty: float = 0.0) -> Array:
    """The gates of a layer after a round, ``[N, *shape]``: open where they were and rise by more than they cost."""
    positive = np.maximum(rises, 0)
    axes = tuple(range(1, rises.ndim))
    number = np.maximum((positive > 0).sum(axis=axes, keepdims=True), 1)
    least = penalty * positive.sum(axis=axes, keepdims=True, dtype=np.float64) / number
    return np.where(rises > least, gates, np.float32(0)).astype(np.float32, copy=False)


def _total(flags: Mapping[str, Array], count: int) -> Array:
    """How many of all layers' units are marked, of each item, ``[N]``."""
    each_layer = (np.asarray(one).reshape(count, -1).sum(axis=1, dtype=np.float64) for one in flags.values())
    return sum(each_layer, start=np.zeros(count))


def without(part: Looks) -> tuple[Caveat, ...]:
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
