"""A lane that the engine answers: item by item independent, so that neither neighbours nor batches move a bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.arrays import enlarge_to
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.items import Items
from xplain.core.lane import Lane, LaneAnswer, LaneRows, rank_of
from xplain.core.outline import Outline
from xplain.core.positions.layout import Layout
from xplain.core.query import Model
from xplain.core.target import label
from xplain.core.targets.target_parser import aim, ranking
from xplain.engine.budget import Budget
from xplain.engine.memo import Memo
from xplain.results.attribution import Attribution
from xplain.results.provenance import Provenance
from xplain.session.entering import entered
from xplain.session.lanes.readings import filled, native_of, relevance_of
from xplain.session.measures.grading import Grades, grade
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.results import Asked
from xplain.session.run import Session
from xplain.session.stream import may_be_of_one

__all__ = ["UNKNOWN_LABEL", "Driven", "ranked"]

UNKNOWN_LABEL = "The item has no label that the model knows, and its label's class is what is explained."


@dataclass(slots=True)
class _Group:
    """Items that were asked about together, and what was read; told as a result when somebody wants one."""

    part: Part
    asked: Asked
    result: Attribution | None = None

    def told(self, session: Session) -> Attribution:
        """Their explanation at the items' own size."""
        if self.result is None:
            (self.result,) = session.told(self.part, self.asked)
        return self.result


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
        self._reads = abilities_of(model).read is not None
        self._kept: dict[int, tuple[_Group, int]] = {}
        self._kept_of: LaneRows | None = None
        self._rank = rank_of(lane.target)
        target = lane.target if self._rank is None else None
        methods, batch = {lane.method: dict(lane.options)}, lane.batch or None
        self._session = Session(model, Request(methods, target, lane.seed, batch_size=batch, cache=cache))
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
        if self._reads:
            part = self.part(given=[self._stand_in()])
        else:
            # no two of its edited rows are alike, so that none is taken for another, and none is known
            x = np.random.default_rng(0).standard_normal((1, *self.lane.item), np.float32)
            part = self.part(Items(x, ("one",), layout=_layout(self.lane)))
        plan = self._session.plan(part, self.lane.method)
        return Cost(plan.queries, plan.sweeps, money=float(plan.money or 0.0))

    def _stand_in(self) -> Any:
        """An item that costs at least what others do: a typical row, or a text as long as any."""
        codes = abilities_of(self._model).codes
        if codes is not None:
            row, _ = codes.typical(np.zeros((0, *self.lane.item), np.float32))
            return {name: column[0] for name, column in codes.values(row).items()}
        return "a " * (self.lane.native_shape or (1,))[0]

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the lane says of the items that are there, together; where that fails, of each alone.

        Texts are asked one by one: each has as many features as it has, and no neighbour fills it up.
        """
        answer: LaneAnswer | None = None
        failed: dict[int, str] = {}
        self._kept, self._kept_of = {}, batch
        there = np.flatnonzero(batch.real)
        apart = any(isinstance(one, str) for one in batch.given)
        waiting = [there[k : k + 1] for k in range(len(there))] if apart else [there]
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
            if answer is None:
                answer = LaneAnswer.blank(self.lane, len(batch.x), found.error is not None)
                answer = replace(answer, extents=np.zeros(len(batch.x), np.int64) if apart else None)
            answer = replace(answer, words=found.words)
            for name in ("scores", "targets", "values", "maps", "error", "relevance", "extents"):
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

    def explained(
        self, batch: LaneRows, row: int, answer: LaneAnswer | None = None, memo: Memo | None = None
    ) -> tuple[Part, Attribution]:
        """One row of a batch as a part, and its explanation at the item's own size, for metrics to judge.

        It is the one that ``ask`` has just made of this batch, or that a compiled file gave; only where neither is
        there, it is made anew.

        Args:
            batch: The batch.
            row: Which row of it.
            answer: What a compiled file said of the batch.
            memo: What is known of questions about the item; it is added to, for whoever judges the item next.

        Raises:
            XplainError: it cannot be explained.
        """
        if answer is not None and answer.targets[row] >= 0:
            part = self._part(batch, [row])
            found = self._of_file(part, answer, row)
        elif self._kept_of is batch and row in self._kept:
            group, place = self._kept[row]
            found, part = group.told(self._session)[place], group.part.alone(place)
        else:
            part = self._aimed(self._part(batch, [row]), batch.labels[[row]], [batch.keys[row]])
            (found,) = self._session.explain(part, self.lane.method)
        if memo is not None:
            part.memo = memo
            if part.scores is not None:
                part.know(part.scores)
        return part, found

    def grade(
        self, part: Part, found: Attribution, names: Mapping[str, Mapping[str, Any]], truth: Array | None = None
    ) -> dict[str, Grades]:
        """What metrics say of an explanation from ``explained``; those that compare, with masks ``[N, *map]``.

        Raises:
            XplainError: a metric cannot be asked.
        """
        return grade(self._session, part, found, names, truth=truth, seed=self.lane.seed)

    def _of_file(self, part: Part, answer: LaneAnswer, row: int) -> Attribution:
        """What a compiled file said of one row, at the item's own size: methods enlarge their maps linearly."""
        maps, layout = answer.maps[[row]], part.items.layout
        shape = layout.map_shape if isinstance(layout, Layout) else maps.shape[1:]
        small = maps.ndim == len(shape) + 1 and maps.shape[1:] != shape
        return Attribution(
            values=np.asarray(enlarge_to(maps, shape) if small else maps, np.float32),
            unit=self.lane.unit,
            scores=answer.values[[row]],
            labels=(int(answer.targets[row]),),
            explained=label(int(answer.targets[row])),
            names=part.items.names,
            resolution=maps.shape[1:] if small else None,
            provenance=Provenance(method=self.lane.method, options=dict(self.lane.options)),
        )

    def part(self, items: Items | None = None, given: Sequence[Any] = ()) -> Part:
        """Some items as a part: as tensors, or as the model's own door reads what a person gives."""
        if given:
            return self._session.part(*entered(self._model, list(given), None))
        assert items is not None
        return self._session.part(self._model, items)

    def readings(self, part: Part, labels: Array, keys: Sequence[str] = ()) -> tuple[Part, Asked]:
        """A part of the items with its targets, and what the method reads of them."""
        session, part = self._session, self._aimed(part, labels, keys)
        asked = session.readings(part, self.lane.method)
        if len(asked.readings) != 1:
            raise UsageError(
                f"Target {self.lane.target!r} stands for {len(asked.readings)} targets, and a lane has one. Plan a "
                "lane for each, such as 'predicted' and 'runner-up'."
            )
        if part.scores is None and session.shows_classes(part):
            session.look(part)
        return part, asked

    def _aimed(self, part: Part, labels: Array, keys: Sequence[str]) -> Part:
        """A part whose items draw under their keys, with the targets that a rule by rank or label finds."""
        part.keys = tuple(keys)
        if self._rank not in (None, 1):
            scores = self._session.look(part)
            wanted = ranked(scores, self.outline, self._rank) if self._rank else labels
            part.aims = aim([int(one) for one in wanted], scores, self.outline)
        return part

    def _part(self, batch: LaneRows, rows: Sequence[int] | Array) -> Part:
        """Some rows of a batch."""
        if batch.given:
            return self.part(given=[batch.given[k] for k in rows])
        return self.part(Items(batch.x[rows], tuple(map(str, rows)), layout=_layout(self.lane)))

    def _asked(self, batch: LaneRows, group: Array) -> LaneAnswer:
        """The answer about some rows of a batch."""
        lane, count = self.lane, len(group)
        part, asked = self.readings(self._part(batch, group), batch.labels[group], [batch.keys[k] for k in group])
        kept = _Group(part, asked)
        self._kept |= {int(row): (kept, place) for place, row in enumerate(group)}
        (reading,) = asked.readings
        one, maps = part.aims[0], native_of(reading, reading.values)
        error = None if reading.error is None else native_of(reading, reading.error, error=True)
        extents = np.full(count, maps.shape[1]) if part.items.texts else None
        maps = filled(maps, lane.native_shape)
        error = None if error is None else filled(error, lane.native_shape)
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
            extents,
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
