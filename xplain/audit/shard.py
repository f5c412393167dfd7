"""A shard: a pure function of the plan and a number, whose answer is bytes. Whoever makes it makes the same.

    items --> read once (threads ahead) --> one row per way of reading --> batches of each lane --> records, maps

Items come in the plan's order, in batches of one size whose last is filled up; a bad item keeps its row, blank, and
becomes an error row. Nothing of time, host, worker, order or chunking is written. Only a batch of each lane and what
is read ahead lie in memory at a time, and what is kept of a map is half precision at its native resolution.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from xplain.audit import schema
from xplain.audit.figures import entropies, geometry, relative
from xplain.audit.judging import Judging
from xplain.audit.lanes import Benches
from xplain.audit.plans import ModelFacts, Plan, Shard
from xplain.audit.reading import Data, Form, Planned, Read, taken
from xplain.audit.store import Seal, Store
from xplain.core.edits import Array
from xplain.core.lane import LaneAnswer, LaneRows
from xplain.session.lane import Driven, Opened

__all__ = ["Made", "Maker", "make"]

Told = Callable[[int], None]
"""Called with the number of an item before anything is done with it that could end the process."""


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that was made: its parts by kind, each with its ending, and how many rows are errors."""

    shard: Shard
    parts: Mapping[str, tuple[bytes, str]]
    errors: int
    rows: int

    def seal(self, plan: Plan, store: Store) -> bool:
        """Put the parts, then say that the shard is done; False if it was."""
        names = {kind: store.put(content, ext) for kind, (content, ext) in self.parts.items()}
        return store.seal(self.shard.number, Seal(plan.identity, *_told(self.shard), names))


def _told(shard: Shard) -> tuple[int, int, int]:
    return shard.number, shard.first, shard.rows


class Maker:
    """What a process holds open to make shards; used in a ``with`` block.

    Args:
        plan: The plan.
        benches: Its lanes, opened.
        data: Its items.
        threads: Threads that read and decode ahead.
    """

    def __init__(self, plan: Plan, benches: Benches, data: Data, threads: int = 2) -> None:
        self.plan, self.data, self.lanes = plan, data, benches.opened
        self._benches = benches
        self._engines: dict[str, Driven] = {}
        self._forms: dict[Any, Form] = {}
        self._ways: dict[str, Any] = {}
        for facts in plan.models:
            way = _way(facts)
            self._ways[facts.name] = way
            self._forms.setdefault(way, Form(benches.models[facts.name], facts))
        self._pool = ThreadPoolExecutor(threads, "read") if threads else None
        self._ahead = 2 * max((lane.lane.rows for lane in self.lanes), default=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def price(self, number: int) -> float:
        """Money that a shard can cost, with nothing known before."""
        return self._benches.price * self.plan.shards[number].rows

    def make(self, number: int, refused: Mapping[int, str] | None = None, told: Told | None = None) -> Made:
        """A shard.

        Args:
            number: Its number.
            refused: Items that are not touched, and why: they have ended a process.
            told: Where given, every item is named first, read alone, and asked alone before its batch is, so that
                the one that ends the process is known. The answer is the same.
        """
        shard = self.plan.shards[number]
        rows = [_Lane(lane, self.plan.model(lane.lane.model), self._judging(lane, shard)) for lane in self.lanes]
        planned = self.data.planned(shard.items)
        for item, found in self._read(planned, refused or {}, told):
            for lane in rows:
                lane.take(item, found[self._ways[lane.facts.name]], self.plan.seed_of(item.sha256), told)
        for lane in rows:
            lane.finish(told)
        return _made(shard, planned, rows)

    def _judging(self, lane: Opened, shard: Shard) -> Judging | None:
        """What judges a lane's explanations of a shard; None where none of its items is sampled."""
        grading = self.plan.grading
        sample = frozenset(grading.within(shard))
        if not sample:
            return None
        names = {name: grading.options.get(name, {}) for name in grading.names}
        if not isinstance(lane, Driven):  # a compiled file knows no questions
            model = self._benches.models[lane.lane.model]
            lane = self._engines.setdefault(lane.lane.name, Driven(replace(lane.lane, engine="drive"), model))
        return Judging(lane, sample, names)

    def _read(
        self, planned: Sequence[Planned], refused: Mapping[int, str], told: Told | None
    ) -> Iterator[tuple[Planned, dict[Any, Read]]]:
        """Items in order, each read once and prepared once for every way in which models take it."""

        def one(item: Planned) -> dict[Any, Read]:
            content = refused.get(item.number) or self.data.content(item)
            return {way: taken(content, form) for way, form in self._forms.items()}

        if self._pool is None or told is not None:
            for item in planned:
                if told is not None and item.number not in refused:
                    told(item.number)
                yield item, one(item)
            return
        waiting: deque[tuple[Planned, Future[dict[Any, Read]]]] = deque()
        try:
            for item in planned:
                waiting.append((item, self._pool.submit(one, item)))
                if len(waiting) >= self._ahead:
                    done, read = waiting.popleft()
                    yield done, read.result()
            while waiting:
                done, read = waiting.popleft()
                yield done, read.result()
        finally:
            for _, read in waiting:
                read.cancel()


def make(plan: Plan, benches: Benches, number: int, store: Store, data: Data) -> Seal:
    """Make one shard and seal it; the seal that stands there afterwards."""
    with Maker(plan, benches, data) as maker:
        maker.make(number).seal(plan, store)
    seal = store.seal_of(number)
    assert seal is not None
    return seal


def _way(facts: ModelFacts) -> Any:
    """What models must have in common to share what was decoded."""
    card = None if facts.preprocessing is None else facts.preprocessing.to_toml(labels=False)
    return card, facts.layout, facts.item_shape, facts.dtype


@dataclass(slots=True)
class _Lane:
    """One lane of a shard: the rows that wait, and what was told of those before."""

    opened: Opened
    facts: ModelFacts
    judging: Judging | None = None
    x: Array | None = None
    waiting: list[tuple[Planned, Read, int]] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    maps: list[Array] = field(default_factory=list)
    relevance: list[Array] = field(default_factory=list)

    def take(self, item: Planned, read: Read, seed: int, told: Told | None) -> None:
        """One more row; a batch is asked when it is full."""
        self.waiting.append((item, read, seed))
        if len(self.waiting) == self.opened.lane.rows:
            self.finish(told)

    def finish(self, told: Told | None) -> None:
        """Ask what waits, filled up to a batch."""
        if not self.waiting:
            return
        batch = self._batch()
        if told is not None:
            for row in np.flatnonzero(batch.real):
                told(self.waiting[row][0].number)
                alone = np.arange(len(batch.x)) == row
                shape = (-1, *[1] * (batch.x.ndim - 1))
                self.opened.ask(LaneRows(batch.x * alone.reshape(shape), alone, batch.keys, batch.labels))
        self._keep(self.opened.ask(batch))
        if self.judging is not None:
            here = self.columns["status"][-len(self.waiting) :]
            for place, (item, _, _) in enumerate(self.waiting):
                if here[place] == "ok":
                    self.judging.judge(batch, place, item.number)
        self.waiting.clear()

    def _batch(self) -> LaneRows:
        lane = self.opened.lane
        if self.x is None:  # one buffer for all batches: fresh memory costs as much as filling it
            self.x = np.zeros((lane.rows, *lane.item), np.dtype(self.facts.dtype))
        x = self.x
        real = np.zeros(lane.rows, bool)
        labels = np.full(lane.rows, -1, np.int64)
        for row, (item, read, _) in enumerate(self.waiting):
            if read.items is not None:
                x[row], real[row] = read.items.x[0], True
            known = self.facts.class_of(item.label)
            labels[row] = -1 if known is None else known
        x[~real] = 0
        keys = [f"{seed:016x}" for _, _, seed in self.waiting]
        return LaneRows(x, real, (*keys, *[""] * (lane.rows - len(keys))), labels)

    def _keep(self, answer: LaneAnswer) -> None:
        """What is kept of a batch: columns, and maps and vectors in half precision."""
        count, lane, facts = len(self.waiting), self.opened.lane, self.facts
        why = [read.error or answer.why.get(row) for row, (_, read, _) in enumerate(self.waiting)]
        fine = np.array([one is None for one in why])
        maps, _ = relative(answer.maps)
        vectors, _ = relative(answer.relevance)
        self.maps.append(maps[:count])
        self.relevance.append(vectors[:count])
        with np.errstate(invalid="ignore"):
            found: dict[str, Any] = {name: one[:count] for name, one in geometry(answer.maps).items()}
            flat = None if answer.error is None else answer.error.reshape(len(answer.error), -1).astype(np.float64)
            found["error_mean"] = np.full(count, np.nan) if flat is None else flat.mean(axis=1)[:count]
            found |= _predictions(answer.scores[:count], fine, self.opened)
        labels = [facts.class_of(item.label) for item, _, _ in self.waiting]
        found |= {
            "status": ["ok" if one is None else "error" for one in why],
            "error": why,
            "seed": [seed for _, _, seed in self.waiting],
            "label_class": labels,
            "value": answer.values[:count],
            "target": [int(one) if one >= 0 else None for one in answer.targets[:count]],
            "lane": [lane.name] * count,
        }
        found["correct"] = [
            None if want is None or got is None else want == got
            for want, got in zip(labels, found["predicted"], strict=True)
        ]
        words = answer.words or str(lane.target)
        found["target_name"] = [
            None if not good else words if one is None else facts.class_name(one)
            for one, good in zip(found["target"], fine, strict=True)
        ]
        for name in ("predicted", "second"):
            found[f"{name}_name"] = [None if one is None else facts.class_name(one) for one in found[name]]
        for name, values in found.items():
            self.columns.setdefault(name, []).extend(_missing(values, fine, name))


_ALWAYS = frozenset({"status", "error", "seed", "label_class", "lane"})
"""Columns that an error row has too."""


def _missing(values: Any, fine: Array, name: str) -> list[Any]:
    """Values of a column, None where there are none."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if name in _ALWAYS:
        return list(listed)
    bad = [isinstance(one, float) and not np.isfinite(one) for one in listed]
    return [one if good and not none else None for one, good, none in zip(listed, fine, bad, strict=True)]


def _predictions(scores: Array, fine: Array, opened: Opened) -> dict[str, Any]:
    """What scores predict: the best two classes, their distance, and how sure the model is."""
    count, classes = scores.shape
    safe = np.where(np.isfinite(scores), scores, np.finfo(np.float64).min)
    rows, nothing = np.arange(count), [None] * count
    first = safe.argmax(axis=1) if classes else rows
    top = scores[rows, first] if classes else np.full(count, np.nan)
    if classes > 1:
        safe[rows, first] = -np.inf
    then = safe.argmax(axis=1) if classes else rows
    margin = top - scores[rows, then] if classes > 1 else np.full(count, np.nan)
    best = [int(one) if good else None for one, good in zip(first, fine, strict=True)] if classes else nothing
    next_best = [int(one) if good else None for one, good in zip(then, fine, strict=True)] if classes > 1 else nothing
    good = np.where(fine[:, None], scores, 0.0)
    return {"predicted": best, "second": next_best, "score": top, "margin": margin,
            "entropy": entropies(good, opened.outline)}  # fmt: skip


def _made(shard: Shard, planned: Sequence[Planned], lanes: Sequence[_Lane]) -> Made:
    """A shard's parts: records lane by lane, each in the order of items, and a file of maps and vectors per lane."""
    columns: dict[str, list[Any]] = {}
    parts: dict[str, tuple[bytes, str]] = {}
    for lane in lanes:
        own: dict[str, list[Any]] = {
            "item": [item.number for item in planned],
            "sha256": [item.sha256 for item in planned],
            "name": [item.name for item in planned],
            "label": [item.label for item in planned],
        }
        every: dict[str, list[Any]] = {**lane.columns, **own}
        for name, values in every.items():
            columns.setdefault(name, []).extend(values)
        called = lane.opened.lane.name
        parts[f"maps/{called}"] = _npy(lane.maps), "npy"
        parts[f"relevance/{called}"] = _npy(lane.relevance), "npy"
    parts["records"] = schema.parquet_bytes(schema.table_of(schema.RECORDS, columns)), "parquet"
    judged = [lane.judging.rows for lane in lanes if lane.judging is not None]
    rows = {one.name: [row[one.name] for part in judged for row in part] for one in schema.METRICS}
    parts["metrics"] = schema.parquet_bytes(schema.table_of(schema.METRICS, rows)), "parquet"
    status = columns["status"]
    return Made(shard, parts, status.count("error"), len(status))


def _npy(arrays: Sequence[Array]) -> bytes:
    """Arrays, one behind the other, as an npy file of a version whose bytes are fixed."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(np.concatenate(arrays)), version=(1, 0), allow_pickle=False)
    return file.getvalue()
