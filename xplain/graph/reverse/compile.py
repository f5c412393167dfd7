"""Compile an explanation into the model: the very generator that explains is driven once with graph values.

    flow: yields Sweep(x, ...)  -->  the sweep is added to the graph  -->  receives graph values
    flow: returns Reading       -->  its values become the output "attribution"

Nothing is written twice: a method's arithmetic runs on graph values because they implement the array namespace. What
comes out is one standard ONNX file with the original outputs, the output ``attribution``, and, for a class, an input
``target`` (int64, one class for all items or one per item; negative: the predicted class). That input has a default,
an initializer of its name, so it may be left out. Runtimes whose bindings do not list inputs with a default
(onnxruntime-web) then always take the default; ``choose="required"`` makes it an ordinary input that they can feed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from xplain.core.blank import zero_answer
from xplain.core.edits import Array, Full
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Flow, Peek, Query, Score, Sweep, TargetInput, View
from xplain.core.rules import Rules
from xplain.core.target import SCORES, Target
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.units import spelled
from xplain.graph.build.tracer import Value
from xplain.graph.intake.compiled import ATTRIBUTION, TARGET
from xplain.graph.intake.store import store
from xplain.graph.ops.call import Forward
from xplain.graph.passes import Analysed, prepare
from xplain.graph.reverse.seeds import Seed, numbers_of, plant, seeds_of
from xplain.graph.reverse.sweep import INPUT, Sweeper

__all__ = ["asked_by", "compile_flow", "layers_of"]

_ONE = np.zeros(1, np.int64)
"""One row, of the first item."""


def compile_flow(
    analysed: Analysed,
    view: View,
    flow: Callable[[View], Flow],
    scores: str,
    about: Mapping[str, Any],
    choose: TargetInput = "optional",
    *,
    names: Mapping[str, str] | None = None,
    out: Path | None = None,
) -> ModelProto:
    """The model with the explanation that ``flow`` computes as one more output.

    What the flow says of each item under a name that begins with ``attribution.`` becomes an output besides.

    Args:
        analysed: The model; it is not changed. The result holds the weights that are outside it, or has them in a file
            of its own.
        view: Example items, outline and target. A target of one label becomes the input ``target``, with that label as
            its default (-1: the predicted class); any other target is built in.
        flow: Starts the method's generator on a view.
        scores: Tensor whose scores labels read.
        about: What is written into the metadata, name to value.
        choose: Whether the input ``target`` may be left out, must be fed, or is not there.
        names: What the outline's layers are called in the model, where that differs.
        out: The file to write; a result of more than 2 GiB needs one. That it is none of the model's own, the caller
            has seen to.

    Raises:
        UsageError: the method asks what a graph cannot answer.
        UnsupportedOperator: operators on the way have no rule.
        ModelError: the result is larger than one protobuf can hold, and no file is given.
        OutputError: the file cannot be written.
    """
    taken = {TARGET, ATTRIBUTION} & {v.name for v in (*analysed.model.graph.input, *analysed.model.graph.output)}
    if taken:
        raise UsageError(
            f"{view.outline.source} has an input or output {min(taken)!r} already, as compiled files have. Compile the "
            "original model."
        )
    names = names or {}
    asked = asked_by(flow, view)
    rules = _union([query.rules for query in asked if isinstance(query, Sweep)])
    wanted = {names.get(tap, tap) for tap in layers_of(asked, view.target)} | {scores}
    prepared = prepare(analysed, rules, wanted)
    sweeper = Sweeper(prepared)
    answerer = _Answerer(sweeper, view.target.renamed(names), scores, choose, names)
    reading = _drive(flow(replace(view, x=answerer.x, traced=True)), answerer.answer)
    values = reading.values
    if not isinstance(values, Value):
        raise UsageError("The method's result does not depend on the input, so there is nothing to compile.")
    inputs = [TARGET] if answerer.selectable else []
    beside = {name: one for name, one in reading.each.items() if name.startswith(f"{ATTRIBUTION}.")}
    found = {ATTRIBUTION: values} | beside
    outputs = {name: sweeper.tracer.cast(one, TensorProto.FLOAT) for name, one in found.items()}
    compiled = sweeper.finish(outputs, inputs, keep_outputs=True)
    if answerer.selectable and choose == "optional":
        # an initializer of the input's name makes the input optional
        compiled.graph.initializer.append(helper.make_tensor(TARGET, TensorProto.INT64, [1], [answerer.default]))
    # of what a result says besides its values, that which does not depend on the item can stand in the file
    told = {key: note for key, note in reading.notes.items() if key == "layer" and isinstance(note, str)}
    if warned := [str(one) for one in reading.warnings if one.item is None]:
        told["warning"] = " ".join(warned)
    about = {**about, **told} | ({"unit": spelled(reading.unit, about.get("score", "score"))} if reading.unit else {})
    said = {f"xplain.{key}": v if isinstance(v, str) else json.dumps(v, default=_in_words) for key, v in about.items()}
    kept = {entry.key: entry.value for entry in compiled.metadata_props}
    helper.set_model_props(compiled, kept | said)
    return store(compiled, analysed.outside, out, f"{view.outline.source} with its explanation")


@dataclass(eq=False)
class _Answerer:
    """Answers questions with values of the graph that is being built."""

    sweeper: Sweeper
    target: Target
    scores: str
    choose: TargetInput
    names: Mapping[str, str]

    def __post_init__(self) -> None:
        self.x = self.sweeper.tracer.value(self.sweeper.input)
        single = self.target.selectable
        if single is not None and single.per_item:
            raise UsageError("A class per item cannot be compiled; give one, or None for the predicted class.")
        self.default = single.index[0][0] if single is not None else -1
        self.selectable = single is not None and self.choose != "none"
        predicted = single is not None and self.default < 0
        self.label = self._chosen_label() if self.selectable or predicted else None

    def _chosen_label(self) -> Value:
        """int64 ``[N]``: what the input ``target`` says, or the predicted class where it is negative or absent."""
        t = self.sweeper.tracer
        scores = t.value(self.scores)
        rows = t.Concat(t.extent(scores, 0), t.ints(-1), axis=0)
        best = t.ArgMax(t.Reshape(scores, rows), axis=1, keepdims=0)
        if not self.selectable:
            return best
        given = t.input(TARGET, TensorProto.INT64, ("targets",))
        return t.where(given < t.const(0, TensorProto.INT64), best, given)

    def answer(self, query: Query) -> Answer:
        if isinstance(query, Sweep):
            return self._sweep(query)
        if isinstance(query, Peek) and query.fold is None:
            own = query.x is self.x
            forward = None if own else self.sweeper.evaluate({self.sweeper.input: self._as_items(query.x)})
            values = {tap: self.sweeper.value(self._resolve(tap), forward) for tap in query.taps}
            return {tap: value if tap == INPUT else self._real(value) for tap, value in values.items()}
        if isinstance(query, Score) and isinstance(query.target, Target) and _answerable(query):
            return self._masked(query, query.target)
        raise _cannot(query)

    def _masked(self, query: Score, target: Target) -> Value:
        """The target under masks of a layer, ``[N, M]``: the tail once more, on a row for each item and mask."""
        sweeper, t, edits = self.sweeper, self.sweeper.tracer, query.edits
        assert isinstance(edits, Full)
        assert query.layout is not None
        layout, count = query.layout, edits.count
        kept = edits.masks.reshape(1, count, *layout.map_shape)
        if layout.channel_axis is not None:
            kept = np.expand_dims(kept, 1 + layout.channel_axis)
        given: Any = query.x  # a value of the graph, as what a peek answered is
        real = self._real(given)
        fill = t.const(np.expand_dims(edits.fill, 1), real.dtype)
        flat = t.reshape(fill + t.const(kept, real.dtype) * (t.unsqueeze(real, [1]) - fill), [-1, *layout.item])
        seeds, given = self._aimed(target, flat, count)
        forward = self._evaluated(query.at, flat, count)
        start = plant(t, seeds, lambda name: sweeper.value(name, forward), given)
        # whatever a leaf reads it reads linearly, so that its value is the product with its own cotangent
        read = [sweeper.value(name, forward) * one for name, one in start.items()]
        total = t.total([t.sum(one, list(range(1, one.rank)), keepdims=False) for one in read])
        return t.cast(t.reshape(total, [-1, count]), TensorProto.FLOAT)

    def _as_items(self, x: Any) -> Value:
        """Values of a graph as they are; numbers repeated for every item."""
        t = self.sweeper.tracer
        return x if isinstance(x, Value) else t.expand_like(t.const(np.asarray(x), self.x.dtype), self.x)

    def _real(self, value: Value) -> Value:
        """A layer's values as float32: half precision is no good to compute with, and a map's arithmetic is float32."""
        half = value.dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        return self.sweeper.tracer.cast(value, TensorProto.FLOAT) if half else value

    def _resolve(self, tap: str) -> str:
        """The tensor that a tap names."""
        return self.sweeper.resolve(self.names.get(tap, tap))

    def _sweep(self, query: Sweep) -> Answer:
        sweeper, t = self.sweeper, self.sweeper.tracer
        points = _extent(query.x, 1)
        item = [_extent(query.x, k) for k in range(2, len(query.x.shape))]
        plain = query.at == INPUT and points == 1 and self._is_input(query.x)
        flat = self.x if plain else t.reshape(query.x, [-1, *item])
        seeds, given = self._aimed(query.target, flat, points)
        forward = None if plain else self._evaluated(query.at, flat, points)
        start = plant(t, seeds, lambda name: sweeper.value(name, forward), given)
        reference = None
        if query.rules.reference and query.at != INPUT:
            raise UsageError(f"Rules {query.rules.name!r} compare with a baseline, which cannot start at a layer.")
        if query.rules.reference:
            base = query.baseline if isinstance(query.baseline, Value) else t.const(query.baseline, flat.dtype)
            reference = sweeper.evaluate({sweeper.input: t.expand_like(base, flat)})
        names = {tap: self._resolve(tap) for tap in query.taps}
        found = sweeper.sweep(start, list(names.values()), query.rules, forward, reference)
        answer = {}
        for tap, name in names.items():
            value = sweeper.value(name, forward)
            cotangent = found[name]
            if not plain:
                value, cotangent = self._folded(value, points)[1], self._weighted(cotangent, points, query.shares)
            answer[tap] = (value, cotangent) if tap == INPUT else (self._real(value), self._real(cotangent))
        return answer

    def _aimed(self, target: Target, flat: Value, points: int) -> tuple[tuple[Seed, ...], dict[str, Value]]:
        """Where a sweep of rows ``[N * points, ...]`` starts, and what stands for the inputs of its seeds."""
        t, label = self.sweeper.tracer, self.label
        if label is not None and points > 1:
            # every point of an item has the item's class: [N] to [N, S] to [N * S]
            wide = t.emit("Expand", t.unsqueeze(label, [1]), t.ints(1, points))
            label = t.reshape(wide, [-1])
        target = target.renamed(self.names)
        seeds = seeds_of(target, self.scores)
        given = {seeds[0].input: label} if label is not None else self._constants(target, flat)
        self.sweeper.attach(seeds, given)
        return seeds, given

    def _evaluated(self, layer: str, flat: Value, points: int) -> Forward:
        """The model on other items, or on other values of a layer beside its own items, repeated for every point."""
        sweeper, t = self.sweeper, self.sweeper.tracer
        if layer == INPUT:
            return sweeper.evaluate({sweeper.input: flat})
        at, items = self._resolve(layer), self.x
        if points > 1:
            rank = items.rank
            wide = t.emit("Tile", t.unsqueeze(items, [1]), t.ints(1, points, *[1] * (rank - 1)))
            items = t.reshape(wide, [-1, *[_extent(items, k) for k in range(1, rank)]])
        return sweeper.evaluate({sweeper.input: items, at: sweeper.integers(at, flat)})

    def _is_input(self, x: Value) -> bool:
        """Whether ``x`` is the input with an axis of one point put in."""
        node = next((node for node in reversed(self.sweeper.tracer.emitted) if x.name in node.output), None)
        return node is not None and node.op_type in ("Unsqueeze", "Reshape") and node.input[0] == self.x.name

    def _folded(self, flat: Value, points: int) -> tuple[Value, Value]:
        """``[N * S, ...]`` as ``[N, S, ...]``, and its last point ``[N, ...]``."""
        t = self.sweeper.tracer
        wide = t.reshape(flat, [-1, points, *[_extent(flat, k) for k in range(1, flat.rank)]])
        last = t.squeeze(t.slice(wide, [points - 1], [points], [1]), [1])
        return wide, last

    def _weighted(self, flat: Value, points: int, shares: Array) -> Value:
        wide, _ = self._folded(flat, points)
        if len(shares) != 1:
            raise UsageError("Weights that differ from item to item cannot be compiled; give one weight per point.")
        t = self.sweeper.tracer
        factor = t.const(shares.reshape(1, points, *[1] * (wide.rank - 2)), wide.dtype)
        return t.sum(wide * factor, [1], keepdims=False)

    def _constants(self, target: Target, flat: Value) -> dict[str, Value]:
        """A target that is built in: its numbers, repeated for every row."""
        t = self.sweeper.tracer
        rows, found, every = t.extent(flat, 0), {}, numbers_of(target, _ONE)
        for _, term in target.terms:
            if term.items is not None and isinstance(term, Leaf) and term.way.given:
                raise UsageError("A cotangent per item cannot be compiled; give one for all items.")
            if term.items is not None:
                raise UsageError("A class per item cannot be compiled; give one, or None for the predicted class.")
        for seed in seeds_of(target, self.scores):
            if seed.formula is not None:  # a single row of them goes with every item
                for name in seed.inputs:
                    whole = every[name].dtype.kind in "iu"
                    found[name] = t.const(every[name], None if whole else TensorProto.FLOAT)
                continue
            numbers = every[seed.input]
            if seed.way.given:
                found[seed.input] = t.const(numbers, self.sweeper.value(seed.tensor).dtype)
                continue
            dims = t.Concat(rows, t.ints(*numbers.shape[1:]), axis=0) if numbers.ndim > 1 else rows
            found[seed.input] = t.emit("Expand", t.const(numbers), dims)
        return found


def _in_words(value: Any) -> str:
    """An option's value that JSON does not know, such as a baseline's array."""
    return f"array {value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else str(value)


def _answerable(query: Score) -> bool:
    """Whether a graph can answer a question about scores: masks of a layer, the same for all items."""
    shared = isinstance(query.edits, Full) and not query.edits.per_item
    return shared and query.at != INPUT and query.layout is not None


def _cannot(query: Query) -> UsageError:
    return UsageError(
        f"A {type(query).__name__} question about edited items cannot be compiled into a graph. Compile a gradient, "
        "relevance or class activation method: saliency, guided-backprop, integrated-gradients, lrp, grad-cam."
    )


def _extent(value: Value, axis: int) -> int:
    shape = value.shape
    extent = shape[axis] if shape is not None else None
    if not isinstance(extent, int):
        raise UsageError(
            f"Axis {axis} of tensor {value.name!r} has no fixed extent, which this method needs to be compiled. "
            "Fix the model's input size first."
        )
    return extent


def asked_by(flow: Callable[[View], Flow], view: View) -> list[Query]:
    """The questions that a flow asks, found by answering zero to each.

    Raises:
        UsageError: it asks what a graph cannot answer.
        UnknownName: it asks about a layer that is not there.
    """
    asked: list[Query] = []

    def zero(query: Query) -> Answer:
        asked.append(query)
        if isinstance(query, Score) and _answerable(query):
            return np.zeros((len(query.x), query.edits.count))
        if not isinstance(query, (Sweep, Peek)):
            raise _cannot(query)
        return zero_answer(query, view.outline)

    _drive(flow(replace(view, traced=True)), zero)
    return asked


def layers_of(asked: Sequence[Query], target: Target) -> set[str]:
    """The layers that questions and their target read, as the outline calls them."""
    taps = {tap for query in asked if isinstance(query, (Sweep, Peek)) for tap in query.taps}
    taps |= {query.at for query in asked if isinstance(query, (Sweep, Score))}
    return (taps | set(target.tensors)) - {INPUT, SCORES}


def _drive(flow: Flow, answer: Callable[[Query], Answer]) -> Any:
    reply = None
    try:
        while True:
            reply = answer(flow.send(reply))
    except StopIteration as stop:
        return stop.value


def _union(tables: list[Rules]) -> Rules:
    """What preparing the model must do so that every table can be used."""
    return Rules(
        "all",
        tuple(entry for table in tables for entry in table.entries),
        reference=any(table.reference for table in tables),
        fold_norms=any(table.fold_norms for table in tables),
        unrolled=any(table.unrolled for table in tables),
        opened=any(table.opened for table in tables),
    )
