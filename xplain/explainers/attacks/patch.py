"""A patch: a small picture that turns the class wherever it is put, to be printed and held beside things."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.declaring.options import NonNegative, Positive, Share, Side, Together
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Query, Sweep
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.core.targets.units import confidence
from xplain.explainers.attacks.universal import held_out_of
from xplain.explainers.attacks.warp import Placement, drawn_placement

__all__ = ["patch"]

_LENGTH = 8.0
"""Length of a step at first, of 255; it falls to 0.3 of it."""

_KEPT = 0.5
"""Share of the directions before that is kept."""


@attack(
    "patch",
    needs=Sweep,
    paper=Paper("Brown 2017", "arXiv:1712.09665"),
    goals="targeted",
    together=True,
    trial={"side": 4, "steps": 3, "places": 2},
)
def patch(
    threat: Threat,
    *,
    side: Side = 64,
    steps: Positive = 100,
    scale: Share = 0.1,
    angle: NonNegative = 10.0,
    light: Share = 0.1,
    places: Together = 8,
    held_out: Share = 0.25,
) -> AttackFlow:
    """One patch for all items and places: up the mean margin over random places, sizes, angles and lights.

    Each step draws one placement per item and climbs ``sum over items of (1 - p_target) d margin / d patch``, the
    gradient taken exactly through the placement (expectation over transforms); items that are won pull no more.

    Args:
        side: Pixels of the patch's edge.
        steps: Steps, each over all items that are not held out.
        scale: Sizes of a placement between 1 - this and 1 + this of the side.
        angle: Degrees that it is turned by, at most, either way.
        light: Its values are multiplied by between 1 - this and 1 + this.
        places: Placements that each item is tried with at the end.
        held_out: Share of the items that the patch is only tried on; with two items or more.

    Returns:
        ``shared`` is the patch (pictures: uint8 RGB). ``each["share of placements"]`` says in how many of an item's
        placements the target won; an item counts as fooled by any one of them that was found.

    Differs from the paper:
        The margin, weighted by 1 - p, is climbed by signs with momentum; a square, not a disc.

    Cost:
        ``steps`` sweeps per item that is not held out, and ``places`` evaluations per item.

    Raises:
        UsageError: the items are no pictures, or too small for the patch.

    Source:
        Brown et al., Adversarial Patch, 2017; Athalye et al., Synthesizing Robust Adversarial Examples,
        arXiv:1707.07397 (expectation over transforms).
    """
    layout, space, board = threat.layout, threat.space, threat.board
    if not layout.is_picture:
        raise UsageError(f"A patch is laid on pictures; the items are of layout {layout.axes}. Try 'universal'.")
    if side > min(layout.plane):
        raise UsageError(option="side", got=side, accepted=f"at most {min(layout.plane)}, an edge of the items")
    out = held_out_of(threat, held_out)
    made_on = np.flatnonzero(~out)
    draws = threat.rng("placements")

    def placed(count: int) -> list[Placement]:
        return [drawn_placement(draws, layout.plane, side, scale, angle, light) for _ in range(count)]

    low, high = (space.low, space.high) if space.whole else (float(threat.values.min()), float(threat.values.max()))
    found = np.full((layout.channels, side, side), (low + high) / 2)
    along = np.zeros_like(found)
    rivals = threat.goal.rival(threat.scores)
    for k in range(steps):
        where = placed(len(made_on))
        values = _laid(threat, made_on, found, where, (low, high))
        gradient, scores = yield from threat.climb(made_on, values, rivals[made_on])
        rivals[made_on] = threat.goal.of(made_on).rival(scores)
        open_ = 1.0 - np.clip(confidence(scores, threat.goal.labels[made_on], threat.view.outline), 0.0, 1.0)
        pull = np.zeros_like(found)
        for one, place, weight in zip(_channels_first(gradient, threat), where, open_, strict=True):
            pull += weight * place.back(one, found.shape)
        size = np.abs(pull).mean()
        along = _KEPT * along + (pull / size if size > 0 else 0.0)
        step = _LENGTH / 255 * (high - low) * (1 - 0.7 * k / steps)
        found = np.clip(found + step * np.sign(along), low, high)
    found = space.rounded(found)
    won = yield from _tried(threat, found, placed, places, (low, high))
    board.shared = _shown(found, threat)
    board.each |= {"share of placements": won, "held out": out}
    return Ended()


def _tried(
    threat: Threat, found: Array, placed: Any, places: int, bounds: tuple[float, float]
) -> Generator[Query, Any, Array]:
    """The share of new placements in which the target wins, of each item; the last won one is what is shown."""
    every, won = np.arange(len(threat.values)), np.zeros(len(threat.values))
    for _ in range(places):
        values = _laid(threat, every, found, placed(len(every)), bounds)
        margin = yield from threat.judge(every, values)
        won += margin > 0
    return won / places


def _laid(threat: Threat, items: Array, found: Array, where: list[Placement], bounds: tuple[float, float]) -> Array:
    """Items with the patch on them, rounded, in the model's layout."""
    pictures = _channels_first(threat.values[items], threat)
    laid = np.stack([one.laid(picture, found, *bounds) for picture, one in zip(pictures, where, strict=True)])
    axis = threat.layout.channel_axis
    laid = laid[:, 0] if axis is None else np.moveaxis(laid, 1, axis)
    return threat.space.rounded(laid)


def _channels_first(values: Array, threat: Threat) -> Array:
    axis = threat.layout.channel_axis
    return values[:, None] if axis is None else np.moveaxis(values, axis, 1)


def _shown(found: Array, threat: Threat) -> Array:
    """The patch as a result keeps it."""
    if not threat.space.whole:
        return found.astype(np.float32)
    seen = found.astype(np.uint8).transpose(1, 2, 0)
    seen = np.repeat(seen, 3, axis=2) if seen.shape[2] == 1 else seen
    flipped = threat.space.card is not None and threat.space.card.mode == "BGR"
    return np.ascontiguousarray(seen[..., ::-1] if flipped else seen)
