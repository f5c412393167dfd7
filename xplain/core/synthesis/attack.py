"""What an attack is told, and what it leaves behind.

An attack is a flow, as methods are: it yields questions and holds no model. It is told a ``Threat``: the items, what
is allowed, and what would count as a success. Every candidate that it finds goes through the threat's ``judge``, which
rounds it, asks the model about what can be saved, and keeps the best of each item on a ``Board``. So whatever ends an
attack early, a budget, an interruption or a score that is no number, what was found until then stays.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat, joined
from xplain.core.edits import Array, Untouched
from xplain.core.positions.layout import Layout
from xplain.core.query import Query, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.core.synthesis.space import Space
from xplain.core.target import Target, every_score, label

__all__ = ["NORMS", "AttackFlow", "Board", "Ended", "Goal", "Learnt", "Norm", "Threat", "margins"]

Norm: TypeAlias = Literal["linf", "l2", "l1", "l0"]
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1", "l0")

_PER_ITEM = ("values", "margin", "size", "label", "steps", "queries")


class Learnt(Protocol):
    """A substitute that was trained on a model's answers."""

    def scores(self, x: Array) -> Array:
        """Its scores ``[N, K]`` of tensors ``[N, *item]``."""

    def slope(self, x: Array, own: Array, rivals: Array) -> tuple[Array, Array]:
        """The gradient ``[N, *item]`` of ``score[rival] - score[own]``, and the scores."""


Asking: TypeAlias = Generator[Query, Any, Array]
"""A part of a flow that ends with an array."""


def margins(scores: Array, labels: Array) -> Array:
    """How far each label's score is below the best other one, ``[N]``: above 0 where another class wins.

    A score that is unknown (NaN, of a class that an endpoint leaves out) is never taken for a number: it is below all
    that are known, so a label that is left out has lost by at least the gap between the best and the last that are
    named. Where the label is named alone, nothing is known of the others, and the margin is minus infinity.
    """
    rows = np.arange(len(scores))
    known = np.isfinite(scores)
    least = np.where(known, scores, np.inf).min(axis=1)
    others = np.where(known, scores, -np.inf)
    own = np.where(known[rows, labels], scores[rows, labels], least)
    others[rows, labels] = -np.inf
    best = others.max(axis=1)
    lost = ~known[rows, labels] & np.isfinite(best)
    found = np.where(np.isfinite(best), best, -np.inf) - np.where(np.isfinite(own), own, 0.0)
    return np.where(lost, np.maximum(found, np.finfo(np.float64).tiny), found)


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What counts as a success.

    Args:
        labels: int ``[N]``: the class that an item is to leave, or to reach where ``targeted``.
        targeted: Which of the two.
    """

    labels: Array
    targeted: bool = False

    def of(self, items: Array) -> Goal:
        """The goal of some items."""
        return replace(self, labels=self.labels[items])

    def margin(self, scores: Array) -> Array:
        """How far a success has gone, ``[N]``, in units of the score: above 0 it is one.

        ``best other - own``, or ``target - best other``; of a target that is not named among the answers, minus
        infinity.
        """
        found = margins(scores, self.labels)
        if not self.targeted:
            return found
        named = np.isfinite(scores[np.arange(len(scores)), self.labels])
        alone = named & np.isneginf(found)
        return np.where(alone, np.inf, np.where(named, -found, -np.inf))

    def rival(self, scores: Array) -> Array:
        """The best other class of each item, int ``[N]``."""
        others = np.where(np.isfinite(scores), scores, -np.inf)
        others[np.arange(len(scores)), self.labels] = -np.inf
        return np.asarray(others.argmax(axis=1))

    def aim(self, rivals: Array) -> Target:
        """The margin as a target, against these rivals."""
        own, other = label(self.labels.tolist()), label(rivals.tolist())
        return own - other if self.targeted else other - own


@dataclass(slots=True, eq=False)
class Board:
    """The best that was found of each item so far; the one thing that outlives an attack that was ended.

    Args:
        values: The best candidate of each item, ``[N, *item]``, rounded; the item itself at first.
        margin: Its margin, ``[N]``.
        size: Its distance from the item in the attack's norm, ``[N]``.
        label: The class that is predicted of it, ``[N]``; -1 while nothing was asked.
        steps: Steps that an item's success took, or all that were made, ``[N]``.
        queries: Evaluations that were spent on each item, forward or reverse, ``[N]``.
        caveats: What must be known of the attack.
        shared: What belongs to all items alike, such as a patch or a universal change; None for an attack of each.
        each: Further facts of each item, by name.
        origin: What an attack set out from that does not set out from the items, ``[N, *item]``; else None.
    """

    values: Array
    margin: Array
    size: Array
    label: Array
    steps: Array
    queries: Array
    caveats: list[Caveat] = field(default_factory=list)
    shared: Array | None = None
    each: dict[str, Any] = field(default_factory=dict)
    origin: Array | None = None

    @classmethod
    def empty(cls, values: Array) -> Board:
        """A board on which nothing was found yet."""
        count = len(values)
        none = np.full(count, -1, np.int64)
        return cls(values.copy(), np.full(count, -np.inf), np.zeros(count), none, 0 * none, 0 * none)

    @property
    def done(self) -> Array:
        """Whether an item's best candidate is a success, bool ``[N]``."""
        return np.asarray(self.margin > 0)

    def of(self, items: Array) -> Board:
        """What was found of some items, copied, without what was said."""
        return Board(**{name: getattr(self, name)[items].copy() for name in _PER_ITEM})

    def take(self, items: Array, other: Board) -> None:
        """Take over what another board found of these items; facts of items that it did not have are NaN or False."""
        for name in _PER_ITEM:
            getattr(self, name)[items] = getattr(other, name)
        for name, found in other.each.items():
            blank = np.full((len(self.margin), *found.shape[1:]), np.nan if found.dtype.kind == "f" else 0, found.dtype)
            self.each.setdefault(name, blank)[items] = found
        self.shared = self.shared if other.shared is None else other.shared
        for one in other.caveats:
            self.say(one.text, None if one.item is None else int(items[one.item]), one.kind)

    @classmethod
    def joined(cls, boards: Sequence[Board]) -> Board:
        """Boards of batches that follow one another, as one."""
        own: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in boards]) for name in _PER_ITEM}
        said = joined([(one.caveats, len(one.margin)) for one in boards])
        each = {name: np.concatenate([one.each[name] for one in boards]) for name in boards[0].each}
        starts = [one.origin for one in boards]
        origin = None if starts[0] is None else np.concatenate([one for one in starts if one is not None])
        return cls(**own, caveats=list(said), shared=boards[0].shared, each=each, origin=origin)

    def say(self, text: str, item: int | None = None, kind: Any = "other") -> None:
        """Keep a caveat, once."""
        one = Caveat(text, kind, item)
        if one not in self.caveats:
            self.caveats.append(one)


@dataclass(frozen=True, slots=True, eq=False)
class Threat:
    """What an attack is told: the items, what is allowed, and what would be a success.

    Args:
        view: The items, the outline and where randomness comes from.
        space: The values that an item may have.
        values: The items' values, ``[N, *item]``.
        goal: What counts as a success.
        norm: How a change is measured.
        radius: How large it may be, in the items' values (of ``l0`` positions); infinity where the attack looks for
            the smallest.
        scores: The model's scores of the items, ``[N, K]``.
        board: Where what is found is kept.
        measure: The size of a change in ``norm``.
        learn: Trains a substitute: of tensors, their classes, the number of classes, passes over them, and a seed; None
            where there is no trainer.
    """

    view: View
    space: Space
    values: Array
    goal: Goal
    norm: Norm
    radius: float
    scores: Array
    board: Board
    measure: Callable[[Array], Array]
    learn: Callable[[Array, Array, int, int, int], Learnt] | None = None

    @property
    def layout(self) -> Layout:
        """The axes of the items."""
        return self.space.layout

    @property
    def open(self) -> Array:
        """The items that no success was found of, int ``[n]``."""
        return np.flatnonzero(~self.board.done)

    def rng(self, stream: str, item: int | None = None) -> np.random.Generator:
        """A generator for a purpose, of one item or of all of them."""
        return self.view.rng(stream) if item is None else self.view.rngs(stream)[item]

    def ask(self, items: Array, values: Array) -> Asking:
        """The scores ``[R, K]`` of candidates ``[R, *item]`` of ``items`` ``[R]``, rounded; they are counted."""
        x = self.space.tensor(self.space.rounded(values))
        answer = yield Score(x, Untouched(), every_score, layout=self.layout)
        np.add.at(self.board.queries, items, 1)
        return np.asarray(answer, np.float64)[:, 0]

    def judge(self, items: Array, values: Array, step: int = 0, smallest: bool = False) -> Asking:
        """The margins ``[R]`` of candidates; the best of each item goes on the board.

        Better is: a success where there was none, a smaller change among successes (or the first, unless
        ``smallest``), a larger margin among failures.
        """
        values = self.space.rounded(values)
        scores = yield from self.ask(items, values)
        found = self.goal.of(items).margin(scores)
        self.keep(items, values, found, scores, step, smallest)
        return found

    def keep(
        self, items: Array, values: Array, found: Array, scores: Array, step: int = 0, smallest: bool = False
    ) -> None:
        """Put judged candidates on the board, where they are better than what is there."""
        if not len(items):
            return
        board = self.board
        sizes = self.measure(values - self.values[items])
        named = np.where(np.isfinite(scores), scores, -np.inf).argmax(axis=1)
        for n, value, margin, size, one in zip(items, values, found, sizes, named, strict=True):
            won, had = margin > 0, board.margin[n] > 0
            if won and size > self.radius * (1 + 1e-9):
                continue  # no candidate of an attack that keeps to its ball, but a start from elsewhere may be
            better = (smallest and size < board.size[n]) if won and had else margin > board.margin[n] and not had
            if not won and not had:
                board.steps[n] = step
            if better:
                board.values[n], board.margin[n], board.size[n], board.label[n] = value, margin, size, one
                board.steps[n] = step

    def climb(self, items: Array, values: Array, rivals: Array) -> Generator[Query, Any, tuple[Array, Array]]:
        """The margin's gradient by the values at candidates of some items, and the scores there: one sweep each.

        Args:
            items: int ``[n]``.
            values: ``[n, *item]``, rounded.
            rivals: The class that each margin is measured against, ``[n]``: the best other one where it was looked
                last, so that no forward pass is spent on finding it first.

        Returns:
            ``[n, *item]`` and ``[n, K]``.
        """
        goal = self.goal.of(items)
        target = goal.aim(rivals)
        found = yield Sweep(self.space.tensor(values)[:, None], target, Rules())
        np.add.at(self.board.queries, items, 1)
        scores = getattr(found, "scores", None)
        if scores is None:
            scores = yield from self.ask(items, values)
        return self.space.slope(np.asarray(found["input"][1], np.float64)), np.asarray(scores, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """What an attack returns: what it found lies on the board; ``warnings`` as every flow's."""

    warnings: tuple[Caveat, ...] = ()


AttackFlow: TypeAlias = Generator[Query, Any, Ended]
