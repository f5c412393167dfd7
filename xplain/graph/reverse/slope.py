"""A synthesis' question as one graph: canvas, views, the model, the objective, and its gradient by the state.

    built = slope(analysed, query, Place(input, rows=None, scores="logits"), canvases=2)
    session = onnxruntime.InferenceSession(built.model.SerializeToString())
    found = session.run(None, query.given)            # value, gradient, term/..., tap/...

Canvas and objective are functions of arrays (``xplain.core.synthesis.canvas``, ``xplain.core.synthesis.objective``):
here they are called with values of the graph under construction, once before the model and once behind it, and the walk
that explains a model differentiates all of it. Extents are those of the painted pictures, whatever the file says of its
input, as far as the file has not fixed them inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from xplain.core.errors import ModelError, NoPath, UsageError
from xplain.core.keeping.plain import counted
from xplain.core.rules import Rules
from xplain.core.synthesis.slope import PICTURE, Slope
from xplain.core.targets.leaves import SCORES
from xplain.graph.build.tracer import Value, known
from xplain.graph.dtypes import FLOATS
from xplain.graph.naming import reads
from xplain.graph.nodes import attribute
from xplain.graph.ops.call import Forward, live_of
from xplain.graph.passes import Analysed, prepare
from xplain.graph.reverse.sweep import Sweeper
from xplain.graph.reverse.walk import where_cut

__all__ = ["BuiltSlope", "Place", "slope"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is entered and read.

    Args:
        scores: The tensor that classes are read from.
        rows: How many rows it takes at once and no other number; None for any.
        source: The model for messages.
    """

    scores: str
    rows: int | None = None
    source: str = "the model"


@dataclass(frozen=True)
class BuiltSlope:
    """An emitted graph.

    Args:
        model: Its inputs are the arrays of ``Slope.given``, and those of the model that are not painted.
        terms: The outputs that hold the terms, in their order.
        taps: Tap to the output that holds it.
        notes: Sentences that a person should read.
    """

    model: ModelProto
    terms: tuple[str, ...]
    taps: Mapping[str, str]
    notes: tuple[str, ...] = ()


def slope(model: Analysed, query: Slope, place: Place, canvases: int) -> BuiltSlope:
    """The graph that answers a question of this form for so many canvases at once.

    Raises:
        UnknownName: a tensor that the model does not have.
        UsageError: what a term reads does not fit, or the model takes whole numbers that it computes with.
        NoPath: no derivative leads from the picture to the objective.
        ModelError: the model does not run at this size.
    """
    names = {tensor: place.scores if tensor == SCORES else tensor for tensor in query.objective.tensors}
    names |= {tap: tap for tap in query.taps if tap != PICTURE}
    sweeper = Sweeper(prepare(model, Rules(), set(names.values())))
    names = {asked: sweeper.resolve(name) for asked, name in names.items()}
    t = sweeper.tracer
    real = _real(sweeper)
    given = {}
    for name, array in query.given.items():
        kind = TensorProto.INT64 if array.dtype.kind in "iu" else real
        given[name] = t.input(f"slope/{name}", kind, (canvases, *array.shape[1:]))
    picture = query.painted(given)
    rows = canvases * query.rows
    evaluated = _evaluated(sweeper, query.ink.apply(picture), rows, place)
    values = {}
    for asked, name in names.items():
        parts = [sweeper.value(name, one) for one in evaluated.parts]
        found = parts[0] if len(parts) == 1 else t.Concat(*parts, axis=0)
        values[asked] = _rows(sweeper, found, rows, asked, place, real)
    total, terms = query.read(picture, values, given)
    outputs = {"value": total}
    if query.gradient:
        read = {values[one].name for one in query.objective.tensors}
        outputs["gradient"] = _gradient(sweeper, total, given["state"], evaluated, place, read)
    told = {f"term/{k}": part for k, part in enumerate(terms)}
    taps = {tap: f"tap/{tap}" for tap in query.taps}
    outputs |= told | {taps[tap]: picture if tap == PICTURE else values[tap] for tap in query.taps}
    emitted = sweeper.finish(outputs, [value.name for value in given.values()])
    _without_its_own_input(emitted)
    return BuiltSlope(emitted, tuple(told), taps, sweeper.prepared.notes)


def _real(sweeper: Sweeper) -> int:
    """The type that canvas and objective are computed in: double for a model in double, else float32."""
    double: int = TensorProto.DOUBLE
    return double if sweeper.tracer.dtypes.get(sweeper.input) == double else TensorProto.FLOAT


def _evaluated(sweeper: Sweeper, x: Value, rows: int, place: Place) -> Forward:
    """The model on the pictures, in as many parts as a fixed batch asks for; ``nodes`` are those it does not change."""
    t, own = sweeper.tracer, {id(node) for node in sweeper.tracer.forward}
    step = place.rows or rows
    if rows % step:
        raise UsageError(f"{place.source} takes {step} rows at once; {rows} do not go into whole calls.")
    pieces = [x] if step == rows else list(t.split(x, [step] * (rows // step), 0))
    parts = tuple(sweeper.evaluate(_entered(sweeper, piece, place)) for piece in pieces)
    return Forward([node for node in parts[0].nodes if id(node) in own], parts[0].names, parts)


def _entered(sweeper: Sweeper, x: Value, place: Place) -> dict[str, Value]:
    """The tensors that take a picture's place: the input, or what whole numbers are made into at once."""
    t, name = sweeper.tracer, sweeper.input
    dtype = t.dtypes.get(name, TensorProto.FLOAT)
    _check_rank(t.shapes.get(name), x, place)
    if dtype in FLOATS:
        return {name: t.cast(x, dtype)}
    found = {}
    for node in t.forward:
        if name not in reads(node):
            continue
        to = attribute(node, "to", 0) if node.op_type == "Cast" else 0
        if to in FLOATS:
            found[node.output[0]] = t.cast(x, to)
        elif node.op_type == "DequantizeLinear" and node.input[0] == name:
            scale, *zero = (t.value(one) for one in node.input[1:])
            moved = x - t.cast(zero[0], x.dtype) if zero else x
            found[node.output[0]] = t.cast(moved * t.cast(scale, x.dtype), scale.dtype)
        else:
            raise UsageError(
                f"{place.source} takes whole numbers and computes with them as such ({node.op_type}), so no picture "
                "can be moved towards what it likes. Use the file from before it was quantised, and this one as judge."
            )
    return found


def _check_rank(expected: Any, x: Value, place: Place) -> None:
    if expected is not None and len(expected) != x.rank:
        raise UsageError(
            f"{place.source} takes {counted(len(expected), 'axis', 'axes')}, no pictures; pictures are made "
            "for such as do."
        )
    for axis in (1, 3):  # wherever the channels are, one of these is theirs
        wanted = expected[axis] if expected is not None else None
        got = x.shape[axis] if x.shape is not None else None
        if wanted in (1, 3) and got in (1, 3) and wanted != got:
            raise UsageError(
                f"{place.source} takes pictures of {counted(wanted, 'channel')}; the card makes {got}. See "
                "the mode of its "
                "preprocessing card."
            )


def _rows(sweeper: Sweeper, value: Value, rows: int, asked: str, place: Place, real: int) -> Value:
    """A tensor with a row per picture: scores flat, others as they are; a lost batch axis is put back."""
    t = sweeper.tracer
    if asked == SCORES and (value.shape is None or len(value.shape) != 2 or value.shape[0] != rows):
        value = t.reshape(value, [rows, -1])
    if value.shape is None or not known(value.shape):
        raise ModelError(
            f"The shape of tensor {asked or place.scores!r} of {place.source} at this size of picture is not known, so "
            "no objective can read it. Read another layer, or export the model with fixed shapes."
        )
    if value.shape[0] != rows:
        raise ModelError(
            f"Tensor {asked or place.scores!r} of {place.source} has {value.shape[0]} rows for {rows} pictures of this "
            "size: the file has its own size fixed behind it. Ask for the size that it states, or for an earlier layer."
        )
    return t.cast(value, real) if value.dtype in FLOATS else t.cast(value, TensorProto.FLOAT)


def _gradient(sweeper: Sweeper, total: Value, state: Value, evaluated: Forward, place: Place, read: set[str]) -> Value:
    """The derivative of the sum over canvases; each canvas' own, as far as no term compares them.

    ``read``: the model's tensors that the objective reads.
    """
    t = sweeper.tracer
    ones = t.const(np.ones(total.shape), total.dtype)
    whole = Forward([*evaluated.nodes, *t.emitted], evaluated.names, evaluated.parts)
    try:
        if read and not live_of(t, whole, {state.name}) & read:  # a prior alone would lead on, and nothing be excited
            raise ModelError(where_cut(t, whole, state.name, read))
        return sweeper.sweep({total.name: ones}, [state.name], Rules(), whole)[state.name]
    except ModelError as error:
        if "There is no path" not in str(error):
            raise
        raise NoPath(
            f"Nothing that a picture's colours change by a derivative is in the objective ({place.source}): {error}"
        ) from None


def _without_its_own_input(model: ModelProto) -> None:
    """Drop inputs that nothing reads: the pictures come from the canvas."""
    used = {name for node in model.graph.node for name in reads(node)} | {v.name for v in model.graph.output}
    kept = [entry for entry in model.graph.input if entry.name in used]
    del model.graph.input[:]
    model.graph.input.extend(kept)
