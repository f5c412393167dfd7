"""Drive methods: take their questions, ask the model in full batches, hand back the answers.

Several flows (one per target) run in lock step. Questions of one round that differ only in their target are asked
once, with the targets stacked: explaining the top three classes costs the evaluations of one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from xplain.core.cost import Cost
from xplain.core.errors import BudgetError, NonFinite
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Answer, Model, Query, R, Score
from xplain.core.target import Stack, Target
from xplain.engine.run import Run
from xplain.engine.settings import Settings

__all__ = ["drive"]


def drive(
    flows: Sequence[Generator[Query, Answer, R]],
    model: Model,
    settings: Settings | None = None,
    *,
    lead: bool = False,
) -> tuple[list[R], Cost]:
    """Run flows to their ends, in lock step.

    ``lead``: the first one's first question is answered before the others begin, which may learn from it.

    A flow whose next question the budget cannot pay receives ``BudgetError`` at its ``yield``: a method that can stop
    early catches it and returns what it has.

    Returns:
        What each flow returned (a ``Reading``, or a frozen dataclass of another kind), with what must be known of the
        run among its warnings; and what the run cost together.
    """
    run = Run(model, settings or Settings())
    started = time.perf_counter()
    returned: list[R | None] = [None] * len(flows)
    waiting: dict[int, Query] = {}

    def advance(k: int, answer: Answer = None, error: BudgetError | None = None) -> None:
        try:
            waiting[k] = flows[k].throw(error) if error is not None else flows[k].send(answer)
        except StopIteration as stop:
            waiting.pop(k, None)
            returned[k] = stop.value

    late = range(1, len(flows)) if lead else range(0)
    for k in range(len(flows) - len(late)):
        advance(k)
    while waiting or late:
        for members in _groups(waiting):
            query = waiting[members[0]]
            stacked = _stack([waiting[k] for k in members])
            try:
                answer = run.ask(stacked if stacked is not None else query)
            except BudgetError as error:
                for k in members:
                    advance(k, error=error)
                continue
            except NonFinite as error:
                if model.outline.suspect:
                    error.advise(model.outline.suspect)
                raise
            for column, k in enumerate(members):
                advance(k, answer if stacked is None else answer[..., column])
        for k in late:
            advance(k)
        late = range(0)
    run.finish()
    currency = run.price.currency if run.price is not None else ""
    seconds, spent = time.perf_counter() - started, float(run.cost)
    cost = Cost(run.queries, run.sweeps, run.reused, seconds, money=spent, currency=currency, calls=run.calls)
    said = run.caveats()
    return [replace(one, warnings=(*one.warnings, *said)) for one in returned if one is not None], cost


def _groups(waiting: dict[int, Query]) -> list[list[int]]:
    """Flows whose questions can be asked as one: the same question, targets apart."""
    groups: dict[Any, list[int]] = {}
    for k, query in waiting.items():
        key: Any = k
        if isinstance(query, Score) and isinstance(query.target, Target) and len(waiting) > 1:
            key = fingerprint(query.x, query.edits, query.at, query.part, query.layout, query.items)
        groups.setdefault(key, []).append(k)
    return list(groups.values())


def _stack(queries: Sequence[Query]) -> Score | None:
    if len(queries) < 2:
        return None
    scores = [q for q in queries if isinstance(q, Score)]
    return replace(scores[0], target=Stack(tuple(q.target for q in scores if isinstance(q.target, Target))))
