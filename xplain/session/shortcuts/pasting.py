"""Cut and paste: does a place of some pictures carry a class into pictures of other classes?

Statistics of maps give leads, and honest differences of classes give them too. So a lead is tried at the model: what is
cut out of the pictures that a lead names is pasted over the same place of pictures of other classes, and so are
controls: the same place of the class's other pictures and of other classes' pictures, another place of the named
pictures, and the place on which the class's other pictures lean most, which is what honest evidence can do. Only what
moves the model more than each control is confirmed. All of it is questions of a session: counted,
cached and limited like any other.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.analyses.chance import bootstrap, permuted_p, relabelled
from xplain.core.caveat import Caveat
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Query, Score
from xplain.core.target import every_score
from xplain.session.part import Part
from xplain.session.run import Session

__all__ = ["MARGIN", "Effect", "Paster", "Scored", "Trial", "Verdict", "boxes_at", "elsewhere", "tried"]

Verdict: TypeAlias = Literal["confirmed", "refuted", "candidate"]

MARGIN = 0.1
"""Share of the way to the class by which a confirmed patch exceeds every control."""

_DRAWS = 19_999
"""Permutations of a trial's donors: so that p <= 0.01 is within reach after 200 trials."""

_AT_ONCE = 64
"""Pictures that are pasted together before they are asked about."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a flow of pasting returns: the scores of each pasted picture, float64 ``[P, K]``."""

    values: Array
    warnings: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What pasting did to each of P pictures.

    Args:
        way: How far it went to the class. With the margin ``m`` of the class's score over the best other one: the rise
            of m, in units of the mean ``- m`` of the untouched receivers. So 1 is what would turn the usual receiver,
            0 where nothing changed, below 0 where it went away.
        turned: bool: whether the class is predicted now.
        change: By how much the class's score rose, in its unit.
    """

    way: Array
    turned: Array
    change: Array


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A lead, tried at the model.

    Args:
        way: Arm (``flagged``, ``elsewhere``, and the controls' names) to each donor's mean way, ``[D]``.
        turned: Arm to the share of pictures that became the class.
        change: Arm to the mean rise of the class's score.
        contrast: Mean way of ``flagged`` less that of the strongest control.
        control: That control.
        interval: 95 % bounds of the contrast, over donors.
        p: That the flagged ones beat every control by chance: the largest of the p-values against each, so it needs no
            correction for their number.
        pasted: Pictures that were made and asked about.
    """

    way: Mapping[str, Array]
    turned: Mapping[str, float]
    change: Mapping[str, float]
    contrast: float
    control: str
    interval: tuple[float, float]
    p: float
    pasted: int

    def verdict(self, p: float, place: bool = True, margin: float = MARGIN) -> Verdict:
        """What the trial says, with its p corrected for all trials that were made.

        ``confirmed`` where p is at most 0.01 and the contrast at least ``margin``; ``refuted`` where all of its
        interval lies below ``margin``; else it stays a ``candidate``. Only the lead of a place can be confirmed: honest
        evidence elsewhere in the class is a control that knows nothing of the lead. A lead that chose pictures by what
        they show, wherever it lies, chose the strongest honest ones of a class without shortcuts too.

        Args:
            p: The corrected p.
            place: Whether the lead is of a place.
            margin: Share of the way that the contrast must reach.
        """
        if place and p <= 0.01 and self.contrast >= margin:
            return "confirmed"
        whole = place and self.control == "unflagged" and self._beats(("others", "elsewhere"), margin)
        return "refuted" if self.interval[1] < margin and not whole else "candidate"

    def _beats(self, controls: tuple[str, ...], margin: float) -> bool:
        """Whether these are exceeded, so that what is left is that nearly every picture of the class has it there."""
        own = float(self.way["flagged"].mean())
        return all(own - float(self.way[name].mean()) >= margin for name in controls if name in self.way)


@dataclass(frozen=True, slots=True, eq=False)
class Paster:
    """Pictures of one part whose places can be pasted over one another.

    Args:
        session: The model, and what may be spent.
        part: The pictures.
        layout: Of the pictures.
        scores: Of the untouched pictures, float64 ``[N, K]``.
    """

    session: Session
    part: Part
    layout: Layout
    scores: Array = field(repr=False)

    @classmethod
    def of(cls, session: Session, part: Part) -> Paster:
        """A paster of a part; the untouched pictures are looked at once.

        A series is a picture of one row: what is pasted is a window of time, in all of its channels.

        Raises:
            UsageError: the items are neither pictures nor series, or there is one class.
        """
        layout = part.items.layout
        if not isinstance(layout, Layout) or not (layout.is_picture or set(layout.axes) in ({*"NCT"}, {*"NT"})):
            raise UsageError(f"Pasting needs pictures or series; the items are {list(part.items.x.shape)} ({layout}).")
        scores = session.look(part)
        if scores.shape[1] < 2:
            raise UsageError("Pasting needs a model of at least two classes: it asks whether another one is predicted.")
        return cls(session, part, layout, scores)

    @property
    def predicted(self) -> Array:
        """The class of each untouched picture, int ``[N]``."""
        return np.asarray(self.scores.argmax(axis=1))

    def paste(self, donors: Array, receivers: Array, boxes: Array) -> Array:
        """Pictures of the receivers with each donor's box over their own, ``[P, *item]``.

        Args:
            donors: Rows of the part, int ``[P]``.
            receivers: Rows of the part, int ``[P]``.
            boxes: (y0, x0, y1, x1) in positions, half open, ``[P, 4]``: the same place in both.
        """
        x = self.part.items.x
        made = x[receivers].copy()
        for n, (donor, box) in enumerate(zip(donors, boxes, strict=True)):
            at = self.at(box)
            made[(n, *at)] = x[(int(donor), *at)]
        return made

    def at(self, box: Array) -> tuple[Any, ...]:
        """The slices of one item that are a box (y0, x0, y1, x1)."""
        found: list[Any] = [slice(None)] * (self.part.items.x.ndim - 1)
        axes = self.layout.plane_axes
        for axis, low, high in zip(axes, box[2 - len(axes) : 2], box[4 - len(axes) :], strict=True):
            found[axis - 1] = slice(int(low), int(high))
        return tuple(found)

    def scored(self, made: Array) -> Array:
        """The scores of pictures that were made, float64 ``[P, K]``."""
        return self._ended(_asked(self, made))

    def effect(self, donors: Array, receivers: Array, boxes: Array, target: int) -> Effect:
        """What pasting does; the receivers are of other classes.

        Cost:
            P evaluations.

        Raises:
            UsageError: a receiver is predicted as the class already.
        """
        before = self.scores[receivers]
        was = _margin(before, target)
        if (was >= 0).any():
            raise UsageError("A receiver is predicted as the class already, so nothing pasted could turn it.")
        after = self._ended(_pasted(self, donors, receivers, boxes))
        now = _margin(after, target)
        return Effect((now - was) / -was.mean(), now > 0, after[:, target] - before[:, target])

    def _ended(self, flow: Generator[Query, Any, Scored]) -> Array:
        settings = self.session.settings(None, calls=self.part.calls, together=True)
        (told,), _ = self.session.ask([flow], self.part.model, settings)
        return told.values


def _margin(scores: Array, target: int) -> Array:
    """The class's score less the best other one, ``[N]``."""
    return np.asarray(scores[:, target] - np.delete(scores, target, axis=1).max(axis=1))


def _pasted(paster: Paster, donors: Array, receivers: Array, boxes: Array) -> Generator[Query, Any, Scored]:
    """Ask about pasted pictures, few at a time: what lies in memory does not grow with their number."""
    found = []
    for start in range(0, len(donors), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        told = yield from _asked(paster, paster.paste(donors[some], receivers[some], boxes[some]))
        found.append(told.values)
    return Scored(np.concatenate(found) if found else np.zeros((0, paster.scores.shape[1])))


def _asked(paster: Paster, made: Array) -> Generator[Query, Any, Scored]:
    answer = yield Score(made, Untouched(), every_score, layout=paster.layout)
    return Scored(np.asarray(answer, np.float64)[:, 0])


def boxes_at(peaks: Array, plane: tuple[int, int], size: tuple[int, int]) -> Array:
    """Boxes of a size around places, moved inside where they would stand out: int ``[N, 4]``.

    Args:
        peaks: Middle of each, as shares of height and width, ``[N, 2]``.
        plane: Height and width in positions.
        size: Height and width of a box in positions.
    """
    limits = np.array(plane) - np.array(size)
    corner = np.clip(np.rint(np.asarray(peaks) * plane - np.array(size) / 2), 0, limits).astype(np.int64)
    return np.concatenate([corner, corner + np.array(size)], axis=1)


def elsewhere(boxes: Array, plane: tuple[int, int], rng: np.random.Generator) -> Array:
    """A box of the same size that overlaps each the least it can, drawn among all such: int ``[N, 4]``."""
    found = np.empty_like(boxes)
    for n, (y0, x0, y1, x1) in enumerate(boxes):
        high, wide = int(y1 - y0), int(x1 - x0)
        top, left = np.arange(plane[0] - high + 1)[:, None], np.arange(plane[1] - wide + 1)[None]
        down = np.maximum(0, np.minimum(top + high, y1) - np.maximum(top, y0))
        across = np.maximum(0, np.minimum(left + wide, x1) - np.maximum(left, x0))
        free = np.argwhere(down * across == (down * across).min())
        corner = free[rng.integers(len(free))]
        found[n] = [*corner, *(corner + np.array([high, wide]))]
    return found


def tried(
    paster: Paster,
    target: int,
    flagged: tuple[Array, Array],
    controls: Mapping[str, tuple[Array, Array]],
    *,
    each: int = 8,
    seed: int = 0,
) -> Trial:
    """Paste what a lead names, and what it does not, into pictures of other classes.

    Every donor's box goes into ``each`` pictures that are predicted as another class, the same ones in every arm. A
    donor counts once, by its mean. ``elsewhere`` of the flagged donors is always a control.

    Args:
        paster: The pictures.
        target: The class.
        flagged: Donors ``[D]`` and their boxes ``[D, 4]``.
        controls: Name to donors and boxes likewise: the same place of pictures of the class that the lead does not
            name, and of other classes' pictures; and where the class's other pictures lean most themselves. Without
            the last an honest class is confirmed now and then: the lead chose donors whose evidence lies in its place.
        each: Receivers of a donor.
        seed: Root of all randomness.

    Cost:
        ``each`` evaluations per donor and arm: 5 * 40 * 8 = 1,600 for the usual numbers.

    Raises:
        UsageError: no picture is predicted as another class, or there are fewer than 5 donors of an arm.
    """
    rng = np.random.default_rng([seed, 0x9A])
    plane = paster.layout.plane
    arms = {"flagged": flagged, **controls, "elsewhere": (flagged[0], elsewhere(flagged[1], plane, rng))}
    least = min(len(donors) for donors, _ in arms.values())
    free = np.flatnonzero(paster.predicted != target)
    if not len(free) or least < 5:
        raise UsageError(f"There are {least} donors and {len(free)} receivers; pasting needs at least 5 and 1.")
    most = max(len(donors) for donors, _ in arms.values())
    into = np.stack([rng.choice(free, each, replace=len(free) < each) for _ in range(most)])
    way: dict[str, Array] = {}
    turned: dict[str, float] = {}
    change: dict[str, float] = {}
    for name, (donors, boxes) in arms.items():
        rows = np.repeat(np.arange(len(donors)), each)
        found = paster.effect(
            np.asarray(donors)[rows], into[: len(donors)].reshape(-1), np.asarray(boxes)[rows], target
        )
        way[name] = found.way.reshape(len(donors), each).mean(axis=1)
        turned[name], change[name] = float(found.turned.mean()), float(found.change.mean())
    strongest = max((name for name in arms if name != "flagged"), key=lambda name: float(way[name].mean()))
    apart = float(way["flagged"].mean() - way[strongest].mean())
    p = max(_chance(way["flagged"], way[name], name == "elsewhere", seed) for name in arms if name != "flagged")
    both = min(len(way["flagged"]), len(way[strongest]))
    low, high = bootstrap(way["flagged"][:both] - way[strongest][:both], seed=seed)
    return Trial(way, turned, change, apart, strongest, (low, high), p, sum(map(len, way.values())) * each)


def _chance(flagged: Array, control: Array, paired: bool, seed: int) -> float:
    """P of flagged donors' mean being so much larger: arms exchanged between donors, or within each where paired."""
    if paired:
        apart = flagged - control
        signs = np.random.default_rng([seed, 0x51]).choice([-1.0, 1.0], (_DRAWS, len(apart)))
        return permuted_p(float(apart.mean()), (signs * apart).mean(axis=1))
    values = np.concatenate([flagged, control])
    inside = np.arange(len(values)) < len(flagged)
    sums = np.concatenate([block @ values for block in relabelled(inside, _DRAWS, seed)])
    return permuted_p(float(flagged.sum()), sums)
