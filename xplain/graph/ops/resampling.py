"""Resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.resampled import resampling, scales_at

__all__ = ["along"]


def along(t: Tracer, g: Value, axis: int, matrix: np.ndarray[Any, Any]) -> Value:
    """``g`` ``[..., m, ...]`` times a constant matrix ``[m, n]`` along an axis."""
    last = g.rank - 1
    if axis == last:
        return t.MatMul(g, t.const(matrix, g.dtype))
    if axis == last - 1:
        return t.MatMul(t.const(matrix.T, g.dtype), g)
    order = [*(k for k in range(g.rank) if k != axis), axis]
    return t.permute(t.MatMul(t.permute(g, order), t.const(matrix, g.dtype)), [int(p) for p in np.argsort(order)])


facts("Resize Upsample", axes="same", steps=(0, 1), grows=True)


@backward("Resize", "Upsample", kind="move", flow=(0,))
def resize(call: NodeCall, g: Value) -> list[Value | None]:
    """Every resampling is one matrix per axis: run the operator on the identity, multiply by the transpose.

    This covers every mode and coordinate rule, cubic and antialiased ones too. Enlarging by a whole factor with nearest
    neighbours is an average pooling, which is faster.
    """
    t, x, y = call.t, call.need(0), call.y
    sx, sy = x.shape or (), y.shape or ()
    if call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise call.refuse("tf_crop_and_resize has no rule")
    if (sy == () or sx == ()) or any(not isinstance(d, int) for d in (*sx[1:], *sy[1:])):
        return [_free_nearest(call, g)]
    factors = [
        int(m) / int(n) for n, m in zip(sx[2:], sy[2:], strict=True) if isinstance(n, int) and isinstance(m, int)
    ]
    whole = len(sx) == 4 and sx[1] == sy[1] and all(f == int(f) for f in factors)
    if whole and _repeats(call):
        return [_sum_blocks(call, g, [int(f) for f in factors])]
    for axis in range(1, x.rank):
        if sx[axis] != sy[axis]:
            g = along(t, g, axis, _matrix(call, axis, int(sx[axis] or 0), int(sy[axis] or 0)))
    return [g]


def _repeats(call: NodeCall) -> bool:
    """Whether an enlargement by a whole factor repeats every element."""
    if call.op == "Upsample":
        return bool(call.attribute("mode", "nearest") == "nearest")
    rule = call.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = call.attribute("nearest_mode", "round_prefer_floor")
    plain = (rule == "asymmetric" and rounding == "floor") or (rule == "half_pixel" and rounding.startswith("round"))
    return bool(call.attribute("mode", "nearest") == "nearest" and plain)


def _sum_blocks(call: NodeCall, g: Value, factors: list[int]) -> Value:
    """The sum of dy over each block of copies."""
    out = call.t.AveragePool(g, kernel_shape=factors, strides=factors) * float(np.prod(factors))
    call.t.shapes[out.name] = call.need(0).shape or ()
    return out


def _free_nearest(call: NodeCall, g: Value) -> Value:
    """Height and width known only at run time: only whole factors with nearest neighbours have a rule."""
    scales = call.static(scales_at(call.node), "scales")
    if scales is None or len(scales) != 4 or not _repeats(call) or any(float(s) != int(s) for s in scales):
        raise call.refuse("free height and width are possible only for whole factors with nearest neighbours")
    return _sum_blocks(call, g, [int(s) for s in scales[2:]])


def _matrix(call: NodeCall, axis: int, source: int, target: int) -> np.ndarray[Any, Any]:
    """The matrix ``[target, source]`` of a resampling along one axis: the operator's answer to the identity."""
    scales = call.static(scales_at(call.node), "scales")
    scale = None
    if scales is not None and len(scales):
        axes = call.attribute("axes")
        scale = float(scales[axis if axes is None else [a % call.need(0).rank for a in axes].index(axis)])
    elif not call.has(3):
        raise call.refuse("the scales are known only at run time")
    return resampling(call.op, call.attributes, scale, (source, target), call.t.model)
