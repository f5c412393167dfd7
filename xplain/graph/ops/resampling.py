"""Resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.resampled import resamplings, scales_at

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
    if (sy == () or sx == ()) or any(not isinstance(d, int) for d in (*sx[1:], *sy[1:])):
        return [_free_nearest(call, g)]
    scales = call.static(scales_at(call.node), "scales")
    if scales is None and not call.has(3) and call.has(scales_at(call.node)):
        raise call.refuse("the scales are known only at run time")
    factors = _factors(sx, sy, scales)
    if factors is not None and _repeats(call):
        return [_sum_blocks(call, g, factors)]
    stated = scales, call.static(3)
    found = resamplings(call.op, call.attributes, stated, (sx, sy), t.model)
    if found is None:
        raise call.refuse(
            "tf_crop_and_resize has no rule, nor has a kept aspect of sizes that are not known or too large"
        )
    for axis, matrix in found.items():
        g = along(t, g, axis, matrix)
    return [g]


def _factors(sx: Sequence[Any], sy: Sequence[Any], scales: Any) -> list[int] | None:
    """The whole factors by which a plane ``[N, C, H, W]`` grows, where it does.

    A scale of 2.3 makes 6 of 3 positions too, and others than a scale of 2 does.
    """
    if len(sx) != 4 or sx[1] != sy[1] or any(m % n for n, m in zip(sx[2:], sy[2:], strict=True)):
        return None
    factors = [m // n for n, m in zip(sx[2:], sy[2:], strict=True)]
    if scales is not None and len(scales) and (len(scales) != 4 or [float(s) for s in scales[2:]] != factors):
        return None
    return factors


def _repeats(call: NodeCall) -> bool:
    """Whether an enlargement by a whole factor repeats every element."""
    if call.op == "Upsample":
        return bool(call.attribute("mode", "nearest") == "nearest")
    if call.attribute("axes") is not None or call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
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
    if scales is None or len(scales) != 4 or not _repeats(call) or any(float(s) != max(1, int(s)) for s in scales):
        raise call.refuse("free height and width are possible only for whole factors with nearest neighbours")
    return _sum_blocks(call, g, [int(s) for s in scales[2:]])
