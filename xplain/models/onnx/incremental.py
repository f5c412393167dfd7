"""Hidden windows answered incrementally: the door between a plan over an ONNX graph and the runtime.

A question of hidden windows is answered this way where the plan predicts a gain of at least ``WORTHWHILE``. Per
picture, the runtime computes the values that the plan's steps read; batches of masks go through the steps; the runtime
turns what comes out into scores. Two masks of every picture are asked both ways, and a picture whose answers differ is
answered the plain way, with a warning; so is one for which memory runs out, or whose values are not finite.

Masks are cut into batches by their own number, never by the rows that are asked at a time, so a row's bits depend
neither on the batch size nor on the order of questions.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xplain.core.edits import Array, Windows
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.incremental import LayerGain, Plan, Refused, Way, affordable, measure, plan
from xplain.incremental.boxes import clipped
from xplain.models.onnx.incremental_engine import Engine, Item, Opened
from xplain.models.onnx.session_cache import leave
from xplain.models.reading import write_rows
from xplain.native import delta

__all__ = ["WORTHWHILE", "Found", "Incremental", "IncrementalWarning", "Net", "Report"]

WORTHWHILE = 1.3
"""Least predicted gain at which the plain way is left."""
_SAMPLE = 256  # masks that a prediction looks at
_CLOSE = 1e-4  # of the greatest score: how far two correct float32 evaluations may lie apart
_ROUGH = 0.5  # of the greatest score: what bfloat16 deltas may lose before something must be wrong

Found = tuple[tuple[int, int], dict[str, Array]]
"""Rows of a question, and the values of each tensor for them."""


class IncrementalWarning(UserWarning):
    """A picture was answered the plain way after all; the message says why."""


@dataclass
class Report:
    """How a question was answered.

    Args:
        way: ``"plain"``, ``"incremental"`` or ``"fast"``.
        gain: Predicted cost of the plain way over that of the incremental one; None where there is no plan.
        reason: Why the plain way was taken; empty where it was not.
        error: Greatest difference between the two ways on the masks that were asked both ways, as a share of the
            greatest score; None where none was.
        squares: Convolutions that went by Winograd, on the last picture.
        layers: Cost of each step the plain way and this way.
    """

    way: str
    gain: float | None = None
    reason: str = ""
    error: float | None = None
    squares: int = 0
    layers: tuple[LayerGain, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        gain = "" if self.gain is None else f", predicted gain {self.gain:.1f}"
        error = "" if self.error is None else f", largest difference from the plain way {self.error:.1g}"
        return f"{self.way}{gain}{error}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, eq=False)
class Net:
    """The graph that windows are followed through, and how it takes pictures.

    Args:
        model: The graph, an ``onnx.ModelProto``.
        source: Name of the input that is edited.
        digest: sha256 of the model; plans are kept by it.
        channels_last: True where items are ``[H, W, C]``.
        outside: Weights that are not in the graph, by name.
        single: True where it takes one row at a time.
    """

    model: Any
    source: str
    digest: str
    channels_last: bool = False
    outside: Mapping[str, Array] = field(default_factory=dict)
    single: bool = False

    def plan(self, item: tuple[int, ...], outputs: tuple[str, ...]) -> Plan | Refused:
        """How windows are followed through it, to these outputs, or why they cannot be."""
        digest = f"{self.digest} {outputs}"
        made = plan(self.model, self.source, item, outputs, outside=self.outside, digest=digest)
        if isinstance(made, Plan) and made.channels_last != self.channels_last:
            return Refused("its picture is not read as [N, C, H, W]")
        return made


class Incremental:
    """Answers questions of hidden windows about one graph.

    Args:
        net: The graph.
        open_session: Opens a part of the graph in the runtime; with ``lean=True`` one that is soon closed.
        threads: Threads of the kernels; 0 for all.
        fast: Faster, approximate: deltas in bfloat16 on processors where that pays, Winograd wherever it applies on
            others.
        make_room: Called before a question is answered this way, which needs nothing of the plain one.
    """

    def __init__(
        self,
        net: Net,
        open_session: Callable[..., Opened],
        *,
        threads: int = 0,
        fast: bool = False,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._net, self._open, self._make_room = net, open_session, make_room
        self._threads, self._fast = threads, fast
        self._halves = fast and delta.pairs_pay()
        self._engines: OrderedDict[Any, Engine | Refused] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()  # of the engines
        self._own = _Own()

    @property
    def report(self) -> Report:
        """How this thread's last question was answered."""
        return self._own.report

    def each(
        self, query: Score, outputs: Sequence[str], plain: Callable[[Score], Iterator[Found]]
    ) -> Iterator[Found] | None:
        """The values of ``outputs`` for the rows of a question; None where the plain way should answer.

        Args:
            query: Items float32 and edits.
            outputs: Tensors wanted.
            plain: The plain way to the same.
        """
        edits = query.edits
        if not isinstance(edits, Windows) or query.x.ndim != 4 or not len(query.x) or not edits.count:
            return None
        run = self._own.run
        if run is None or not run.serves(query, outputs):
            run = self._own.run = self._begin(query, tuple(outputs), plain)
        return None if run.engine is None else run.each(query, plain)

    def forecast(self, item: tuple[int, ...], outputs: Sequence[str], patch: int, stride: int) -> Report:
        """What would be done about a grid of square windows over one item, step by step."""
        height, width = item[:2] if self._net.channels_last else item[1:]
        y, x = np.meshgrid(np.arange(0, height, stride), np.arange(0, width, stride), indexing="ij")
        corners = np.stack([y, x, y + patch, x + patch], axis=-1).reshape(-1, 4).astype(np.int32)
        return self.predict((1, *item), Windows(corners, np.zeros((1,) * (len(item) + 1), np.float32)), outputs)

    def predict(self, shape: tuple[int, ...], edits: Windows, outputs: Sequence[str]) -> Report:
        """What would be done about these windows of items ``[N, *item]``, step by step."""
        engine = self._engine(tuple(outputs), shape[1:])
        if isinstance(engine, Refused):
            return Report("plain", reason=engine.reason)
        way = self._way(engine, shape, edits)
        short = way.gain < WORTHWHILE
        reason = f"the predicted gain is {way.gain:.2f}; below {WORTHWHILE} the plain way is used" if short else ""
        name = "plain" if short else "fast" if self._fast else "incremental"
        return Report(name, way.gain, reason, squares=len(way.squares), layers=way.layers)

    def _begin(self, query: Score, outputs: tuple[str, ...], plain: Callable[[Score], Iterator[Found]]) -> _Run:
        edits = query.edits
        assert isinstance(edits, Windows)
        self._own.report = report = self.predict(query.x.shape, edits, outputs)
        engine = self._engine(outputs, query.x.shape[1:])
        if report.way == "plain" or isinstance(engine, Refused):
            return _Run(query, outputs, None, report, None)
        self._make_room()
        return _Run(query, outputs, engine, report, self._way(engine, query.x.shape, edits))

    def reads(self, layout: Layout) -> bool:
        """Whether items of this layout are the planes that the network is followed over."""
        return layout.axes == ("NHWC" if self._net.channels_last else "NCHW")

    def _way(self, engine: Engine, shape: tuple[int, ...], edits: Windows) -> Way:
        boxes = edits.boxes.reshape(-1, 4)
        sample = boxes[np.linspace(0, len(boxes) - 1, min(len(boxes), _SAMPLE)).astype(int)]
        plane = engine.plan.planes[engine.plan.entry].extent
        allowed = frozenset[str]() if self._halves else None
        # by the masks of one item: the way must not depend on the items beside it
        return engine.plan.way(clipped(sample, plane), allowed, edits.count)

    def _engine(self, outputs: tuple[str, ...], item: tuple[int, ...]) -> Engine | Refused:
        """The plan and its sessions; a few are kept."""
        key = self._net.digest, outputs, item
        if self._process != os.getpid():
            leave(self._engines)
            self._process, self._engines, self._lock = os.getpid(), OrderedDict(), threading.Lock()
        with self._lock:
            if key not in self._engines:
                self._engines[key] = self._made(outputs, item)
                while len(self._engines) > 2:
                    self._engines.popitem(last=False)
            return self._engines[key]

    def _made(self, outputs: tuple[str, ...], item: tuple[int, ...]) -> Engine | Refused:
        made = self._net.plan(item, outputs)
        if isinstance(made, Refused):
            return made
        return Engine(made, self._open, self._threads, self._halves, self._net.single)


class _Own(threading.local):
    """What one thread is being told: its question, and how the last one was answered."""

    def __init__(self) -> None:
        self.run: _Run | None = None
        self.report = Report("plain", reason="no windows were asked yet")


class _Run:
    """One question, in all its parts."""

    def __init__(
        self, query: Score, outputs: tuple[str, ...], engine: Engine | None, report: Report, way: Way | None
    ) -> None:
        self.x, self.edits, self.outputs = query.x, query.edits, outputs
        self.engine, self.report, self.way = engine, report, way
        self._item: tuple[int, Item | None] | None = None
        self._block: tuple[tuple[int, int], dict[str, Array]] | None = None

    def serves(self, query: Score, outputs: Sequence[str]) -> bool:
        """Whether a question is a part of this one."""
        return query.x is self.x and query.edits is self.edits and tuple(outputs) == self.outputs

    def each(self, query: Score, plain: Callable[[Score], Iterator[Found]]) -> Iterator[Found]:
        """The rows that are asked, batch by batch."""
        assert self.way is not None
        first, last = query.rows
        masks, group = query.edits.count, self.way.group
        while first < last:
            n, m = divmod(first, masks)
            begin = m // group * group
            end = min(begin + group, masks)
            stop = min(last, n * masks + end)
            values = self._values(query, n, begin, end)
            if values is None:
                yield from plain(replace(query, part=(first, stop)))
            else:
                offset = n * masks + begin
                yield (first, stop), {name: value[first - offset : stop - offset] for name, value in values.items()}
            first = stop

    def _values(self, query: Score, n: int, begin: int, end: int) -> dict[str, Array] | None:
        """The outputs for masks begin..end of item n, or None where the plain way has to answer."""
        assert self.way is not None
        assert self.engine is not None
        if self._block is not None and self._block[0] == (n, begin):
            return self._block[1]
        try:
            with self.engine.lock:
                if self._item is None or self._item[0] != n:
                    self._block = None
                    self._item = n, self._prepare(query, n)
                item = self._item[1]
                if item is None:
                    return None
                batch, steps = self.way.batch, self.engine.plan
                spreads = (item.spread(steps, first, min(first + batch, end)) for first in range(begin, end, batch))
                values = self.engine.values(item, spreads)
        except MemoryError:
            self._give_up(n, "memory ran out")
            return None
        if not all(bool(np.isfinite(v).all()) for v in values.values()):
            return None  # the plain way says what is wrong, if it finds the same
        self._block = (n, begin), values
        return values

    def _prepare(self, query: Score, n: int) -> Item | None:
        """Unmasked values, the convolutions that may go by Winograd, and two masks asked both ways."""
        engine, way = self.engine, self.way
        assert engine is not None
        assert way is not None
        assert isinstance(query.edits, Windows)
        x = query.x[n]
        corners = query.edits.boxes if query.edits.boxes.ndim == 2 else query.edits.boxes[n]
        fill = np.broadcast_to(query.edits.fill, query.x.shape)[n].astype(np.float32)
        boxes = clipped(corners, engine.plan.planes[engine.plan.entry].extent)
        asked = _probe_masks(boxes)
        bases, seen = engine.look(x, self._masked(query, n, asked)) if np.isfinite(fill).all() else (None, [])
        if bases is None:
            self.report.way = "plain"
            self.report.reason = f"item {n}: a value of the picture, of the fill or inside the network is not finite"
            return None
        filled = delta.channels_last(fill.transpose(2, 0, 1) if engine.plan.channels_last else fill)
        squares = way.squares
        if squares and self.report.way != "fast":
            errors = measure(engine.runner, boxes[asked], filled, bases, squares)
            squares = affordable(errors, way.savings)
            engine.runner.drop(way.squares - squares, "winograd")
        item = Item(boxes, filled, bases, squares)
        got = engine.values(item, [engine.plan.spread(boxes[asked])])
        if not self._agrees(n, asked, got, seen):
            return None
        self.report.squares = len(squares)
        return item

    def _masked(self, query: Score, n: int, asked: Array) -> Iterator[Array]:
        """Pictures under some masks of item n, as the plain way gets them."""
        assert self.engine is not None
        layout = Layout("NHWC" if self.engine.plan.channels_last else "NCHW", query.x.shape[1:])
        for m in asked:
            row = n * query.edits.count + int(m)
            picture = np.empty((1, *query.x.shape[1:]), np.float32)
            write_rows(query, row, row + 1, picture, layout)
            yield picture

    def _agrees(self, n: int, asked: Array, got: Mapping[str, Array], seen: Sequence[Mapping[str, Array]]) -> bool:
        fast = self.report.way == "fast"
        for k, (m, expected) in enumerate(zip(asked, seen, strict=True)):
            for name, value in expected.items():
                wanted = value.astype(np.float64)
                apart = float(np.abs(got[name][k] - wanted).max())
                greatest = max(float(np.abs(wanted).max()), 1e-30)
                self.report.error = max(self.report.error or 0.0, apart / greatest)
                if not apart <= (_ROUGH if fast else _CLOSE) * greatest:
                    self._give_up(
                        n, f"mask {int(m)} gave {name!r} {apart:.2g} from the plain way's, of at most {greatest:.2g}"
                    )
                    return False
        return True

    def _give_up(self, n: int, why: str) -> None:
        self.report.way, self.report.reason = "plain", f"item {n}: {why}"
        warnings.warn(
            f"Item {n} is answered by evaluating every window in full: {why}. The result is right, only slower; "
            "engine 'plain' asks for that from the start.",
            IncrementalWarning,
            stacklevel=2,
        )


def _probe_masks(boxes: Array) -> Array:
    """Indices of two masks by which this engine is checked against the plain way: the middle and the last.

    Of the windows that hide something, where any does.
    """
    full = np.flatnonzero(boxes[:, 2])
    full = full if len(full) else np.arange(len(boxes))
    return np.unique(full[[len(full) // 2, len(full) - 1]])
