"""Some items on their way through a session, with everything that was asked about them so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.cost import Cost
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Score
from xplain.core.target import EveryScore, Target, every_score
from xplain.core.targets.target_parser import Aim
from xplain.engine import Sentinel
from xplain.engine.memo import Memo
from xplain.engine.sight import Sight

__all__ = ["Part", "fresh", "look"]


@dataclass(slots=True)
class Part:
    """Some items, read once, with everything that was asked about them so far.

    Args:
        model: Who answers questions about just these items.
        items: The items.
        memo: Answers about them; it is dropped with the part.
        sentinel: Watches the first of them, or None.
        start: The place of the first one in a longer source; None where these are all that there is.
        scores: Scores of the untouched items, float64 ``[N, K]``; None where they were not asked.
        aims: The targets to explain; empty before ``Session.aim``.
        base: Each target's value for the untouched items, ``[N]`` per target.
        unbilled: What the look at the untouched items cost; the first result made of this part bears it.
        calls: Rows per model call of that look, by kind of question.
        basis: The items that these were read with, which say what is typical of them; None for these alone.
        sight: What sweeps find of the untouched items on their way; None where they are looked at before.
        open: How many predicted classes are to be found so.
        values: Tensors of the untouched items that targets were chosen by, ``[N, ...]``.
        swept: Whether the targets were chosen for methods that sweep.
        keys: What each item draws under; empty for its content.
    """

    model: Model
    items: Items
    memo: Memo = field(default_factory=Memo)
    sentinel: Sentinel | None = None
    start: int | None = None
    scores: Array | None = None
    aims: list[Aim] = field(default_factory=list)
    base: list[Array] = field(default_factory=list)
    unbilled: Cost = field(default_factory=Cost)
    calls: dict[str, list[int]] = field(default_factory=dict)
    basis: Items | None = None
    sight: Sight | None = None
    open: int = 0
    values: dict[str, Array] = field(default_factory=dict)
    swept: bool = False
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items.x)

    @property
    def place(self) -> int:
        """The place of the first item."""
        return self.start or 0

    def alone(self, n: int) -> Part:
        """One item as a part of its own, which knows what is known of its scores; nothing is read again."""
        return self._some(slice(n, n + 1))

    def _some(self, some: slice) -> Part:
        narrowed = abilities_of(self.model).narrowed
        model = self.model if narrowed is None else narrowed(some)
        found = Part(model, self.items[some], sentinel=fresh(self.sentinel), start=self.place + some.start)
        found.basis = self.basis or self.items
        if self.scores is not None:
            found.know(self.scores[some])
            found.calls = self.calls
        return found

    def wanted(self, target: Any) -> Any:
        """What a target that is given for every item of the source says of these.

        Raises:
            UsageError: it says less, because it is shorter than the source.
        """
        if self.start is None:
            return target
        places = range(self.place, self.place + len(self))
        if isinstance(target, Target):
            given = min((leaf.items for _, leaf in target.terms if leaf.items is not None), default=places.stop)
        elif isinstance(target, (list, tuple, np.ndarray)):
            given = len(target)
        else:
            return target
        if given < places.stop:
            raise UsageError(f"The target is given for {given} items, but there are more; give one for each.")
        return target.take(np.array(places)) if isinstance(target, Target) else target[places.start : places.stop]

    def in_groups(self, size: int) -> list[Part]:
        """So many items after another as parts of their own; what is typical of all stays so."""
        return [self] if len(self) <= size else [self._some(slice(k, k + size)) for k in range(0, len(self), size)]

    def each(self) -> list[Part]:
        """Every item as a part of its own, which bears its share of what the look at all of them cost."""
        bill, count = self.take_bill(), len(self)
        parts = [self.alone(n) for n in range(count)]
        for n, part in enumerate(parts):
            part.unbilled = bill.share(n, count)
        return parts

    def know(self, scores: Array) -> None:
        """Keep the scores of the untouched items, for targets and for every method that asks for them."""
        self.scores = scores
        clean = look(self.items)
        self.memo.put(self.memo.key(clean), scores[:, None])

    def take_bill(self) -> Cost:
        """What the look cost, once."""
        bill, self.unbilled = self.unbilled, Cost()
        return bill


def look(items: Items, target: Target | EveryScore = every_score) -> Score:
    """The question about the untouched items."""
    return Score(items.x, Untouched(), target, layout=items.layout if isinstance(items.layout, Layout) else None)


def fresh(sentinel: Sentinel | None) -> Sentinel | None:
    """A sentinel of the same kind that has seen nothing: another part has another first item."""
    return None if sentinel is None else Sentinel(sentinel.every, sentinel.tolerance)
