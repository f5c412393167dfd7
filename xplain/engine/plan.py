"""What a run would cost, found by driving its methods with an answerer that answers zero to everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from xplain.core.abilities import Abilities, Piece, abilities_of
from xplain.core.blank import zero_answer
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.price import Price
from xplain.core.query import Answer, Flow, Model, Query, Score
from xplain.core.target import EveryScore, Stack
from xplain.core.trees import Ensemble, Forest
from xplain.engine.drive import drive
from xplain.engine.memo import Memo
from xplain.engine.settings import Settings
from xplain.engine.store import AnswerStore, Rehearsal

__all__ = ["Plan", "plan", "stand_in"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would cost. ``str(plan)`` is the bill.

    Args:
        queries: Model evaluations of single items that would be asked.
        sweeps: Reverse sweeps.
        reused: Different evaluations that a store knows already, which cost nothing.
        price: The model's tariff, or None for a model that is not billed.
        calls: Requests that an endpoint would be sent, cut as its caller cuts them; 0 for a model that is no endpoint.
        filled: Items of each request that are billed, where the model takes no fewer; else None.
    """

    queries: int
    sweeps: int
    reused: int = 0
    price: Price | None = None
    calls: int = 0
    filled: int | None = None

    @property
    def money(self) -> Decimal | None:
        """What the evaluations would be billed, or None for a model without a price."""
        if self.price is None:
            return None
        calls = self.calls or self.price.calls(self.queries)
        rows = self.queries if self.filled is None else calls * self.filled
        return rows * self.price.per_row + calls * self.price.per_call

    def __str__(self) -> str:
        parts = [counted(self.queries, "evaluation")]
        if self.sweeps:
            parts.append(counted(self.sweeps, "sweep"))
        if self.calls or self.price is not None:
            calls = self.calls or (self.price.calls(self.queries) if self.price is not None else 0)
            parts.append(counted(calls, "call"))
        if self.price is not None:
            parts.append(f"{self.price.show(self.money or Decimal(0))}, retries not counted")
        if self.reused:
            parts.append(f"{self.reused:,} more are known already")
        return "; ".join(parts)


class _Zero:
    """Answers zero to everything, in the right shape: drives a method without a model to see what it asks."""

    def __init__(self, like: Model, classes: int) -> None:
        scores = like.outline.scores
        self.outline = replace(like.outline, scores=replace(scores, classes=scores.classes or classes))
        self.answers = like.answers
        self.abilities = Abilities(
            canonical=abilities_of(like).canonical, finds=abilities_of(like).finds
        )  # the real rows, so that a store finds them

    def answer(self, query: Query) -> Answer:
        if isinstance(query, Score):
            start, stop = query.rows
            columns = 1
            if isinstance(query.target, Stack):
                columns = len(query.target.targets)
            elif isinstance(query.target, EveryScore):
                columns = self.outline.scores.classes or 1
            return np.zeros((stop - start, columns))
        if isinstance(query, Ensemble):
            return Forest(self.outline.scores.classes or 1).bare()
        return zero_answer(query, self.outline)


class _Wired(_Zero):
    """The same for a model that sends requests: cuts questions as the real one does, and counts the requests."""

    def __init__(self, like: Model, classes: int, rows: Callable[[Array], int]) -> None:
        super().__init__(like, classes)
        self._rows = rows
        self.abilities = replace(self.abilities, stream=self.stream, rows_per_request=rows)

    def stream(self, query: Score) -> Iterator[Piece]:
        start, stop = query.rows
        size = self._rows(query.x)
        for first in range(start, stop, size):
            part = (first, min(stop, first + size))
            if query.account is not None:
                query.account.add(Decimal(0))
            yield part, self.answer(replace(query, part=part))


def stand_in(model: Model, classes: int = 1) -> Model:
    """What answers zero in place of a model and is asked as it would be: to count questions, and to ask none.

    Args:
        model: The model.
        classes: How many scores to answer where it is not known.
    """
    asked = abilities_of(model).rows_per_request
    return _Zero(model, classes) if asked is None else _Wired(model, classes, asked)


def plan(
    flows: Sequence[Flow],
    model: Model,
    store: AnswerStore | None = None,
    batch_size: int | None = None,
    memo: Memo | None = None,
    lead: bool = False,
    apart: Sequence[Flow] = (),
    classes: int = 1,
) -> Plan:
    """What driving these flows would cost; nothing is asked, and ``store`` is only read.

    Args:
        flows: One per target, in lock step.
        model: Who would be asked.
        store: Answers on disk.
        batch_size: Rows per call.
        memo: What is known before; what the flows are answered here, zeros, is put there too.
        lead: As in ``drive``.
        apart: Flows that decide from what they see what to ask next. Their answers will differ, and so their questions:
            they share what ``flows`` ask, and nothing else is counted on.
        classes: How many scores to answer for a model of which it is not known.

    Exact for methods that ask a fixed number of questions; for a method that decides from what it sees, the cost of a
    constant model.
    """
    known: set[bytes] = set()
    able = abilities_of(model)
    zero = stand_in(model, classes)
    memo, cost = memo or Memo(), Cost()
    for together in (flows, *([flow] for flow in apart)):
        trial = None if store is None else Rehearsal(store)
        seen = memo if together is flows else memo.copy()
        settings = Settings(batch_size, memo=seen, store=trial)
        cost += drive(together, zero, settings, lead=lead)[1]
        known |= set() if trial is None else trial.known
    rows = model.outline.rows if cost.calls else None
    return Plan(cost.queries, cost.sweeps, len(known), able.price, cost.calls, rows)
