"""A shard: a pure function of the plan and a number, whose answer is bytes. Whoever makes it makes the same.

    items --> threads read, decode --> a thread gathers batches --> the model --> a thread keeps records, maps

Items come in the plan's order, in batches of one size whose last is filled up, a few of which go from thread to thread
together; a bad item keeps its row, blank, and becomes an error row. Nothing of time, host, worker, order or chunking is
written. Only a few batches of each way of taking items and what is read ahead lie in memory at a time: maps go to their
parts as they come, in half precision at their native resolution. The thread that asks the model does nothing else, so
that a processor with cores to spare waits for no bookkeeping.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from xplain.audit.canonical import needed
from xplain.audit.plans.lanes import Benches
from xplain.audit.plans.plan import ModelFacts, Plan, Shard
from xplain.audit.shards.ahead import ahead
from xplain.audit.shards.judging import Compared, Judging, Memos
from xplain.audit.shards.keeping import Grows, Kept
from xplain.audit.shards.reading import Data, Form, Planned, Read, taken
from xplain.audit.shards.trays import Full, Tray
from xplain.audit.shards.truth_table import TruthTable
from xplain.audit.stores import schema
from xplain.audit.stores.store import Seal, Store
from xplain.core.cost import Cost
from xplain.core.lane import LaneAnswer, LaneRows
from xplain.session.lanes.lane import Budget, Driven, Opened

__all__ = ["Made", "Maker", "Sealed", "make"]

Told = Callable[[int], None]
"""Called with the number of an item before anything is done with it that could end the process."""

_AT_ONCE = 8
"""Items that a thread reads before it hands them over: to hand over costs as much as to copy a row."""
_TOGETHER = 16
"""Rows that go from thread to thread together, where a compiled file is asked in batches of fewer."""
_READY = 1
"""Batches that lie gathered while one is asked."""
_UNKEPT = 4
"""Answers that may wait to be kept, at most."""
_TOLD = 3
"""Items of a shard that are told of those that failed."""


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that was made: its parts by kind, each with its ending, and how many rows are errors."""

    shard: Shard
    parts: Mapping[str, tuple[bytes, str]]
    errors: int
    rows: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A shard that was sealed: whether it was the first time, how many rows are errors, and how many there are.

    Args:
        first: Whether it was not there before.
        errors: Rows that are errors.
        rows: All rows.
        wrong: The names of the first items that failed, each with why.
    """

    first: bool
    errors: int
    rows: int
    wrong: tuple[tuple[str, str], ...] = ()


class Maker:
    """What a process holds open to make shards; used in a ``with`` block.

    Args:
        plan: The plan.
        benches: Its lanes, opened.
        data: Its items.
        threads: Threads that read and decode ahead; 0 for no thread but the caller's, whatever is done.
    """

    def __init__(self, plan: Plan, benches: Benches, data: Data, threads: int = 2) -> None:
        self.plan, self.data, self.lanes = plan, data, benches.opened
        self._benches = benches
        self._engines: dict[str, Driven] = {}
        self._budget: Budget | None = None
        self._truths: TruthTable | None = None
        self._forms: dict[Any, Form] = {}
        for facts in plan.models:
            self._forms.setdefault(_way(facts), Form(benches.models[facts.name], facts))
        self._readers = ThreadPoolExecutor(threads, "read") if threads else None
        self._keeper = ThreadPoolExecutor(1, "keep") if threads else None
        self._ahead = -(-2 * max((_TOGETHER, *(lane.lane.rows for lane in self.lanes))) // _AT_ONCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        for pool in (self._readers, self._keeper):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    @property
    def spent(self) -> Cost:
        """What lanes and metrics have asked so far, in this process."""
        return sum((lane.spent for lane in self._engines.values()), self._benches.spent)

    def price(self, number: int) -> tuple[float, int]:
        """Money that a shard can cost, and evaluations that it can ask for, with nothing known before.

        Metrics ask more, of the items that are sampled.
        """
        each, rows = self._benches.price, self.plan.shards[number].rows
        return each.money * rows, (each.queries + each.sweeps) * rows

    def make(self, number: int, refused: Mapping[int, str] | None = None, told: Told | None = None) -> Made:
        """A shard as bytes, all of them in memory, for whoever compares them.

        Args:
            number: Its number.
            refused: Items that are not touched, and why: they have ended a process.
            told: Where given, every item is named first, read alone, and asked alone before its batch is, so that
                the one that ends the process is known. The answer is the same.
        """
        parts, errors, rows, _ = self._parts(number, _Held, refused or {}, told)
        return Made(self.plan.shards[number], parts, errors, rows)

    def seal(
        self,
        number: int,
        store: Store,
        refused: Mapping[int, str] | None = None,
        told: Told | None = None,
        most: int | None = None,
    ) -> Sealed:
        """Make a shard into a store, and say there that it is done; see ``make``.

        Raises:
            BudgetError: it asks for more than ``most`` evaluations, its metrics included.
            OtherBits: it was sealed with other bits.
            OutputError: it cannot be written.
        """
        shard = self.plan.shards[number]
        self._budget = None if most is None else Budget(most)
        for lane in (*self.lanes, *self._engines.values()):
            if isinstance(lane, Driven):
                lane.allow(self._budget)
        parts, errors, rows, wrong = self._parts(number, store.begin, refused or {}, told)
        first = store.seal(number, Seal(self.plan.identity, shard.number, shard.first, shard.rows, parts))
        return Sealed(first, errors, rows, wrong)

    def _parts(
        self, number: int, begin: Callable[[str], Grows], refused: Mapping[int, str], told: Told | None
    ) -> tuple[dict[str, Any], int, int, tuple[tuple[str, str], ...]]:
        """The parts of a shard by kind, as ``begin`` ends them; its error rows, its rows, and the first that failed."""
        shard = self.plan.shards[number]
        planned = self.data.planned(shard.items)
        grown: dict[str, Grows] = {}
        with ExitStack() as stack:

            def part(kind: str, ext: str) -> Grows:
                grown[kind] = begin(ext)
                stack.callback(grown[kind].drop)
                return grown[kind]

            lanes, memos = [], Memos(Counter(lane.lane.model for lane in self.lanes))
            for lane in self.lanes:
                facts, name = self.plan.model(lane.lane.model), lane.lane.name
                kept = Kept(lane, facts, shard.rows, part(f"maps/{name}", "npy"), part(f"relevance/{name}", "npy"))
                lanes.append(_Lane(kept, self._judging(lane, shard, memos)))
            self._ask(planned, self._gathered(lanes, shard.rows), refused, told)
            tables = [one.kept.table(planned) for one in lanes]
            part("records", "parquet").write(schema.parquet_bytes(needed("pyarrow").concat_tables(tables)))
            judged = [row for one in lanes if one.judging is not None for row in one.judging.rows]
            rows = {one.name: [row[one.name] for row in judged] for one in schema.METRICS}
            part("metrics", "parquet").write(schema.parquet_bytes(schema.table_of(schema.METRICS, rows)))
            ended = {kind: one.end() for kind, one in grown.items()}
        wrong = {name: why for one in lanes for name, why in one.kept.wrong(planned)}
        errors = sum(one.kept.errors for one in lanes)
        return ended, errors, sum(len(one) for one in tables), tuple(wrong.items())[:_TOLD]

    def _gathered(self, lanes: Sequence[_Lane], count: int) -> list[_Gathered]:
        """Lanes by how they take items, each group with a tray of its own."""
        found: dict[Any, _Gathered] = {}
        for one in lanes:
            lane, facts = one.opened.lane, one.kept.facts
            calls = max(1, _TOGETHER // lane.rows) if lane.engine == "graph" else 1
            key = (_way(facts), calls * lane.rows, lane.item)
            if key not in found:
                shape = (calls * lane.rows, *lane.item)
                tray = Tray(shape, facts.dtype, count, (self._ahead + 1) * _AT_ONCE, _READY + 2)
                found[key] = _Gathered(key[0], tray)
            found[key].lanes.append(one)
        return list(found.values())

    def _ask(
        self, planned: Sequence[Planned], gathered: Sequence[_Gathered], refused: Mapping[int, str], told: Told | None
    ) -> None:
        """Ask every lane about all items, and keep what it says."""
        batches = self._batches(planned, gathered, refused, told)
        if self._keeper is None or told is not None:
            for lane, full in batches:
                if told is not None:
                    lane.alone(full, told)
                lane.judge(full, *lane.kept.heard(full, lane.opened.asked(full.rows)))
            return
        unkept: deque[Future[None]] = deque()
        try:
            with closing(ahead(batches, _READY)) as ready:
                for lane, full in ready:
                    asked = lane.opened.asked(full.rows)
                    if lane.judges(full):  # a judge asks the model, in this thread as all that does
                        lane.judge(full, *self._keeper.submit(lane.kept.heard, full, asked).result())
                    else:
                        unkept.append(self._keeper.submit(lane.kept.take, full, asked))
                    while len(unkept) > _UNKEPT:
                        unkept.popleft().result()
            while unkept:
                unkept.popleft().result()
        finally:
            for one in unkept:
                one.cancel()
            wait(unkept)  # nobody writes to a part that is let go of

    def _batches(
        self, planned: Sequence[Planned], gathered: Sequence[_Gathered], refused: Mapping[int, str], told: Told | None
    ) -> Generator[tuple[_Lane, Full], None, None]:
        """The batches of all lanes, each as soon as its last item was read."""
        for item, found in self._read(planned, gathered, refused, told):
            seed = self.plan.seed_of(item.sha256)
            for one in gathered:
                if one.tray.put(item, found[one.way], seed):
                    yield from one.take()
        for one in gathered:
            if not one.tray.empty:
                yield from one.take()

    def _judging(self, lane: Opened, shard: Shard, memos: Memos) -> Judging | None:
        """What judges a lane's explanations of a shard; None where none of its items is sampled."""
        grading = self.plan.grading
        sample, compared = frozenset(grading.within(shard)), self._compared(lane, shard)
        if not sample and compared is None:
            return None
        names = {name: grading.options.get(name, {}) for name in grading.names}
        if isinstance(lane, Driven):
            return Judging(lane, sample, names, memos, compared=compared)
        model = self._benches.models[lane.lane.model]  # a compiled file knows no questions
        driven = Driven(replace(lane.lane, engine="drive"), model, budget=self._budget)
        engine = self._engines.setdefault(lane.lane.name, driven)
        return Judging(engine, sample, names, memos, compiled=True, compared=compared)

    def _compared(self, lane: Opened, shard: Shard) -> Compared | None:
        """What a lane's maps of a shard are compared with; None where nothing is known of its items."""
        truth = self.plan.truth
        sample = frozenset(() if truth is None else truth.within(shard))
        if truth is None or not sample:
            return None
        if self._truths is None:
            self._truths = TruthTable(self.data.table.path.parent, self.plan)
        names = {name: self.plan.grading.options.get(name, {}) for name in truth.names}
        return Compared(self._truths, self.plan.model(lane.lane.model), sample, names)

    def _read(
        self, planned: Sequence[Planned], gathered: Sequence[_Gathered], refused: Mapping[int, str], told: Told | None
    ) -> Iterator[tuple[Planned, dict[Any, Read]]]:
        """Items in order, each read once, prepared once for every way in which models take it, and laid into trays."""
        trays: dict[Any, list[Tray]] = {}
        for those in gathered:
            trays.setdefault(those.way, []).append(those.tray)

        def one(place: int) -> dict[Any, Read]:
            item, found = planned[place], {}
            content = refused.get(item.number) or self.data.content(item)
            for way, several in trays.items():
                first, *others = (tray.row(place) for tray in several)
                found[way] = taken(content, self._forms[way], first)
                for row in others:
                    row[...] = first
            return found

        if self._readers is None or told is not None:
            for place, item in enumerate(planned):
                if told is not None and item.number not in refused:
                    told(item.number)
                yield item, one(place)
            return

        def several(places: range) -> list[dict[Any, Read]]:
            return [one(place) for place in places]

        waiting: deque[tuple[range, Future[list[dict[Any, Read]]]]] = deque()

        def first() -> Iterator[tuple[Planned, dict[Any, Read]]]:
            places, read = waiting.popleft()
            return zip(planned[places.start : places.stop], read.result(), strict=True)

        try:
            for k in range(0, len(planned), _AT_ONCE):
                group = range(k, min(k + _AT_ONCE, len(planned)))
                waiting.append((group, self._readers.submit(several, group)))
                if len(waiting) > self._ahead:
                    yield from first()
            while waiting:
                yield from first()
        finally:
            for _, read in waiting:
                read.cancel()


def make(plan: Plan, benches: Benches, number: int, store: Store, data: Data) -> Seal:
    """Make one shard and seal it; the seal that stands there afterwards."""
    with Maker(plan, benches, data) as maker:
        maker.seal(number, store)
    seal = store.seal_of(number)
    assert seal is not None
    return seal


def _way(facts: ModelFacts) -> Any:
    """What models must have in common to share what was decoded."""
    card = None if facts.preprocessing is None else facts.preprocessing.to_toml(labels=False)
    return card, facts.layout, facts.item_shape, facts.dtype, facts.items


@dataclass(frozen=True, slots=True, eq=False)
class _Gathered:
    """Lanes of a shard that take items alike, and where these gather for them."""

    way: Any
    tray: Tray
    lanes: list[_Lane] = field(default_factory=list)

    def take(self) -> Iterator[tuple[_Lane, Full]]:
        """A batch, for each of the lanes."""
        full = self.tray.take()
        return ((lane, full.of(lane.kept.facts)) for lane in self.lanes)


@dataclass(frozen=True, slots=True, eq=False)
class _Lane:
    """One lane of a shard: what is kept of it, and what judges it."""

    kept: Kept
    judging: Judging | None

    @property
    def opened(self) -> Opened:
        """What answers."""
        return self.kept.opened

    def judges(self, full: Full) -> bool:
        """Whether an item of a batch is to be judged."""
        return self.judging is not None and any(self.judging.judges(item.number) for item in full.items)

    def judge(self, full: Full, answer: LaneAnswer, why: Sequence[str | None]) -> None:
        """Judge the explanations of a batch's items that are in the sample."""
        if self.judging is not None:
            for row, (item, error) in enumerate(zip(full.items, why, strict=True)):
                if error is None:
                    self.judging.judge(full.rows, answer, row, item.number)

    def alone(self, full: Full, told: Told) -> None:
        """Name each item of a batch, and ask about it alone."""
        rows = full.rows
        for row in np.flatnonzero(rows.real):
            told(full.items[row].number)
            one = np.arange(len(rows.x)) == row
            shape = (-1, *[1] * (rows.x.ndim - 1))
            self.opened.ask(LaneRows(rows.x * one.reshape(shape), one, rows.keys, rows.labels, rows.given))


class _Held:
    """A part that is held in memory."""

    def __init__(self, ext: str) -> None:
        self._ext, self._held = ext, bytearray()

    def write(self, block: bytes | memoryview) -> None:
        """Some more bytes."""
        self._held += block

    def end(self) -> tuple[bytes, str]:
        """The bytes, and how the part's name ends."""
        return bytes(self._held), self._ext

    def drop(self) -> None:
        """Nothing lies anywhere."""
