"""The finder of shortcuts: leads from explanations, each tried at the model, the strongest first.

For every class that has enough items four questions give leads: is there a place on which it leans and others do not
(``scan``), does what its explanations point at return in picture after picture (``again``), does one channel part it in
two (``channel``), do its maps fall into groups one of which no other class knows (``clusters``). None of them is
believed: each lead is cut out and pasted into pictures of other classes, beside controls (``session.pasting``). What is
confirmed still waits for a person, who alone can say whether the model may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xplain.analyses.alike import again, windows
from xplain.analyses.chance import holm
from xplain.analyses.enough import too_few
from xplain.analyses.groups import grouped
from xplain.analyses.scan import leaning, region, scan
from xplain.analyses.shares import directions, peaks, shares
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.finding import Finding
from xplain.session.shortcuts.leads import Lead, told
from xplain.session.shortcuts.pasting import Paster, Trial, boxes_at, tried

__all__ = [
    "ENOUGH",
    "WINDOW",
    "Tried",
    "explained",
    "leads",
    "place_lead",
    "shortcuts",
    "told_together",
    "tried_class",
    "tried_lead",
    "window_of",
]

ENOUGH = 40
"""Items of a class below which it is not looked at: a lead names up to half, and controls need as many."""

DONORS = 40
"""Pictures of each arm of a trial."""

WINDOW = (0.1875, 0.25)
"""Height and width of the window around a peak, as shares of the sides: what a mark, a tag, a ruler take."""

STRETCH = (1.0, 0.125)
"""The same of a series: an eighth of its time."""

_WINDOWS = 120
"""Windows of a class that are compared with one another."""

_SIDE = 64
"""Positions of the longer side at which windows are compared."""

_MOMENTS = 32
"""Cells over time in which a series' maps are compared: along one axis there is room for finer ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """A lead with what its trial showed; ``numbers`` are the items', ``plane`` is height and width of the pictures."""

    lead: Lead
    trial: Trial
    numbers: Array
    plane: tuple[int, int]


def shortcuts(
    paster: Paster,
    maps: Array,
    *,
    relevance: Array | None = None,
    numbers: Array | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
) -> list[Finding]:
    """Leads of every class, tried at the model; confirmed ones first, then by how far they exceed their controls.

    Args:
        paster: The pictures and their scores; a few thousand at most.
        maps: Their explanations for the predicted class, ``[N, H, W]``, of series ``[N, 1, T]``; NaN for an item that
            failed.
        relevance: Position-free relevance ``[N, R]``; None leaves the question of channels out.
        numbers: The items' numbers for a reader; None for 0, 1, ...
        names: Names of the classes; empty for their numbers.
        seed: Root of all randomness.

    Returns:
        One finding per lead, its p corrected by Holm; ``too few`` for classes of fewer than 40 items.

    Cost:
        1,600 evaluations per lead, at most four leads per class; fewer where a class has few items.
    """
    tried: list[Tried] = []
    short: list[Finding] = []
    for target in np.unique(paster.predicted):
        own, rest = _sides(paster, maps, int(target))
        if len(own) < ENOUGH or len(rest) < ENOUGH:
            name = names[target] if len(names) else str(target)
            have = min(len(own), len(rest))
            short.append(too_few("shortcuts", name, have, ENOUGH, "explained items, or of other classes,"))
            continue
        tried += tried_class(paster, maps, int(target), relevance=relevance, numbers=numbers, seed=seed)
    return told_together(tried, names) + short


def tried_class(
    paster: Paster,
    maps: Array,
    target: int,
    *,
    relevance: Array | None = None,
    numbers: Array | None = None,
    seed: int = 0,
) -> list[Tried]:
    """The leads of one class, tried; see ``shortcuts``. None where it or the others have fewer than 40 items."""
    rows = _sides(paster, maps, target)
    if min(map(len, rows)) < ENOUGH:
        return []
    given = np.arange(len(maps)) if numbers is None else np.asarray(numbers, np.int64)
    found = []
    for lead in leads(paster, maps, relevance, rows, target, seed):
        trial = tried_lead(paster, maps, lead, seed)
        if trial is not None:
            found.append(Tried(lead, trial, given, paster.layout.plane))
    return found


def tried_lead(paster: Paster, maps: Array, lead: Lead, seed: int) -> Trial | None:
    """A lead's trial; None where it names too few pictures, or a place that is half of the picture."""
    arms = _arms(paster, maps, lead, _sides(paster, maps, lead.target)[1], seed)
    return None if arms is None else tried(paster, lead.target, *arms, seed=seed)


def place_lead(paster: Paster, maps: Array, target: int, seed: int) -> Lead | None:
    """The place on which a class leans and others do not; None where there is none."""
    own, rest = _sides(paster, maps, target)
    return None if min(len(own), len(rest)) < ENOUGH else _place(paster, maps, own, rest, target, seed)


def told_together(found: Sequence[Tried], names: Sequence[str]) -> list[Finding]:
    """Tried leads of one model as findings, the strongest first, their p corrected for one another."""
    p = np.array([one.trial.p for one in found])
    places = np.array([one.lead.box is not None for one in found], bool)
    for some in (places, ~places):  # only those of places can be confirmed, so the others are no tests of theirs
        p[some] = holm(p[some])
    made = []
    for one, q in zip(found, p, strict=True):
        said = told(one.lead, one.trial, float(q), int(places.sum()), names, one.plane)
        made.append(replace(said, members=one.numbers[said.members]))
    rank = {"confirmed": 0, "candidate": 1, "refuted": 2}
    return sorted(made, key=lambda one: (rank[one.standing], -(one.effect or 0)))


def _sides(paster: Paster, maps: Array, target: int) -> tuple[Array, Array]:
    """Rows of the class, and of the others, whose maps have positive mass."""
    good = np.isfinite(_cells(paster, maps)).all(axis=(1, 2))
    own = paster.predicted == target
    return np.flatnonzero(good & own), np.flatnonzero(good & ~own)


def _cells(paster: Paster, maps: Array) -> Array:
    """Maps as shares of few cells."""
    return shares(maps) if paster.layout.plane[0] > 1 else shares(maps, _MOMENTS)


def window_of(plane: tuple[int, int]) -> tuple[float, float]:
    """What a mark takes of items of this plane, as shares of its sides."""
    return WINDOW if plane[0] > 1 else STRETCH


def explained(paster: Paster, maps: Array, target: int) -> int:
    """Items of a class, or of all others where these are fewer, whose maps have positive mass."""
    return min(map(len, _sides(paster, maps, target)))


def leads(
    paster: Paster, maps: Array, relevance: Array | None, rows: tuple[Array, Array], target: int, seed: int
) -> list[Lead]:
    """What the four questions name in one class.

    Args:
        paster: The pictures.
        maps: ``[N, H, W]``.
        relevance: ``[N, R]``, or None.
        rows: The class's rows, and those of other classes.
        target: The class.
        seed: Root of all randomness.
    """
    own, rest = rows
    found = [_place(paster, maps, own, rest, target, seed), _returning(paster, maps, own, rest, target, seed)]
    vectors = _cells(paster, maps[own]).reshape(len(own), -1)
    if relevance is not None:
        flat = directions(relevance[own])
        known = np.isfinite(flat).all(axis=1)
        if known.sum() >= ENOUGH:
            part = leaning(flat[known], seed=seed)
            value = flat[known][:, part.channel]
            order = own[known][np.argsort(-value, kind="stable")]
            some = int(part.flagged.sum())
            evidence = {"channel": part.channel, "separation": part.separation}
            found.append(Lead("channel", target, order[:some], order[::-1][: len(order) // 4], None, part.p, evidence))
    found.append(_group(vectors, _cells(paster, maps[rest]).reshape(len(rest), -1), own, target, seed))
    return [one for one in found if one is not None and len(one.rows) >= 5]


def _place(paster: Paster, maps: Array, own: Array, rest: Array, target: int, seed: int) -> Lead | None:
    both = np.concatenate([own, rest])
    cells = _cells(paster, maps[both])
    inside = np.arange(len(both)) < len(own)
    seen = scan(cells, inside, seed=seed)
    box = region(seen)
    if box is None:
        return None
    mass = cells[inside][:, box].sum(axis=1)
    order = own[np.argsort(-mass, kind="stable")]
    plane = np.array(paster.layout.plane)
    y, x = np.nonzero(box)
    edges = np.array([[y.min(), x.min()], [y.max() + 1, x.max() + 1]]) * plane / box.shape
    evidence = {"t": seen.t, "region": box, "largest t": float(seen.t.max()), "mean map": cells[inside].mean(axis=0)}
    quarter = max(5, len(order) // 4)
    where = np.rint(edges).astype(np.int64).reshape(-1)
    return Lead("scan", target, order[: len(order) // 2], order[::-1][:quarter], where, seen.p, evidence)


def _returning(paster: Paster, maps: Array, own: Array, rest: Array, target: int, seed: int) -> Lead | None:
    rng = np.random.default_rng([seed, 0xA1, target])
    own, rest = (rng.permutation(one)[:_WINDOWS] for one in (own, rest))
    pictures, factor = _small(paster, np.concatenate([own, rest]))
    plane = (pictures.shape[2], pictures.shape[3])
    window = window_of(plane)
    size = (min(plane[0], max(3, round(window[0] * plane[0]))), max(3, round(window[1] * plane[1])))
    slack = (0 if plane[0] == 1 else size[0] // 2, size[1] // 3)
    if size[0] + 2 * slack[0] > plane[0] or size[1] + 2 * slack[1] > plane[1]:
        return None
    boxes = boxes_at(peaks(maps[np.concatenate([own, rest])], window), plane, size)
    cut = windows(pictures, boxes, slack)
    seen = again(cut[: len(own)], cut[len(own) :], slack)
    if not len(seen.members):
        return None
    low = own[np.argsort(seen.score, kind="stable")][: max(5, len(own) // 4)]
    evidence = {"likeness": float(seen.score.max()), "level": seen.level, "shrunk by": factor}
    return Lead("again", target, own[seen.members], low, None, None, evidence)


def _small(paster: Paster, rows: Array) -> tuple[Array, int]:
    """Pictures ``[n, C, h, w]`` whose longer side is about 64: means of blocks; of a series ``h`` is 1."""
    x, layout = paster.part.items.x[rows].astype(np.float32), paster.layout
    x = np.moveaxis(x, layout.channel_axis, 1) if layout.channel_axis is not None else x[:, None]
    x = x[:, :, None] if x.ndim == 3 else x
    factor = max(1, max(x.shape[2:]) // _SIDE)
    down = factor if x.shape[2] > 1 else 1
    high, wide = x.shape[2] // down, x.shape[3] // factor
    cut = x[:, :, : high * down, : wide * factor].reshape(*x.shape[:2], high, down, wide, factor)
    return cut.mean(axis=(3, 5)), factor


def _group(vectors: Array, others: Array, own: Array, target: int, seed: int) -> Lead | None:
    """Of all groups at all numbers, the one whose mean map is least like that of the other classes."""
    try:
        ways = grouped(vectors, seed=seed)
    except (MissingDependency, UsageError):  # an extra that is not there, or maps that are all equal: no lead
        return None
    typical = np.sqrt(others.mean(axis=0))
    best: tuple[float, Array, str] | None = None
    for way in ways:
        for k in range(way.own.max() + 1):
            inside = way.own == k
            if inside.sum() < 5 or inside.mean() > 0.75:
                continue
            away = float(1 - np.sqrt(vectors[inside].mean(axis=0)) @ typical)
            if best is None or away > best[0]:
                best = (away, inside, f"{way.way} {way.count}")
    if best is None:
        return None
    away, inside, how = best
    near = np.sqrt(vectors) @ np.sqrt(vectors[inside].mean(axis=0))
    order = np.argsort(-near, kind="stable")
    rows = own[order[inside[order]]]
    evidence = {
        "unlike other classes": away,
        "grouping": how,
        **{f"sizes, {way.way} {way.count}": np.bincount(way.own[way.own >= 0], minlength=1) for way in ways},
        "eigengap would choose": int(ways[0].gaps[1:].argmax() + 2),
    }
    return Lead("clusters", target, rows, own[order[::-1]][: max(5, len(own) // 4)], None, None, evidence)


def _arms(
    paster: Paster, maps: Array, lead: Lead, others: Array, seed: int
) -> tuple[tuple[Array, Array], dict[str, tuple[Array, Array]]] | None:
    """Donors and boxes of a lead, and of its controls; None where a box would be the whole picture."""
    plane = paster.layout.plane
    count = min(DONORS, len(lead.rows), len(lead.rest))
    flagged, same = lead.rows[:count], lead.rest[:count]
    foreign = np.random.default_rng([seed, 0xF0, lead.target]).permutation(others)[:count]
    if lead.box is None:
        window = window_of(plane)
        size = (max(1, round(window[0] * plane[0])), max(1, round(window[1] * plane[1])))
    else:
        size = (int(lead.box[2] - lead.box[0]), int(lead.box[3] - lead.box[1]))
    if count < 5 or size[0] * size[1] > 0.5 * plane[0] * plane[1]:
        return None

    def peaked(rows: Array) -> tuple[Array, Array]:
        """The rows whose own peaks hold most of their mass, and boxes around them."""
        share = (size[0] / plane[0], size[1] / plane[1])
        at = peaks(maps[rows], share)
        held = _held(maps[rows], at, share)
        best = np.argsort(-held, kind="stable")[:count]
        return rows[best], boxes_at(at[best], plane, size)

    def own_boxes(rows: Array) -> Array:
        if lead.box is not None:
            return np.tile(lead.box, (len(rows), 1))
        return boxes_at(peaks(maps[rows], (size[0] / plane[0], size[1] / plane[1])), plane, size)

    controls = {"strongest of the rest": peaked(lead.rest), "others": (foreign, own_boxes(foreign))}
    if lead.box is not None:
        controls["unflagged"] = (same, own_boxes(same))
    return (flagged, own_boxes(flagged)), controls


def _held(maps: Array, at: Array, share: tuple[float, float]) -> Array:
    """The share of each map's positive mass in the window around a place."""
    positive = np.maximum(np.nan_to_num(maps), 0)
    high, wide = (max(1, round(s * n)) for s, n in zip(share, positive.shape[1:], strict=True))
    boxes = boxes_at(at, (positive.shape[1], positive.shape[2]), (high, wide))
    inside = np.array([one[y0:y1, x0:x1].sum() for one, (y0, x0, y1, x1) in zip(positive, boxes, strict=True)])
    return np.asarray(inside / np.maximum(positive.sum(axis=(1, 2)), 1e-30))
