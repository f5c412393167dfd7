"""One pack of requests through a session, and what is known of an answer before it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.items import Items
from xplain.results.attribution import Attribution
from xplain.serve.asked import Asked
from xplain.session import Session
from xplain.session.by_hand import scores_hidden

__all__ = ["Answer", "Known", "Watch", "answered", "early", "stages"]

Watch: TypeAlias = Callable[[int, int], None]
"""Told of progress, (evaluations done, evaluations asked so far), after every model call; may raise to stop."""

_LEAST = 512
"""Evaluations from which on the map so far is worth telling."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found for one request.

    Args:
        results: Per item, one attribution of that item alone per target.
        scores: Per item the scores, float64 ``[K]``; None where the model has no classes.
        partial: Why there is less than was asked for; empty where there is not.
        drawn: What a request's own task made.
    """

    results: list[list[Attribution]]
    scores: list[Array | None]
    partial: str = ""
    drawn: bytes = b""


class Known:
    """Answers in memory, row by row, so that what a preview has asked is not asked again; see ``AnswerStore``."""

    trouble = ""

    def __init__(self) -> None:
        self._rows: dict[bytes, Array] = {}

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known."""
        return {key: self._rows[key] for key in keys if key in self._rows}

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Keep rows."""
        self._rows.update(rows)

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows."""
        for key in keys:
            self._rows.pop(key, None)

    def claim(self, keys: Sequence[bytes], most: int) -> tuple[dict[bytes, Array], list[bytes]]:
        """What is known of these rows, and at most ``most`` others to ask."""
        known = self.get(keys)
        return known, [key for key in keys if key not in known][:most]

    def release(self, keys: Iterable[bytes]) -> None:
        """Nobody else asks."""


def answered(pack: Sequence[Asked], watch: Watch, **how: Any) -> list[Answer]:
    """Ask about the items of several requests at once; each answer has the bits that it has alone.

    Args:
        pack: Requests that fit together.
        watch: Told of progress.
        how: What to say to the session besides: ``cache``, ``max_queries``.

    Raises:
        XplainError: one of them cannot be answered.
    """
    first = pack[0]
    if first.task is not None:
        return [Answer([], [], drawn=first.task())]
    if first.hidden is not None:
        with Session(first.model, first.request(progress=watch)) as session:
            both = scores_hidden(session, session.part(first.model, first.items), first.hidden)
        return [Answer([], list(both[0]))]
    items = Items.joined([one.items for one in pack])
    target = [one for asked in pack for one in asked.targets()] if len(pack) > 1 else first.target
    plain = isinstance(target, list) and all(one is None for one in target)
    request = first.request(**{"target": None if plain else target, "progress": watch, **how})
    with Session(first.model, request) as session:
        part = session.part(first.model, items)
        if not first.name or session.looks(part):
            session.look(part)
        found = session.explain(part, first.name) if first.name else []
        if part.scores is None and part.model.outline.scores.classes is not None:
            session.look(part)
    count, scores = len(items), part.scores
    each = [
        [one if count == 1 else one[n].with_provenance(cost=one.cost.share(n, count)) for one in found]
        for n in range(count)
    ]
    answers, start = [], 0
    for asked in pack:
        places = range(start, start + len(asked.items))
        start = places.stop
        answers.append(Answer([each[n] for n in places], [None if scores is None else scores[n] for n in places]))
    return answers


def stages(asked: Asked) -> list[int]:
    """Evaluations after which the map so far is told, each answered from the beginning of the same draws.

    None for what does not sample, what is over in a moment, and a model whose answers cannot be remembered.
    """
    samples = asked.method is not None and asked.method.sampled and not asked.plan.sweeps
    long = asked.plan.queries >= _LEAST and asked.max_queries is None
    if not (asked.preview and samples and long and asked.model.outline.digest):
        return []
    return [asked.plan.queries // 16, asked.plan.queries // 4]


def early(asked: Asked, most: int, known: Known, watch: Watch) -> Answer | None:
    """The answer from so many evaluations; None where the method cannot say anything from them."""
    try:
        (answer,) = answered([asked], watch, cache=known, max_queries=most)
    except BudgetError:
        return None
    return Answer(answer.results, answer.scores, f"made of {most} of {asked.plan.queries} evaluations")
