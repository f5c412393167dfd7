"""A planted control: a shortcut of the audit's own making, to see whether the finder finds it.

That nothing was found means little unless it is known what would have been. So a patch of a class is pasted at one
place over pictures of other classes, and those are kept that the model now takes for the class: they are of the class
because of a mark at a place, which is what a shortcut is. They are explained, put among the class's own pictures, and
the scan and the trial are run as on any other set. In how many of four corners the scan names the place and the
pictures is the power that the finder had here. Whether the trial then confirms it is told beside: the control is honest
evidence of the class, so it exceeds what other pictures of the class lean on only where it is an exceptional patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xplain.analyses.chance import wilson
from xplain.analyses.enough import too_few
from xplain.analyses.shares import peaks, pooled
from xplain.core.edits import Array
from xplain.core.finding import Finding
from xplain.session.part import Part
from xplain.session.shortcuts.finder import ENOUGH, place_lead, tried_lead, window_of
from xplain.session.shortcuts.pasting import Paster, boxes_at

__all__ = ["power_of"]

_LIMITS = (
    "The control is a patch of the class itself, pasted whole: a fainter mark, or a rarer one, is harder to find.",
    "It says what was found of this class and method; others may be harder.",
)


def power_of(
    paster: Paster,
    method: str,
    maps: Array,
    target: int,
    count: int,
    *,
    names: Sequence[str] = (),
    seed: int = 0,
) -> list[Finding]:
    """Plant a control in each of four corners, and say in how many it was found, and in how many confirmed.

    Args:
        paster: Pictures of the class and of others.
        method: The session's method that made the maps.
        maps: Their maps, ``[N, H, W]``.
        target: The class.
        count: Pictures that are to carry the control.
        names: Names of the classes.
        seed: Root of all randomness.

    Returns:
        One measured finding, with the share of corners in which the control was found; ``too few`` where no patch
        turns enough pictures, or there are not enough of them.

    Cost:
        160 evaluations to choose the patch, and per corner up to ``4 count`` to paste it, ``count`` explanations and
        1,600 evaluations of the trial.
    """
    name = names[target] if len(names) else str(target)
    own, others = (np.flatnonzero(one) for one in (paster.predicted == target, paster.predicted != target))
    if len(own) < ENOUGH or len(others) < ENOUGH + count:
        return [too_few("control", name, len(others), ENOUGH + count, "pictures of other classes to plant it in")]
    plane = paster.layout.plane
    window = window_of(plane)
    size = (max(1, round(window[0] * plane[0])), max(1, round(window[1] * plane[1])))
    rng = np.random.default_rng([seed, 0x9C])
    donors = rng.permutation(own)[:20]
    boxes = boxes_at(peaks(maps[donors], window), plane, size)
    into = rng.choice(others, 8, replace=False)
    rows = np.repeat(np.arange(len(donors)), 8)
    way = paster.effect(donors[rows], np.tile(into, len(donors)), boxes[rows], target).way
    best = int(way.reshape(len(donors), 8).mean(axis=1).argmax())
    corners = [(y, x) for y in (0.0, 1.0) for x in (0.0, 1.0)] if plane[0] > 1 else [(0.0, x / 3) for x in range(4)]
    found, confirmed, planted = 0, 0, []
    for corner in corners:
        box = boxes_at(np.array([corner]), plane, size)[0]
        into = rng.permutation(others)[: 4 * count]
        made = _planted(paster, (int(donors[best]), boxes[best]), box, into, target)[:count]
        planted.append(len(made))
        if len(made) >= 10:
            named, sure = _finds(paster, method, maps, target, made, seed)
            found, confirmed = found + named, confirmed + sure
    if max(planted) < 10:
        return [too_few("control", name, max(planted), 10, "pictures that a pasted patch turned into the class,")]
    tried = sum(n >= 10 for n in planted)
    what = ("in a corner", "pictures", "corners") if plane[0] > 1 else ("at one of four times", "series", "times")
    text = (
        f"A control that the audit planted itself, a patch of {name} {what[0]} of up to {max(planted)} {what[1]} that "
        f"it turned, was found in {found} of {tried} {what[2]}, and confirmed in {confirmed}."
    )
    return [
        Finding(
            *("control", name, text, "measured", found / tried, "share of planted controls that were found"),
            wilson(found, tried),
            count=int(len(own) + max(planted)),
            evidence={"pictures planted": np.array(planted), "corners tried": tried, "confirmed": confirmed},
            limits=_LIMITS,
        )
    ]


def _planted(paster: Paster, patch: tuple[int, Array], box: Array, into: Array, target: int) -> Array:
    """Pictures of other classes with a donor's box pasted into another, those that became the class, ``[n, *item]``."""
    x = paster.part.items.x
    made = x[into].copy()
    donor, cut = patch
    made[(slice(None), *paster.at(box))] = x[donor][paster.at(cut)]
    scores = paster.scored(made)
    return np.asarray(made[scores.argmax(axis=1) == target])


def _finds(paster: Paster, method: str, maps: Array, target: int, made: Array, seed: int) -> tuple[bool, bool]:
    """Whether the scan names the planted pictures, at least half of its first 20, and whether the trial confirms it."""
    items = paster.part.items
    both = replace(items, x=np.concatenate([items.x, made]), names=tuple(map(str, range(len(items) + len(made)))))
    session = paster.session
    part = session.part(paster.part.model, replace(both, pictures=None))
    fresh = Part(paster.part.model, replace(both, x=made, names=both.names[len(items) :], pictures=None))
    (told,) = session.explain(fresh, method)
    values = _planes(np.asarray(told.values, np.float32), paster)
    if values.shape[1:] != maps.shape[1:]:
        values = _as_large(values, (int(maps.shape[1]), int(maps.shape[2])))
    mixed = Paster.of(session, part)
    every = np.concatenate([maps, values])
    lead = place_lead(mixed, every, target, seed)
    if lead is None or (lead.rows[:20] >= len(items)).mean() < 0.5:
        return False, False
    trial = tried_lead(mixed, every, lead, seed)
    return True, trial is not None and trial.verdict(trial.p) == "confirmed"


def _planes(values: Array, paster: Paster) -> Array:
    """Maps ``[N, H, W]``; those of series ``[N, 1, T]``, channels added up."""
    if paster.layout.plane[0] > 1:
        return values
    line = values if values.ndim == 2 else values.sum(axis=paster.layout.channel_axis)
    return line[:, None]


def _as_large(values: Array, plane: tuple[int, int]) -> Array:
    """Maps at another resolution: means over cells."""
    return pooled(values, plane).astype(np.float32)
