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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.items import Items
from xplain.core.lane import CHANNELS, PREDICTED, Lane, LaneAnswer, LaneRows, rank_of
from xplain.core.layout import Layout
from xplain.core.outline import Outline
from xplain.core.query import Model, Reading
from xplain.core.target import SCORES
from xplain.core.target_parser import aim, ranking
from xplain.core.units import noun, spelled
from xplain.engine.schedule import batch_rows
from xplain.session.lane_graph import Graph, compiled, graph_of
from xplain.session.lane_readings import native_of, relevance_of
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.run import Session, load
from xplain.session.stream import may_be_of_one

__all__ = ["Opened", "opened", "planned"]

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

    def price(self) -> float:
        """Money that one item costs at most: with nothing known before."""

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
        method: A method's name.
        options: Its options.
        name: What records call the lane; empty for model, method and target.
        called: What the plan calls the model.
        target: A rule, or the same target for every item, as ``xplain.explain`` takes it; see ``Lane``.
        how: ``seed``, ``rows`` per batch (None chooses), ``threads`` of one call, ``engine``: ``"drive"`` compiles
            nothing.

    Raises:
        XplainError: the method cannot be asked of this model, or the target stands for several.
    """
    seed, rows, threads = how.get("seed", 0), how.get("rows"), how.get("threads", 1)
    loaded = load(model)
    options = dict(options or {})
    rows = rows or max(1, min(_MOST, batch_rows(items.x, None)))
    trial = items[: min(2, len(items))]
    lane = Lane(
        name or _named(called, method, target, options), called, loaded.outline.digest, method, options, target,
        rows=rows, item=tuple(items.x.shape[1:]), seed=seed, threads=threads,
        layout=str(items.layout.axes) if isinstance(items.layout, Layout) else "",
        card="" if items.card is None else items.card.to_toml(),
    )  # fmt: skip
    with Driven(lane, loaded) as driven:
        part, reading, entry, values = driven.readings(trial, np.zeros(len(trial), np.int64))
        lane = _settled(lane, driven, part, reading, values)
        lane = replace(lane, method=entry.name, unit=spelled(reading.unit or entry.unit, lane.score))
    if how.get("engine") == "drive" or not entry.traceable or entry.sampled:
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


def opened(lane: Lane, model: Any, content: bytes | None = None, cache: Cache | None = None) -> Opened:
    """A lane that answers, opened once.

    Args:
        lane: From ``planned``.
        model: The model that it was planned with, loaded or not.
        content: The compiled file, for a lane that is answered by one.
        cache: Answers on disk, for a model that is billed: no row is paid twice.

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
        return Driven(lane, loaded, cache)
    if content is None or hashlib.sha256(content).hexdigest() != lane.file:
        raise UsageError(f"The compiled file of lane {lane.name!r} is not the one that was planned. Plan it again.")
    return Compiled(lane, loaded.outline, graph_of(content, lane, loaded))


class Driven:
    """A lane that the engine answers.

    Args:
        lane: The lane; shapes need not be known yet.
        model: The loaded model.
        cache: Answers on disk.
    """

    def __init__(self, lane: Lane, model: Model, cache: Cache | None = None) -> None:
        self.lane, self.outline = lane, model.outline
        self._model, self._open = model, ExitStack()
        self._rank = rank_of(lane.target)
        target = lane.target if self._rank is None else None
        self._session = Session(model, Request({lane.method: dict(lane.options)}, target, lane.seed, cache=cache))

    def __enter__(self) -> Self:
        self._open.enter_context(self._session)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._open.close()

    @property
    def spent(self) -> Cost:
        """What the engine has counted."""
        return self._session.spent

    def price(self) -> float:
        """What the tariff says of the questions about one item; 0 for a model without one."""
        if abilities_of(self._model).price is None:
            return 0.0
        x = np.zeros((1, *self.lane.item), np.float32)
        part = self._session.part(self._model, Items(x, ("one",), layout=_layout(self.lane, self.outline)))
        plan = replace(self._session.plan(part, self.lane.method), reused=0)
        return float(plan.money or 0.0)

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the lane says of the items that are there, together; where that fails, of each alone."""
        answer: LaneAnswer | None = None
        failed: dict[int, str] = {}
        waiting = [np.flatnonzero(batch.real)]
        while waiting:
            group = waiting.pop(0)
            missing = [k for k in group if batch.labels[k] < 0] if self._rank == 0 else []
            if missing:
                failed |= dict.fromkeys(map(int, missing), _UNKNOWN_LABEL)
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

    def readings(self, items: Items, labels: Array, keys: Sequence[str] = ()) -> tuple[Part, Reading, Any, Any]:
        """A part of the items with its targets, what the method reads of them, the method and its options."""
        session, part = self._session, self._session.part(self._model, items)
        part.keys = tuple(keys)
        if self._rank not in (None, 1):
            scores = session.look(part)
            wanted = _ranked(scores, self.outline, self._rank) if self._rank else labels
            part.aims = aim([int(one) for one in wanted], scores, self.outline)
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

    def _asked(self, batch: LaneRows, group: Array) -> LaneAnswer:
        """The answer about some rows of a batch."""
        lane, count = self.lane, len(group)
        items = Items(batch.x[group], tuple(map(str, group)), layout=_layout(lane, self.outline))
        part, reading, _, _ = self.readings(items, batch.labels[group], [batch.keys[k] for k in group])
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

    def price(self) -> float:
        """Nothing."""
        return 0.0

    def ask(self, batch: LaneRows) -> LaneAnswer:
        """What the file says of a batch of the lane's own size, in one run; two where the runner-up is explained."""
        lane, outline, graph = self.lane, self.outline, self._graph
        if len(batch.x) != lane.rows:
            raise UsageError(f"A batch of lane {lane.name!r} has {lane.rows} rows; {len(batch.x)} were given.")
        wanted, rank = np.full(lane.rows, -1, np.int64), rank_of(lane.target)
        if rank == 0:
            wanted = batch.labels
        elif rank is not None and rank > 1:
            scores, _, _ = graph.run(batch.x, wanted)
            wanted = _ranked(np.where(np.isfinite(scores), scores, 0.0), outline, rank)
        elif graph.label is not None:
            wanted = np.full(lane.rows, graph.label, np.int64)
        scores, maps, channels = graph.run(batch.x, np.maximum(wanted, -1))
        flat = np.concatenate([scores, maps.reshape(len(maps), -1)], axis=1)
        finite = np.asarray(np.isfinite(flat).all(axis=1))
        sound = np.where(np.isfinite(scores), scores, 0.0)
        if graph.target is None:
            wanted = np.where(wanted < 0, ranking(sound, outline, 1)[:, 0], wanted)
            values = sound[np.arange(lane.rows), wanted]
        else:
            values = np.asarray(graph.target.read({SCORES: sound}, np.arange(lane.rows)), np.float64)
            wanted = np.full(lane.rows, -1, np.int64)
        words = "" if graph.target is None else graph.target.name
        answer = LaneAnswer(scores, wanted, values, maps, None, relevance_of(lane, maps, channels), {}, words)
        for row in range(lane.rows):
            if not batch.real[row]:
                answer.clear(row)
            elif rank == 0 and batch.labels[row] < 0:
                answer.fail(row, _UNKNOWN_LABEL)
            elif not finite[row]:
                answer.fail(row, f"Method {lane.method!r} gives scores or a map that are not finite.")
        return answer


_UNKNOWN_LABEL = "The item has no label that the model knows, and its label's class is what is explained."


def _named(called: str, method: str, target: Any, options: Mapping[str, Any]) -> str:
    """A lane's name: model, method with its options, and what is explained where it is not what is predicted."""
    own = "".join(f":{name}={value}" for name, value in sorted(options.items()))
    return f"{called}/{method}{own}" + ("" if target == PREDICTED else f"/{target}")


def _ranked(scores: Array, outline: Outline, rank: int) -> Array:
    """The class of a rank of each item, int64 ``[N]``.

    Raises:
        UsageError: the model has fewer classes.
    """
    if scores.shape[1] < rank:
        raise UsageError(f"The class of rank {rank} is to be explained; {outline.source} has {scores.shape[1]}.")
    return ranking(scores, outline, rank)[:, -1].astype(np.int64)


def _layout(lane: Lane, outline: Outline) -> Any:
    """The layout of items as it was read when the lane was planned."""
    return Layout(lane.layout, lane.item) if lane.layout else outline.layout_of(lane.item)


def _settled(lane: Lane, driven: Driven, part: Part, reading: Reading, values: Mapping[str, Any]) -> Lane:
    """The lane with what the trial showed: layer, shapes, classes."""
    channels = 0 if reading.channels is None else int(np.asarray(reading.channels()).shape[1])
    maps = native_of(reading, reading.values)
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
        score=noun(driven.outline, part.aims[0].target, part.scores),
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
