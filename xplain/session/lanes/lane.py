"""Lanes: a model and a method opened once, and asked batch after batch with nothing left to choose.

    planned(model, trial items) --> Lane, file      once, when an audit is planned
    opened(lane, model, file)   --> Opened          once per process
    Opened.ask(batch)           --> LaneAnswer      scores, values, maps at native resolution, relevance

A method that can be compiled becomes one graph that gives out map, relevance and the scores that are read; it is taken
only where it says of the trial items what the engine says. Everything else goes through the engine, which asks about
the items that are there and cuts rows by one item alone, so neither failed neighbours nor batches move a bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Self

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.items import Items
from xplain.core.lane import CHANNELS, PREDICTED, Lane, LaneAnswer, LaneRows, rank_of
from xplain.core.outline import Outline
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Reading
from xplain.core.target import SCORES
from xplain.core.targets.target_parser import ranking
from xplain.core.targets.units import noun, spelled
from xplain.engine.budget import Budget
from xplain.engine.schedule import batch_rows
from xplain.session.fitting import called as the_method
from xplain.session.lanes.driven import UNKNOWN_LABEL, Driven, ranked
from xplain.session.lanes.graph import Graph, compiled, graph_of
from xplain.session.lanes.readings import filled, native_of, relevance_of
from xplain.session.part import Part
from xplain.session.request import Cache
from xplain.session.run import load

__all__ = ["Budget", "Driven", "Opened", "opened", "planned"]

_MOST = 32
"""Rows of a batch, at most."""
_CLOSE = 1e-3
"""Of the largest: how far a compiled file may lie from the engine on the trial items."""


class Opened(Protocol):
    """A lane that answers."""

    lane: Lane
    outline: Outline

    @property
    def spent(self) -> Cost:
        """What it has asked so far."""

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the lane says of a batch."""

    def asked(self, batch: LaneRows) -> Callable[[], LaneAnswer]:
        """Ask the model about a batch; what is returned says in any thread, and once, what it answered.

        The batch's rows are no longer looked at then.
        """

    def price(self) -> Cost:
        """What one item costs at most: with nothing known before."""

    def __enter__(self) -> Self:
        """Hold what it needs open."""

    def __exit__(self, *raised: Any) -> None:
        """Let it go."""


def planned(
    model: Any,
    items: Items,
    method: str,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    called: str = "model",
    target: Any = PREDICTED,
    **how: Any,
) -> tuple[Lane, bytes | None]:
    """A lane with every choice made on a few trial items, and the compiled file where there is one.

    Args:
        model: What ``xplain.load`` takes, or a loaded model.
        items: Trial items, as ``Session.read`` makes them; two are enough.
        method: A method's name, or another name of it: the lane has its own.
        options: Its options.
        name: What records call the lane; empty for model, method and target.
        called: What the plan calls the model.
        target: A rule, or the same target for every item, as ``xplain.explain`` takes it; see ``Lane``.
        how: ``seed``, ``rows`` per batch (None chooses), ``batch_size`` of a call (None chooses, by the cores that are
            here), ``threads`` of one call, ``engine``: ``"drive"`` compiles nothing; ``budget``: what may be asked,
            shared with others; ``cache``: where paid answers are kept; ``given``: the trial items as a person gives
            them, where the model reads them by its own door, and ``longest``: how many features a text may have.

    Raises:
        XplainError: the method cannot be asked of this model, or the target stands for several.
    """
    seed, rows, threads = how.get("seed", 0), how.get("rows"), how.get("threads", 1)
    loaded = load(model)
    method, options = the_method(method).name, dict(options or {})
    said = how.get("batch_size")
    each = batch_rows(items.x, said)
    rows = rows or max(1, min(_MOST, each))
    given, longest = tuple(how.get("given", ())), how.get("longest")
    trial = items[: min(2, len(items))]
    lane = Lane(
        name or _named(called, method, target, options), called, loaded.outline.digest, method, options, target,
        rows=rows, item=tuple(items.x.shape[1:]), seed=seed, threads=threads,
        layout=str(items.layout.axes) if isinstance(items.layout, Layout) else "",
        card="" if items.card is None else items.card.to_toml(),
        batch=0 if said is None and abilities_of(loaded).batches is None else each,
    )  # fmt: skip
    with Driven(lane, loaded, how.get("cache"), how.get("budget")) as driven:
        part, asked = driven.readings(driven.part(trial, given[: len(trial)]), np.zeros(len(trial), np.int64))
        entry, values, _ = asked.method
        (reading,) = asked.readings
        lane = _settled(lane, part, reading, values, longest)
        lane = replace(lane, method=entry.name, unit=spelled(reading.unit or entry.unit, lane.score))
    if given or how.get("engine") == "drive" or not entry.traceable or entry.sampled:
        return lane, None
    try:
        content, scores = compiled(loaded, lane, trial)
    except XplainError as error:
        return replace(lane, why=str(error)), None
    graph = replace(lane, engine="graph", file=hashlib.sha256(content).hexdigest(), scores=scores)
    try:
        why = _apart(graph, content, loaded, trial, lane)
    except XplainError as error:
        why = str(error)
    return (replace(lane, why=why), None) if why else (graph, content)


def opened(
    lane: Lane, model: Any, content: bytes | None = None, cache: Cache | None = None, budget: Budget | None = None
) -> Opened:
    """A lane that answers, opened once.

    Args:
        lane: From ``planned``.
        model: The model that it was planned with, loaded or not.
        content: The compiled file, for a lane that is answered by one.
        cache: Answers on disk, for a model that is billed: no row is paid twice.
        budget: What may be asked, shared with others; None for no limit.

    Raises:
        UsageError: it is another model, or another file.
    """
    loaded = load(model)
    if loaded.outline.digest != lane.model_sha256:
        raise UsageError(
            f"Lane {lane.name!r} was planned with model {lane.model_sha256[:16]}; this is "
            f"{loaded.outline.digest[:16]}. Plan another audit for another model."
        )
    if lane.engine == "drive":
        return Driven(lane, loaded, cache, budget)
    if content is None or hashlib.sha256(content).hexdigest() != lane.file:
        raise UsageError(f"The compiled file of lane {lane.name!r} is not the one that was planned. Plan it again.")
    return Compiled(lane, loaded.outline, graph_of(content, lane, loaded))


class Compiled:
    """A lane that one compiled file answers.

    Args:
        lane: The lane.
        outline: The model's outline.
        graph: The file, opened.
    """

    def __init__(self, lane: Lane, outline: Outline, graph: Graph) -> None:
        self.lane, self.outline, self._graph = lane, outline, graph

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._graph.close()

    @property
    def spent(self) -> Cost:
        """Nothing: a file that runs here bills nobody."""
        return Cost()

    def price(self) -> Cost:
        """Nothing."""
        return Cost()

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the file says of a batch, or of several in a row."""
        return self.asked(batch)()

    def asked(self, batch: LaneRows) -> Callable[[], LaneAnswer]:
        """Run the file on batches of the lane's own size: once, or twice where the runner-up is explained.

        One without an item is passed over; its rows are those of a row that holds none.
        """
        rows = self.lane.rows
        if not len(batch.x) or len(batch.x) % rows:
            raise UsageError(
                f"Batches of lane {self.lane.name!r} have {rows} rows; {len(batch.x)} were given, no multiple of it."
            )
        told = {
            k: self._one(batch.x[k : k + rows], batch.real[k : k + rows], batch.labels[k : k + rows])
            for k in range(0, len(batch.x), rows)
            if batch.real[k : k + rows].any()
        }
        return partial(self._joined, told, len(batch.x))

    def _one(self, x: Array, real: Array, labels: Array) -> tuple[Any, ...]:
        """What a run of the file says of one batch, and what it was asked."""
        lane, graph = self.lane, self._graph
        wanted, rank = np.full(lane.rows, -1, np.int64), rank_of(lane.target)
        if rank == 0:
            wanted = labels
        elif rank is not None and rank > 1:
            scores, _, _ = graph.run(x, wanted)
            wanted = ranked(np.where(np.isfinite(scores), scores, 0.0), self.outline, rank)
        elif graph.label is not None:
            wanted = np.full(lane.rows, graph.label, np.int64)
        return real, labels, wanted, *graph.run(x, np.maximum(wanted, -1))

    def _joined(self, told: Mapping[int, tuple[Any, ...]], count: int) -> LaneAnswer:
        """The answers to batches, by their first rows, as one of so many rows."""
        answers = {first: self._answer(*one) for first, one in told.items()}
        if count == self.lane.rows and answers:
            return answers[0]
        whole = LaneAnswer.blank(self.lane, count, False)
        for first, one in answers.items():
            for name in ("scores", "targets", "values", "maps", "relevance"):
                getattr(whole, name)[first : first + self.lane.rows] = getattr(one, name)
            whole.why.update({first + row: why for row, why in one.why.items()})
            whole = replace(whole, words=one.words)
        return whole

    def _answer(
        self, real: Array, labels: Array, wanted: Array, scores: Array, maps: Array, channels: Array | None
    ) -> LaneAnswer:
        """What a run of the file says."""
        lane, outline, graph = self.lane, self.outline, self._graph
        rank = rank_of(lane.target)
        flat, seen = maps.reshape(len(maps), -1), np.isfinite(scores)
        finite = seen.all(axis=1) & np.isfinite(flat.min(axis=1)) & np.isfinite(flat.max(axis=1))  # NaN is passed on
        sound = scores if finite.all() else np.where(seen, scores, 0.0)
        if graph.target is None:
            wanted = np.where(wanted < 0, ranking(sound, outline, 1)[:, 0], wanted)
            values = sound[np.arange(lane.rows), wanted]
        else:
            values = np.asarray(graph.target.read({SCORES: sound}, np.arange(lane.rows)), np.float64)
            wanted = np.full(lane.rows, -1, np.int64)
        words = "" if graph.target is None else graph.target.name
        answer = LaneAnswer(scores, wanted, values, maps, None, relevance_of(lane, maps, channels), {}, words)
        for row in range(lane.rows):
            if not real[row]:
                answer.clear(row)
            elif rank == 0 and labels[row] < 0:
                answer.fail(row, UNKNOWN_LABEL)
            elif not finite[row]:
                answer.fail(row, f"Method {lane.method!r} gives scores or a map that are not finite.")
        return answer


def _named(called: str, method: str, target: Any, options: Mapping[str, Any]) -> str:
    """A lane's name: model, method with its options, and what is explained where it is not what is predicted."""
    own = "".join(f":{name}={value}" for name, value in sorted(options.items()))
    return f"{called}/{method}{own}" + ("" if target == PREDICTED else f"/{target}")


def _settled(lane: Lane, part: Part, reading: Reading, values: Mapping[str, Any], longest: int | None = None) -> Lane:
    """The lane with what the trial showed: layer, shapes, classes; ``longest``: what a text's map is filled up to."""
    channels = 0 if reading.channels is None else int(np.asarray(reading.channels()).shape[1])
    maps = native_of(reading, reading.values)
    if longest is not None:
        maps = filled(maps, (max(longest, maps.shape[1]),))
        lane = replace(lane, item=(maps.shape[1],))
    options = dict(lane.options)
    layer = reading.notes.get("layer")
    if values.get("layer") == "auto" and isinstance(layer, str):
        options["layer"] = layer
    lane = replace(
        lane,
        options=options,
        native_shape=tuple(maps.shape[1:]),
        classes=0 if part.scores is None else int(part.scores.shape[1]),
        relevance=min(CHANNELS, channels),
        score=noun(part.model.outline, part.aims[0].target, part.scores),
    )
    return replace(lane, relevance=lane.relevance or relevance_of(lane, maps, None).shape[1])


def _apart(graph: Lane, content: bytes, model: Model, items: Items, driven: Lane) -> str:
    """How the compiled file and the engine differ on the trial items; empty where they do not."""
    count = min(len(items), graph.rows)
    x = np.zeros((graph.rows, *graph.item), np.float32)
    x[:count] = items.x[:count]
    real = np.asarray(np.arange(graph.rows) < count)
    batch = LaneRows(x, real, tuple(map(str, range(graph.rows))), np.zeros(graph.rows, np.int64))
    with opened(graph, model, content) as fast, opened(driven, model) as slow:
        one, other = fast.ask(batch), slow.ask(batch)
    for what in ("scores", "values", "maps", "relevance"):
        a: Array = np.asarray(getattr(one, what), np.float64)[:count]
        b: Array = np.asarray(getattr(other, what), np.float64)[:count]
        if a.shape != b.shape:
            return f"the compiled file gives {what} of {list(a.shape)}, the engine of {list(b.shape)}"
        off = float(np.abs(a - b).max(initial=0.0)) / max(float(np.abs(b).max(initial=0.0)), 1e-30)
        if not off <= _CLOSE:
            return f"the compiled file's {what} lie {off:.2g} of the largest away from the engine's"
    return ""
