"""What stands between a method and the engine: a flow whose questions somebody looks at on their way."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeVar

from xplain.core.edits import Untouched
from xplain.core.errors import BudgetError
from xplain.core.positions.layout import Doubt
from xplain.core.query import Answer, Flow, Query, Returned, Score, View

__all__ = ["laid_out", "through"]

R = TypeVar("R", bound=Returned)


def through(
    flow: Generator[Any, Answer, R], ask: Callable[[Any], Generator[Query, Answer, Answer]]
) -> Generator[Query, Answer, R]:
    """The same flow, each of its questions asked by ``ask``, which may change it, ask others, or know the answer.

    A budget that is spent while ``ask`` asks is told to the flow, which may stop with what it has.
    """
    answer: Answer = None
    error: BudgetError | None = None
    while True:
        try:
            query = flow.throw(error) if error is not None else flow.send(answer)
        except StopIteration as stop:
            returned: R = stop.value
            return returned
        error = None
        try:
            answer = yield from ask(query)
        except BudgetError as spent:
            error = spent


def laid_out(flow: Flow, view: View) -> Flow:
    """The same flow, its questions about the view's items carrying the view's layout.

    Raises:
        UsageError: a question hides positions, and the layout is in doubt.
    """

    def ask(query: Query) -> Generator[Query, Answer, Answer]:
        if isinstance(query, Score) and query.layout is None and query.at == "input":
            by_element = isinstance(query.edits, Untouched) or getattr(query.edits, "whole", False)
            known = view.found if by_element else view.layout
            query = query if isinstance(known, Doubt) else replace(query, layout=known)
        return (yield query)

    return through(flow, ask)
