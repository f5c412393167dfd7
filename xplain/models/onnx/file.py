"""An ONNX model that answers questions: scores of edited items, values of inner tensors, and reverse sweeps.

Edited rows are written straight into the buffer that the runtime reads. A graph is cut down to the tensors that are
asked for, so each kind of question has its own session; the latest few are kept.

Threads may share a model: its graph and sessions are never changed, and each thread writes rows into a buffer of its
own. Kernels that answer hidden windows serve one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from xplain.core.abilities import Abilities, Piece
from xplain.core.edits import Array, Untouched, Windows
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Answer, Ensemble, Peek, Query, Score, Slope, Sweep
from xplain.core.swept import Swept
from xplain.core.target import SCORES, Target
from xplain.graph.intake.load import Loaded
from xplain.graph.outline.trees import trees_in
from xplain.graph.reverse.cut import cut
from xplain.graph.understood import understood
from xplain.models.buffers import Buffers
from xplain.models.integers import explain_the_embedding, finds
from xplain.models.onnx.batch_axis import batch_axis, goes_alone, settle_batch
from xplain.models.onnx.batches import OnnxBatches, in_one_call
from xplain.models.onnx.compiling import NO_WAY_BACK, OnnxCompiles
from xplain.models.onnx.incremental import Incremental, Net, Report
from xplain.models.onnx.optimiser import LEVELS, opened, settle_level
from xplain.models.onnx.peeks import OnnxPeeks
from xplain.models.onnx.providers import CPU, Provider
from xplain.models.onnx.redrawing import OnnxRedraws
from xplain.models.onnx.session import Session
from xplain.models.onnx.session_cache import LARGE, Shelf, open_session
from xplain.models.onnx.slope_door import OnnxSlopes
from xplain.models.outlines import warned
from xplain.models.reading import (
    as_float32,
    check_items,
    items_beside,
    padded,
    read_target,
    rows_given,
    score_rows,
)

if TYPE_CHECKING:
    from xplain.models.onnx.sweeps import Way

__all__ = ["OnnxFile", "Running"]

# With several threads the runtime cuts the work on one row otherwise than on several, which changes last bits (measured
# with onnxruntime 1.31 on an int8 MobileNetV2: one row in two); from two rows on, a row's bits are always the same.
_LEAST = 2
_INPUT = "input"
_FLOAT16 = 10  # ONNX's number of the type


@dataclass(frozen=True, slots=True)
class Running:
    """How a model runs.

    Args:
        providers: Execution providers, best first, with their options.
        threads: Threads of one run, and of a fill by the CPU; None for all.
        seconds: After so long a run is stopped; None for never.
        engine: How hidden windows are answered on the CPU, see ``xplain.models.options.OnnxOptions``.
    """

    providers: Sequence[Provider]
    threads: int | None = None
    seconds: float | None = None
    engine: str = "auto"


class OnnxFile(OnnxBatches, OnnxPeeks, OnnxSlopes, OnnxCompiles, OnnxRedraws):
    """A loaded ONNX model.

    Args:
        loaded: The checked graph.
        outline: What is known of it; whether the batch is free is settled here.
        fixed: Values of the inputs that are not explained, as the model takes them.
        how: How it runs.

    Raises:
        ModelError: the runtime refuses the model.
    """

    answers: frozenset[type[Any]] = frozenset({Score, Peek, Sweep, Slope})

    def __init__(self, loaded: Loaded, outline: Outline, fixed: Mapping[str, Array], how: Running) -> None:
        self.outline = outline
        self._loaded, self._model, self._providers = loaded, loaded.model, list(how.providers)
        self._threads, self._seconds = how.threads, how.seconds
        self._fixed, self._scores = dict(fixed), outline.scores.tensor
        self._shared = False  # whether other inputs go with no row, though an axis has the name of the batch
        self._shelf, self._buffers = Shelf(loaded.size), Buffers(outline.source)
        self._input = next(spec for spec in outline.inputs if spec.name == outline.input)
        self._layers = {layer.name: layer for layer in outline.layers}
        self._trees = trees_in(loaded.model, self._scores, outline.input)
        self.answers |= {Ensemble} if self._trees is not None else set()
        self._level = LEVELS[0]
        self.outline = self._settle_batch()
        self._settle_level()
        self._way_back = self._level  # as sweeps are optimised: at most as the model itself
        opened = self._tried()  # a model that the runtime refuses is refused now
        self._providers, self.providers, self.fallback = list(opened.used), opened.providers, opened.fallback
        self.incremental = self._incremental(how.engine)

    @property
    def abilities(self) -> Abilities:
        """It compiles, diagnoses its sweeps, and says how it answers hidden windows."""
        return Abilities(
            batches=self, cuts=True, shared=True, balance=self.balance, why_not_finite=self.why_not_finite,
            finds=partial(finds, self._loaded), windows=lambda: self.windows, forecast=self.forecast, redraws=self,
            compiles=self,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.brief}>"

    def answer(self, query: Query) -> Answer:
        """The answer to one question, or the part of it that is asked."""
        self._loaded.opened.unchanged()
        if isinstance(query, Score):
            return np.concatenate([rows for _, rows in self._scored(query)])
        if isinstance(query, (Slope, Ensemble)):
            return self._slope(query) if isinstance(query, Slope) else self._trees and self._trees()
        return self._peek(query) if isinstance(query, Peek) else self._sweep(query)

    def _scored(self, query: Score, rows: int | None = None) -> Iterator[Piece]:
        """The answer in pieces, in order; ``rows`` at once, None for as many as the one who runs them likes."""
        query = replace(query, x=self._buffers.float32(query))
        tensors = {name: self._tensor(name) for name in query.target.tensors if name != _INPUT}
        outputs = tuple(dict.fromkeys(tensors.values()))
        for part, found in self._chunks(query, outputs, rows):
            values = {name: found[tensor] for name, tensor in tensors.items()}
            if _INPUT in query.target.tensors:
                values[_INPUT] = rows_given(query, part, query.layout_in(self.outline), self._threads or 0)
            if SCORES in values:
                values[SCORES] = score_rows(values[SCORES], self.outline.source, self._scores)
            yield part, read_target(query, part, values)

    def _chunks(
        self, query: Score, outputs: tuple[str, ...], rows: int | None
    ) -> Iterator[tuple[tuple[int, int], dict[str, Array]]]:
        """Rows and output values of a question."""
        start, dtype = None if query.at == "input" else self._tensor(query.at), self._input.dtype
        whole = not self._loaded.quantised.keys() & set(outputs)  # its answers are the graph's own tensors
        asked = self.incremental is not None and start is None and whole and isinstance(query.edits, Windows)
        if asked and self.incremental is not None and self.incremental.reads(query.layout_in(self.outline)):
            self._check(query)
            with understood(self.outline.source):
                changes = self.incremental.each(query, outputs, lambda part: self._each(self._plain(outputs), part))
            if changes is not None:
                return changes

        def beside(rows: tuple[int, int], batch: int) -> dict[str, Array]:
            return {self._input.name: padded(items_beside(query, rows, dtype), batch)}

        extra = None if query.items is None else beside
        return self._each(self._plain(outputs, start, query.items is not None), query, start, extra)

    def _sweep(self, query: Sweep) -> Swept:
        way, found = self._swept(query, tensors := self._taps(query), "sweep")
        return way.answer(query, tensors, found, (self.outline, self._scores))

    def balance(self, query: Sweep) -> tuple[tuple[str, ...], Array, Array]:
        """What each node received and passed on in a sweep of one item; see ``xplain.graph.reverse.balance``.

        Returns:
            The nodes in the order they were visited, and two float64 arrays of their number.
        """
        if len(query.x) != 1:
            raise UsageError(f"A conservation report is of one item; {len(query.x)} were given.")
        way, (found,) = self._swept(query, self._taps(query), "report")
        rows = self.outline.rows or 1  # a batch that is fixed is filled with the one item, and the sums are over all
        return way.built.report, found["received"].astype(np.float64) / rows, found["passed"].astype(np.float64) / rows

    def why_not_finite(self, query: Sweep) -> str:
        """The first node that makes numbers that are not finite in a sweep of one item, as a sentence."""
        way, (found,) = self._swept(query, self._taps(query), "flags")
        return str(way.built.told(*found.values()))

    def _taps(self, query: Sweep) -> dict[str, str]:
        return {tap: self._input.name if tap == _INPUT else self._tensor(tap) for tap in query.taps}

    def _swept(
        self, query: Sweep, tensors: Mapping[str, str], kind: Literal["sweep", "report", "flags"]
    ) -> tuple[Way, list[dict[str, Array]]]:
        """How a sweep is answered, and its outputs for each run of rows."""
        from xplain.models.onnx.sweeps import Asked, Feeding, Way  # reverse mode is loaded when first asked for

        at = None if query.at == _INPUT else self._tensor(query.at)
        asked = Asked(query, self._input.name, self._input.dtype, self._scores, at)
        asked.check(self._layers, self.outline.source)
        self._loaded.before_sweep(query.rules)
        whole = Score(as_float32(query.fed, self.outline.source), Untouched(), Target(()), cut=in_one_call(query))
        wanted = tuple(dict.fromkeys(tensors.values()))

        apart = self._providers[0][0] == CPU  # a device would be sent all of the baseline's pass in every run

        def make(level: str) -> Way:
            embedding = explain_the_embedding(self.outline, self._input.dtype, query.taps, query.fed.shape[1:])
            with understood(self.outline.source, NO_WAY_BACK), embedding:
                built = asked.built(kind, self._loaded.analysed(self._model), wanted, apart)
            return Way.opened(built, partial(self._open, lent=True, level=level))

        def ask(level: str) -> tuple[Way, list[dict[str, Array]]]:
            way = cast(Way, self._shelf.get((asked.key, wanted, kind, level), partial(make, level)))
            feeding = Feeding(asked, way, self._input.name, self._others)
            runs = self._each(way.session, whole, None, feeding, kind == "sweep", way.layers)
            found = [feeding.joined(rows, values) for rows, values in runs]
            self._way_back = level
            return way, found

        if self._seconds is not None:
            return ask(self._way_back)
        answer, told = opened(ask, self._way_back)  # some faults of the optimiser show only when a graph runs
        self._tell(told)
        return answer

    def _each(
        self,
        session: Session,
        query: Score,
        start: str | None = None,
        extra: Callable[[tuple[int, int], int], Mapping[str, Any]] | None = None,
        by_row: bool = True,
        of: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[tuple[int, int], dict[str, Array]]]:
        """Run the rows that a question asks, as many at once as the model takes; yields rows and output values.

        Outputs have a row each, unless ``by_row`` says that they are of the batch as a whole; ``of`` says which layer's
        they are, where they are called otherwise. What ``extra`` feeds is as long as the batch.
        """
        name = start or self._input.name
        self._check(query, start)
        half = start is not None and self._loaded.dtype(start) == _FLOAT16
        dtype = self._input.dtype if start is None else "float16" if half else "float32"
        first, last = query.rows
        told = None if query.cut is None else query.cut.rows
        step = self.outline.rows or told or max(1, last - first)
        least = told or (_LEAST if extra is None and self._threads != 1 else 1)
        for left in range(first, last, step):
            right = min(left + step, last)
            count = right - left
            batch = self.outline.rows or max(count, least)
            how = query.layout_in(self.outline), self._threads or 0
            buffer = self._buffers.filled(query, (left, right), batch, dtype, *how)
            feeds: dict[str, Any] = {name: session.fed(buffer)}
            feeds |= {other: session.fed(value) for other, value in self._others(batch).items()}
            for other, value in (extra((left, right), batch) if extra is not None else {}).items():
                feeds[other] = session.fed(value) if isinstance(value, np.ndarray) else value
            values = session.run(feeds)
            if not by_row:
                yield (left, right), values
                continue
            item = None if start else tuple(query.x.shape[1:])
            each = {out: self._by_item((of or {}).get(out, out), value, batch, item) for out, value in values.items()}
            yield (left, right), {output: value[:count] for output, value in each.items()}

    def _check(self, query: Score, start: str | None = None) -> None:
        """Items must fit the input, or the tensor they stand for."""
        expected = self._layers[start].shape if start in self._layers else self._input.shape
        if expected:
            check_items(query.x.shape, expected, self.outline.source, start or self._input.name)

    def _others(self, batch: int) -> dict[str, Array]:
        """The other inputs for a whole batch."""
        return {name: self._repeated(name, value, batch) for name, value in self._fixed.items()}

    def _repeated(self, name: str, value: Array, batch: int) -> Array:
        axis = batch_axis(next(spec for spec in self.outline.inputs if spec.name == name), self._input)
        follows = axis is not None and value.shape[axis] == 1 and not self._shared
        return np.ascontiguousarray(np.repeat(value, batch, axis=axis) if follows else value)

    def _incremental(self, engine: str) -> Incremental | None:
        """Who answers hidden windows incrementally; None where this model or the options rule it out."""
        layout, cpu = self.outline.layout, self._providers[0][0] == CPU
        pictures = layout is not None and layout.axes in ("NCHW", "NHWC") and self._input.dtype == "float32"
        if engine == "plain" or not (cpu and pictures) or self._fixed or self.outline.rows not in (None, 1):
            return None
        net = Net(
            self._model,
            self._input.name,
            self._loaded.digest,
            channels_last=layout is not None and layout.axes == "NHWC",
            outside=self._loaded.outside,
            single=self.outline.rows == 1,
        )
        fast, threads = engine == "fast", self._threads or 0
        return Incremental(net, self._open, threads=threads, fast=fast, make_room=self._shelf.make_room)

    @property
    def windows(self) -> Report | None:
        """How the last question of hidden windows was answered; None where only the plain way is there."""
        return None if self.incremental is None else self.incremental.report

    def forecast(self, patch: int, stride: int) -> Report | None:
        """How a grid of hidden windows would be answered; None where only the plain way is there."""
        if self.incremental is None or self.outline.layout is None:
            return None
        return self.incremental.forecast(self.outline.layout.item, (self._scores,), patch, stride)

    # ------------------------------------------------------------------ sessions

    def _tensor(self, name: str) -> str:
        """The tensor that a name stands for.

        Raises:
            UnknownName: no such layer.
        """
        if name in (SCORES, self._scores):
            return self._scores
        return self.outline.layer(name).name

    def _plain(self, outputs: tuple[str, ...], start: str | None = None, beside: bool = False) -> Session:
        """The session that returns these tensors, from the input or from ``start`` on, with the items ``beside`` it."""

        def make() -> Session:
            part = cut(self._loaded, self._model, outputs, start)
            if start is not None and not beside and self._input.name in {entry.name for entry in part.graph.input}:
                raise UsageError(
                    f"The scores depend on the input also past tensor {start!r}, so they cannot be computed from it "
                    "alone. Name a layer that everything passes through."
                )
            return self._open(part)

        return cast(Session, self._shelf.get((outputs, start, beside, self._level), make))

    def _tried(self) -> Session:
        """The session of the scores; of a large model only a trial, for who asks sweeps alone need not hold it."""
        if self._loaded.size >= LARGE and self._providers[0][0] == CPU:
            part = cut(self._loaded, self._model, (self._scores,))
            with suppress(ModelError):  # the other way of opening decides
                return self._open(part, lean=True)
        return self._plain((self._scores,))

    def _open(self, model: Any, lean: bool = False, lent: bool = False, level: str = "") -> Session:
        session, told = opened(lambda level: self._open_at(level, model, lean, lent), level or self._level)
        self._tell(told)
        return session

    def _tell(self, told: str) -> None:
        if told and told not in self.outline.quirks:
            self.outline = warned(self.outline, told)

    def _open_at(self, level: str, model: Any, lean: bool = False, lent: bool = False) -> Session:
        how = {"wanted": self._providers, "threads": self._threads, "seconds": self._seconds, "level": level}
        return open_session(model, self._model, self._loaded, how, lean, lent)

    def _settle_level(self) -> None:
        """Compare the runtime's optimiser with the graph as it is, on one row."""

        def scores(level: str, x: Array) -> Array:
            part, lean = cut(self._loaded, self._model, (self._scores,)), level == LEVELS[-1]
            if lean:  # soon closed: without a rearranged copy of the weights
                return self._asked(self._open_at(level, part, lean), x)
            return self._asked(
                self._shelf.get(((self._scores,), None, False, level), lambda: self._open_at(level, part)), x
            )

        on_cpu = self._providers[0][0] == CPU
        self._level, told = settle_level(self._loaded, self._input, self.outline.rows or 1, on_cpu, scores)
        self.outline = warned(self.outline, told) if told else self.outline
        self._shelf.make_room()

    def _asked(self, session: Session, x: Array) -> Array:
        whole = Score(x, Untouched(), Target(()))
        return np.concatenate([values[self._scores] for _, values in self._each(session, whole)])

    # ------------------------------------------------------------------ the batch axis

    def _settle_batch(self) -> Outline:
        """The outline that says whether rows can be asked in any number; the model may be exchanged for that."""
        outline, edited = settle_batch(self.outline, self._loaded, self._input, self._tried_on)
        if edited is not None:
            self._model = edited
            self._layers = {layer.name: layer for layer in outline.layers}
        if self._fixed and outline.rows is None:
            others = {spec: self._fixed[spec.name] for spec in outline.inputs if spec.name in self._fixed}
            trial = partial(self._tried_on, outline, self._model)
            self._shared = goes_alone(outline, self._input, others, trial)
        return outline

    def _tried_on(self, outline: Outline, model: Any, x: Array) -> Array:
        """The scores of a model on some items, asked as an outline says."""
        self.outline = outline
        part = cut(self._loaded, model, (self._scores,))
        return self._asked(self._open(part), x)
