"""A lane that the engine answers: item by item independent, so that neither neighbours nor batches move a bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self

import numpy as np

from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.items import Items
from xplain.core.lane import Lane, LaneAnswer, LaneRows, rank_of
from xplain.core.outline import Outline
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Reading
from xplain.core.targets.target_parser import aim, ranking
from xplain.engine.budget import Budget
from xplain.session.grading import Grades, grade
from xplain.session.lane_readings import native_of, relevance_of
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.run import Session
from xplain.session.stream import may_be_of_one

__all__ = ["UNKNOWN_LABEL", "Driven", "ranked"]

UNKNOWN_LABEL = "The item has no label that the model knows, and its label's class is what is explained."


class Driven:
    """A lane that the engine answers.

    Args:
        lane: The lane; shapes need not be known yet.
        model: The loaded model.
        cache: Answers on disk.
        budget: What may be asked, shared with others; None for no limit.
    """

    def __init__(self, lane: Lane, model: Model, cache: Cache | None = None, budget: Budget | None = None) -> None:
        self.lane, self.outline = lane, model.outline
        self._model, self._open = model, ExitStack()
        self._rank = rank_of(lane.target)
        target = lane.target if self._rank is None else None
        self._session = Session(model, Request({lane.method: dict(lane.options)}, target, lane.seed, cache=cache))
        self.allow(budget)

    def __enter__(self) -> Self:
        self._open.enter_context(self._session)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._open.close()

    @property
    def spent(self) -> Cost:
        """What the engine has counted."""
        return self._session.spent

    def allow(self, budget: Budget | None) -> None:
        """Ask within a budget from here on; None for no limit."""
        self._session.budget = budget or Budget()

    def price(self) -> Cost:
        """Evaluations that one item asks for at most, and what the tariff says of them."""
        # no two of its edited rows are alike, so that none is taken for another, and none is known
        x = np.random.default_rng(0).standard_normal((1, *self.lane.item), np.float32)
        part = self._session.part(self._model, Items(x, ("one",), layout=_layout(self.lane)))
        plan = self._session.plan(part, self.lane.method)
        return Cost(plan.queries, plan.sweeps, money=float(plan.money or 0.0))

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the lane says of the items that are there, together; where that fails, of each alone."""
        answer: LaneAnswer | None = None
        failed: dict[int, str] = {}
        waiting = [np.flatnonzero(batch.real)]
        while waiting:
            group = waiting.pop(0)
            missing = [k for k in group if batch.labels[k] < 0] if self._rank == 0 else []
            if missing:
                failed |= dict.fromkeys(map(int, missing), UNKNOWN_LABEL)
                group = np.setdiff1d(group, missing)
            if not len(group):
                continue
            try:
                found = self._asked(batch, group)
            except XplainError as error:
                if not may_be_of_one(error, self._model):
                    raise
                if len(group) > 1:
                    waiting[:0] = [group[k : k + 1] for k in range(len(group))]
                else:
                    failed[int(group[0])] = str(error)
                continue
            answer = answer or LaneAnswer.blank(self.lane, len(batch.x), found.error is not None)
            answer = replace(answer, words=found.words)
            for name in ("scores", "targets", "values", "maps", "error", "relevance"):
                if getattr(found, name) is not None:
                    getattr(answer, name)[group] = getattr(found, name)
        answer = answer or LaneAnswer.blank(self.lane, len(batch.x), False)
        for row, why in failed.items():
            answer.fail(row, why)
        return answer

    def asked(self, batch: LaneRows) -> Callable[[], LaneAnswer]:
        """The same; all of it is done when this returns."""
        answer = self.ask(batch)
        return lambda: answer

    def grade(self, batch: LaneRows, row: int, names: Mapping[str, Mapping[str, Any]]) -> dict[str, Grades]:
        """What metrics say of the explanation of one row, made once more at the size of the item.

        Raises:
            XplainError: it cannot be explained, or a metric cannot be asked.
        """
        part = self._aimed(self._items(batch, [row]), batch.labels[[row]], [batch.keys[row]])
        (found,) = self._session.explain(part, self.lane.method)
        return grade(self._session, part, found, names, seed=self.lane.seed)

    def readings(self, items: Items, labels: Array, keys: Sequence[str] = ()) -> tuple[Part, Reading, Any, Any]:
        """A part of the items with its targets, what the method reads of them, the method and its options."""
        session, part = self._session, self._aimed(items, labels, keys)
        asked = session.readings(part, self.lane.method)
        if len(asked.readings) != 1:
            raise UsageError(
                f"Target {self.lane.target!r} stands for {len(asked.readings)} targets, and a lane has one. Plan a "
                "lane for each, such as 'predicted' and 'runner-up'."
            )
        if part.scores is None and session.shows_classes(part):
            session.look(part)
        entry, values, _ = asked.method
        return part, asked.readings[0], entry, values

    def _aimed(self, items: Items, labels: Array, keys: Sequence[str]) -> Part:
        """A part whose items draw under their keys, with the targets that a rule by rank or label finds."""
        part = self._session.part(self._model, items)
        part.keys = tuple(keys)
        if self._rank not in (None, 1):
            scores = self._session.look(part)
            wanted = ranked(scores, self.outline, self._rank) if self._rank else labels
            part.aims = aim([int(one) for one in wanted], scores, self.outline)
        return part

    def _items(self, batch: LaneRows, rows: Sequence[int] | Array) -> Items:
        """Some rows of a batch."""
        return Items(batch.x[rows], tuple(map(str, rows)), layout=_layout(self.lane))

    def _asked(self, batch: LaneRows, group: Array) -> LaneAnswer:
        """The answer about some rows of a batch."""
        lane, count = self.lane, len(group)
        part, reading, _, _ = self.readings(
            self._items(batch, group), batch.labels[group], [batch.keys[k] for k in group]
        )
        one, maps = part.aims[0], native_of(reading, reading.values)
        error = None if reading.error is None else native_of(reading, reading.error, error=True)
        scores = np.zeros((count, 0)) if part.scores is None else np.asarray(part.scores, np.float64)
        return LaneAnswer(
            scores,
            np.asarray(one.labels, np.int64) if one.labels else np.full(count, -1, np.int64),
            np.asarray(part.base[0], np.float64),
            maps,
            error,
            relevance_of(lane, maps, None if reading.channels is None else np.asarray(reading.channels())),
            {},
            "" if one.labels else one.target.name,
        )


def ranked(scores: Array, outline: Outline, rank: int) -> Array:
    """The class of a rank of each item, int64 ``[N]``.

    Raises:
        UsageError: the model has fewer classes.
    """
    if scores.shape[1] < rank:
        raise UsageError(f"The class of rank {rank} is to be explained; {outline.source} has {scores.shape[1]}.")
    return ranking(scores, outline, rank)[:, -1].astype(np.int64)


def _layout(lane: Lane) -> Layout | None:
    """The layout of items as it was read when the lane was planned; None where nothing but the model says it."""
    return Layout(lane.layout, lane.item) if lane.layout else None
