"""Slices, gathers and scatters. With constant indices the transpose is a Pad, a Gather by inverse index or a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.resampling import along
from xplain.graph.stated import cuts_of


def unpick(t: Tracer, g: Value, axis: int, picked: np.ndarray[Any, Any], extent: int) -> Value:
    """The transpose of ``x[..., picked, ...]`` along an axis of known extent."""
    rank = g.rank
    if len(picked) and (np.diff(picked) == 1).all():
        before, after = [0] * rank, [0] * rank
        before[axis], after[axis] = int(picked[0]), int(extent - 1 - picked[-1])
        return t.pad(g, before, after)
    if len(set(picked.tolist())) == len(picked):
        inverse = np.full(extent, len(picked))
        inverse[picked] = np.arange(len(picked))
        if len(picked) < extent:  # elements that nobody picked read a zero row behind the last one
            g = t.pad(g, [0] * rank, [int(k == axis) for k in range(rank)])
        return t.Gather(g, t.ints(*inverse), axis=axis)
    return along(t, g, axis, np.eye(extent)[picked])


def _scatter(call: NodeCall, indices: Value, g: Value, axis: int) -> Value:
    """Add ``g`` at ``indices`` (of its own shape) along an axis into zeros shaped like the input."""
    if call.t.opset < 16:
        raise call.refuse("adding at run-time indices needs opset 16")
    zeros = call.t.zeros_like(call.need(0), g.dtype)
    return call.t.scatter_add("ScatterElements", zeros, indices, g, axis=axis)


facts("Slice Gather GatherElements", axes="same")
facts("Slice Gather GatherElements GatherND Compress", steps=(0, 1))
facts("ScatterElements Scatter ScatterND", axes="same")
facts("Slice Gather", linear="first")


@backward("Slice", kind="move", flow=(0,))
def slice_(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` put back at its place, zero elsewhere."""
    t, x = call.t, call.need(0)
    cuts = cuts_of(call.node, x.shape or (None,) * x.rank, t.constants.get)
    if cuts is None:
        return [_slice_at_run_time(call, g)]
    for axis, taken in cuts.items():
        g = unpick(t, g, axis, np.array(taken, np.int64), int((x.shape or ())[axis] or 0))
    return [g]


def _slice_at_run_time(call: NodeCall, g: Value) -> Value:
    """Slice the numbers 0, 1, 2 ... of each axis in the same way; they tell where every row of dy came from."""
    t, x = call.t, call.need(0)
    if not call.has(1):
        raise call.refuse("a slice of a free axis needs opset 10")
    axes = call.static(3)
    if call.has(3) and axes is None:
        raise call.refuse("the axes are known only at run time")
    count = (call.need(1).shape or (None,))[0]
    if axes is None and not isinstance(count, int):
        raise call.refuse("the number of axes is known only at run time")
    cut = [int(a) % x.rank for a in (axes if axes is not None else range(int(count or 0)))]
    for k, axis in enumerate(cut):
        one = [t.Gather(call.need(i), t.ints(k), axis=0) for i in (1, 2)]
        step = [t.Gather(call.need(4), t.ints(k), axis=0)] if call.has(4) else []
        extent = t.extent(x, axis)
        numbers = t.Range(t.const(np.int64(0)), t.squeeze(extent, [0]), t.const(np.int64(1)))
        picked = t.Slice(numbers, *one, t.ints(0), *step)
        shape = t.Concat(*(extent if a == axis else t.extent(g, a) for a in range(x.rank)), axis=0)
        rows = t.emit("Reshape", picked, t.ints(*(-1 if a == axis else 1 for a in range(x.rank))))
        zeros = t.filled(shape, 0.0, g.dtype, (None,) * x.rank)
        index = t.emit("Expand", rows, t.Shape(g), shape=g.shape)
        if t.opset < 11:
            raise call.refuse("bounds known only at run time need opset 11")
        g = t.ScatterElements(zeros, index, g, axis=axis)
    t.shapes[g.name] = x.shape or ()
    return g


@backward("Gather", kind="move", flow=(0,))
def gather(call: NodeCall, g: Value) -> list[Value | None]:
    """Each source row gets the sum of the dy of its copies."""
    t, x, indices = call.t, call.need(0), call.need(1)
    axis = call.attribute("axis", 0) % x.rank
    extent = (x.shape or ())[axis]
    constant = indices.data
    if constant is not None and isinstance(extent, int) and extent * constant.size <= 1 << 20:
        picked = np.where(constant < 0, constant + extent, constant)
        if picked.ndim == 0:
            g = t.unsqueeze(g, [axis])
        elif picked.ndim > 1:
            parts = [t.extent(x, a) if a != axis else t.ints(picked.size) for a in range(x.rank)]
            shape = tuple(picked.size if a == axis else d for a, d in enumerate(x.shape or ()))
            g = t.emit("Reshape", g, t.Concat(*parts, axis=0), shape=shape)
        return [unpick(t, g, axis, picked.reshape(-1), extent)]
    if t.opset < 16:
        raise call.refuse("adding at run-time indices needs opset 16")
    # the gathered axis in front, its copies in rows, all added at their index
    n = indices.rank
    front = [*range(axis, axis + n), *range(axis), *range(axis + n, g.rank)]
    rows = t.permute(g, front)
    order = [axis, *range(axis), *range(axis + 1, x.rank)]
    dims = t.Concat(*(t.extent(x, a) for a in order), axis=0)
    zeros = t.filled(dims, 0.0, g.dtype, tuple((x.shape or (None,) * x.rank)[a] for a in order))
    added = t.scatter_add("ScatterND", zeros, t.unsqueeze(indices, [-1]), rows)
    out = t.permute(added, [int(p) for p in np.argsort(order)])
    t.shapes[out.name] = x.shape or ()
    return [out]


@backward("GatherElements", kind="move", flow=(0,))
def gather_elements(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` added at the element that was read."""
    return [_scatter(call, call.need(1), g, call.attribute("axis", 0))]


@backward("GatherND", kind="move", flow=(0,))
def gather_nd(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` added at the element or row that was read."""
    if call.attribute("batch_dims", 0) or call.t.opset < 16:
        raise call.refuse("batch_dims other than 0, or an opset below 16")
    return [call.t.scatter_add("ScatterND", call.t.zeros_like(call.need(0), g.dtype), call.need(1), g)]


@backward("ScatterElements", "Scatter", kind="move", flow=(0, 2))
def scatter_elements(call: NodeCall, g: Value) -> list[Value | None]:
    """Data: dy, zero where it was overwritten. Updates: dy at their place."""
    t, indices, axis = call.t, call.need(1), call.attribute("axis", 0)
    where = {"axis": axis}
    return _scattered(
        call,
        g,
        lambda v: t.GatherElements(v, indices, **where),
        lambda v, into, **how: t.ScatterElements(into, indices, v, **where, **how),
    )


@backward("ScatterND", kind="move", flow=(0, 2))
def scatter_nd(call: NodeCall, g: Value) -> list[Value | None]:
    """Data: dy, zero where it was overwritten. Updates: dy at their place."""
    t, indices = call.t, call.need(1)
    return _scattered(
        call,
        g,
        lambda v: t.GatherND(v, indices),
        lambda v, into, **how: t.ScatterND(into, indices, v, **how),
    )


def _scattered(
    call: NodeCall, g: Value, read: Callable[[Value], Value], write: Callable[..., Value]
) -> list[Value | None]:
    """The rule of both scatters.

    none      the last update counts; add: both count in full
    mul       y / factor, as for any product; the factors must not be zero
    max, min  whoever equals the result, shared where several do
    """
    t, data, updates = call.t, call.need(0), call.need(2)
    reduction = call.attribute("reduction", "none")
    ours, theirs = call.active[0], len(call.active) > 2 and call.active[2]
    if reduction in ("none", "add"):
        kept = g if reduction == "add" or not ours else write(t.zeros_like(updates, g.dtype), g)
        return [kept if ours else None, None, read(g) if theirs else None]
    if reduction == "mul":
        along = g * call.y
        return [along / data if ours else None, None, read(along) / updates if theirs else None]
    won, equal = (t.step(a.equal(b), g.dtype) for a, b in ((data, call.y), (updates, read(call.y))))
    share = g / t.Max(write(equal, won, reduction="add"), t.const(1.0, g.dtype))
    return [share * won if ours else None, None, read(share) * equal if theirs else None]


@backward("Compress", kind="move", flow=(0,))
def compress(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` put back where the condition held."""
    t, x = call.t, call.need(0)
    if "axis" not in call.attributes:
        raise call.refuse("without an axis")
    axis = call.attribute("axis") % x.rank
    rows = t.reshape(t.NonZero(call.need(1)), [-1])
    shaped = t.reshape(rows, [-1 if a == axis else 1 for a in range(x.rank)])
    index = t.emit("Expand", shaped, t.Shape(g), shape=g.shape)
    return [t.ScatterElements(t.zeros_like(x, g.dtype), index, g, axis=axis)]
