"""GridSample: a tensor read at real positions.

    y[n, c, p] = sum over taps o of  w(o, frac) * x[n, c, place(floor(p) + o)]

The taps are the nearest element, the corners of a cell, or the 4 x 4 elements around it; ``place`` says what lies
outside: nothing, the nearest element of the border, or the mirror image. So dx adds w * dy at each place, and the grid
gets the derivative of the weights, which spatial transformers need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from onnx import TensorProto

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.operators import backward
from xplain.graph.ops.call import NodeCall

_CUBIC = -0.75
"""Keys' parameter, as in the operator's definition."""


@dataclass(frozen=True)
class _Tap:
    """One element along one axis, for every point ``[N, P]``: its place, whether it is inside, weight and slope."""

    place: Value
    inside: Value | None
    weight: Value | None
    slope: Value | None


@backward("GridSample", kind="move")
def grid_sample(call: NodeCall, g: Value) -> list[Value | None]:
    """Cotangents of x ``[N, C, *S]`` and of the grid ``[N, *T, len(S)]``."""
    t, x, grid = call.t, call.need(0), call.need(1)
    mode = str(call.attribute("mode", "linear")).removeprefix("bi")
    count = x.rank - 2
    if mode not in ("nearest", "linear", "cubic") or (mode == "cubic" and count != 2):
        raise call.refuse(f"mode {mode!r} of {count} spatial axes has no rule")
    dims = [t.cast(t.squeeze(t.extent(x, 2 + k), [0]), g.dtype) for k in range(count)]
    points = t.Reshape(t.cast(grid, g.dtype), t.ints(0, -1, count))
    axes, scales = [], []
    for k, extent in enumerate(dims):  # the grid names the last axis first
        along = (t.Gather(points, t.ints(count - 1 - k), axis=2) + 1.0) * 0.5
        along = t.squeeze(along, [2])
        aligned = bool(call.attribute("align_corners", 0))
        scales.append(extent - 1.0 if aligned else extent)
        at = along * scales[-1] if aligned else along * scales[-1] - 0.5
        axes.append(_taps(t, at, extent, mode, str(call.attribute("padding_mode", "zeros")), aligned))
    planes = t.Reshape(g, t.ints(0, 0, -1))  # [N, C, P]
    dx = _into(call, planes, dims, axes) if call.active[0] else None
    dgrid = None
    if len(call.active) > 1 and call.active[1]:
        dgrid = t.zeros_like(grid) if mode == "nearest" else _slopes(call, planes, dims, axes, scales)
    return [dx, dgrid]


def _taps(t: Tracer, at: Value, extent: Value, mode: str, outside: str, aligned: bool) -> list[_Tap]:
    """The taps along one axis for real positions ``at`` ``[N, P]``."""
    if mode == "nearest":
        return [_tap(t, t.Round(at), extent, outside, aligned, None, None)]
    low = t.Floor(at)
    f = at - low
    if mode == "linear":
        one = f * 0.0 + 1.0
        forms = [(0, 1.0 - f, -one), (1, f, one)]
    else:
        forms = [(o, *_keys(f, o)) for o in (-1, 0, 1, 2)]
    return [_tap(t, low + float(o), extent, outside, aligned, w, s) for o, w, s in forms]


def _keys(f: Value, offset: int) -> tuple[Value, Value]:
    """Weight and slope of the cubic kernel for the element ``offset`` from the cell's first; Keys 1981, equation 15."""
    a, sign = _CUBIC, 1.0 if offset <= 0 else -1.0
    d = f - float(offset) if offset <= 0 else float(offset) - f  # distance, at least 0
    if offset in (0, 1):
        return (d * (a + 2.0) - (a + 3.0)) * d * d + 1.0, (d * (3.0 * (a + 2.0)) - 2.0 * (a + 3.0)) * d * sign
    return ((d - 5.0) * d + 8.0) * d * a - 4.0 * a, ((d * 3.0 - 10.0) * d + 8.0) * (a * sign)


def _tap(
    t: Tracer, at: Value, extent: Value, outside: str, aligned: bool, weight: Value | None, slope: Value | None
) -> _Tap:
    """A tap whose place lies inside: what ``outside`` makes of it, or nothing."""
    last = extent - 1.0
    if outside == "zeros":
        inside = t.And(at >= 0.0, at <= last)
        return _Tap(t.where(inside, at, 0.0), t.step(inside, at.dtype), weight, slope)
    if outside == "reflection":  # a triangular wave between the outermost elements, or their outer edges
        start, span = (0.0, t.Max(last, t.const(1.0, at.dtype))) if aligned else (-0.5, extent)
        wave = (at - start) / (span * 2.0)
        phase = (wave - t.Floor(wave)) * (span * 2.0)
        at = t.Round(span - t.Abs(phase - span) + start)
    return _Tap(t.Min(t.Max(at, t.const(0.0, at.dtype)), last), None, weight, slope)


def _combined(
    t: Tracer, dims: list[Value], axes: list[list[_Tap]]
) -> Iterator[tuple[Value, Value | None, tuple[_Tap, ...]]]:
    """Every tap of all axes together: flat place ``[N, 1, P]`` int64, whether inside ``[N, 1, P]``, the parts."""
    for taps in product(*axes):
        flat = taps[0].place
        for extent, tap in zip(dims[1:], taps[1:], strict=True):
            flat = flat * extent + tap.place
        yield t.unsqueeze(t.Cast(flat, to=TensorProto.INT64), [1]), _times(t, [tap.inside for tap in taps]), taps


def _times(t: Tracer, factors: Sequence[Value | None]) -> Value | None:
    """The product of what is there, ``[N, 1, P]``."""
    there = [v for v in factors if v is not None]
    return t.unsqueeze(prod(there[1:], start=there[0]), [1]) if there else None


def _into(call: NodeCall, planes: Value, dims: list[Value], axes: list[list[_Tap]]) -> Value:
    """``w dy`` added at each tap's place."""
    t, x = call.t, call.need(0)
    total = t.zeros_like(t.Reshape(x, t.ints(0, 0, -1)), planes.dtype)
    for flat, inside, taps in _combined(t, dims, axes):
        weight = _times(t, [tap.weight for tap in taps])
        share = planes
        for factor in (inside, weight):
            share = share if factor is None else share * factor
        total = t.scatter_add("ScatterElements", total, t.Expand(flat, t.Shape(share)), share, axis=2)
    return t.reshape_like(total, x)


def _slopes(call: NodeCall, planes: Value, dims: list[Value], axes: list[list[_Tap]], scales: list[Value]) -> Value:
    """``dy`` times what is read, times the slope of the weights along each axis."""
    t, source = call.t, call.t.Reshape(call.need(0), call.t.ints(0, 0, -1))
    along: list[list[Value]] = [[] for _ in axes]
    for flat, inside, taps in _combined(t, dims, axes):
        read = planes * t.GatherElements(source, t.Expand(flat, t.Shape(planes)), axis=2)
        felt = t.sum(read if inside is None else read * inside, [1])  # [N, 1, P]
        for k in range(len(axes)):
            factors = [tap.slope if j == k else tap.weight for j, tap in enumerate(taps)]
            weight = _times(t, factors)
            along[k].append(felt if weight is None else felt * weight)
    parts = [t.total(found) * scale * 0.5 for found, scale in zip(along, scales, strict=True)]
    stacked = t.Concat(*(t.Reshape(v, t.ints(0, -1, 1)) for v in reversed(parts)), axis=2)
    return t.cast(t.reshape_like(stacked, call.need(1)), call.need(1).dtype)
