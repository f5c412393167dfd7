"""Resize and sampling on grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from xplain.graph.call import NodeCall
from xplain.graph.table import backward
from xplain.graph.tracer import Tracer, Value

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
    scales = call.static(1 if call.op == "Upsample" else 2, "scales")
    if scales is None or len(scales) != 4 or not _repeats(call) or any(float(s) != int(s) for s in scales):
        raise call.refuse("free height and width are possible only for whole factors with nearest neighbours")
    return _sum_blocks(call, g, [int(s) for s in scales[2:]])


def _matrix(call: NodeCall, axis: int, source: int, target: int) -> np.ndarray[Any, Any]:
    """The matrix ``[target, source]`` of a resampling along one axis: the operator's answer to the identity."""
    skipped = ("axes", "keep_aspect_ratio_policy", "scales")
    attributes = {k: v for k, v in call.attributes.items() if k not in skipped}
    scales = call.static(1 if call.op == "Upsample" else 2, "scales")
    if scales is not None and len(scales):
        axes = call.attribute("axes")
        scale = float(scales[axis if axes is None else [a % call.need(0).rank for a in axes].index(axis)])
        inputs, extra = ["x", "", "scales"], np.array([1, 1, scale, 1], dtype=np.float32)
        inputs = ["x", "scales"] if call.op == "Upsample" else inputs
        name = "scales"
    elif not call.has(3):
        raise call.refuse("the scales are known only at run time")
    else:
        inputs, extra, name = ["x", "", "", "sizes"], np.array([source, 1, target, 1], dtype=np.int64), "sizes"
    node = helper.make_node(call.op, inputs, ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [source, 1, source, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(extra, name)],
    )
    model = helper.make_model(graph, opset_imports=list(call.t.model.opset_import), ir_version=call.t.model.ir_version)
    from xplain.graph.runtime import evaluate  # the runtime itself: the reference evaluator differs in corners

    identity = np.eye(source, dtype=np.float32).reshape(source, 1, source, 1)
    return np.asarray(evaluate(model, {"x": identity})[0]).reshape(source, target).T


@backward("GridSample", kind="move")
def grid_sample(call: NodeCall, g: Value) -> list[Value | None]:
    """x[N, C, H, W] read at real positions, bilinear: dy is added at the four corners, with the same weights.

    The grid gets a cotangent too, from the differences of the corners (spatial transformers need it).
    """
    t, x, grid = call.t, call.need(0), call.need(1)
    mode = call.attribute("mode", "bilinear")
    if (
        mode not in ("bilinear", "linear", "nearest")
        or x.rank != 4
        or call.attribute("padding_mode", "zeros") != "zeros"
    ):
        raise call.refuse("bilinear or nearest sampling of [N, C, H, W] with zeros outside has a rule")
    aligned = bool(call.attribute("align_corners", 0))
    dims = [t.cast(t.squeeze(t.extent(x, a), [0]), g.dtype) for a in (3, 2)]
    columns, rows = ((t.Gather(grid, t.const(np.int64(k)), axis=3) + 1.0) * 0.5 for k in (0, 1))
    scale = [n - 1.0 if aligned else n for n in dims]
    col, row = ((v * s if aligned else v * s - 0.5) for v, s in zip((columns, rows), scale, strict=True))
    if mode == "nearest":
        corners: list[tuple[Any, ...]] = [(t.Round(col), t.Round(row), None, None)]
    else:
        c0, r0 = t.Floor(col), t.Floor(row)
        fc, fr = col - c0, row - r0
        corners = [
            (c0, r0, 1.0 - fc, 1.0 - fr),
            (c0 + 1.0, r0, fc, 1.0 - fr),
            (c0, r0 + 1.0, 1.0 - fc, fr),
            (c0 + 1.0, r0 + 1.0, fc, fr),
        ]
    dx = _grid_scatter(call, g, dims, corners) if call.active[0] else None
    dgrid = None
    if len(call.active) > 1 and call.active[1]:
        dgrid = t.zeros_like(grid) if mode == "nearest" else _grid_slope(call, g, dims, corners, scale)
    return [dx, dgrid]


def _corner(call: NodeCall, dims: list[Value], c: Value, r: Value) -> tuple[Value, Value]:
    """Whether a corner lies inside, ``[N, P]``, and its flat position, ``[N, P]`` int64."""
    t = call.t
    inside = t.And(t.And(c >= 0.0, c <= dims[0] - 1.0), t.And(r >= 0.0, r <= dims[1] - 1.0))
    flat = t.where(inside, r * dims[0] + c, 0.0)
    flat = t.Reshape(t.Cast(flat, to=TensorProto.INT64), t.ints(0, 1, -1))
    return t.Reshape(t.step(inside, c.dtype), t.ints(0, 1, -1)), flat


def _grid_scatter(call: NodeCall, g: Value, dims: list[Value], corners: list[tuple[Any, ...]]) -> Value:
    t, x = call.t, call.need(0)
    planes = t.Reshape(g, t.ints(0, 0, -1))  # [N, C, P]
    total = t.zeros_like(t.Reshape(x, t.ints(0, 0, -1)), g.dtype)
    for c, r, wc, wr in corners:
        inside, flat = _corner(call, dims, c, r)
        weight = inside if wc is None else inside * t.Reshape(wc * wr, t.ints(0, 1, -1))
        share = planes * weight
        total = t.ScatterElements(total, t.Expand(flat, t.Shape(share)), share, axis=2, reduction="add")
    return t.reshape_like(total, x)


def _grid_slope(call: NodeCall, g: Value, dims: list[Value], corners: list[tuple[Any, ...]], scale: list[Any]) -> Value:
    t, x = call.t, call.need(0)
    planes, source = t.Reshape(g, t.ints(0, 0, -1)), t.Reshape(x, t.ints(0, 0, -1))
    across: list[Value] = []
    down: list[Value] = []
    for k, (c, r, wc, wr) in enumerate(corners):
        inside, flat = _corner(call, dims, c, r)
        here = t.GatherElements(source, t.Expand(flat, t.Shape(planes)), axis=2) * inside
        along_c = t.sum(planes * here, [1], keepdims=True)
        across.append(along_c * t.Reshape(wr, t.ints(0, 1, -1)) * (1.0 if k % 2 else -1.0))
        down.append(along_c * t.Reshape(wc, t.ints(0, 1, -1)) * (1.0 if k >= 2 else -1.0))
    both = [t.total(v) * s * 0.5 for v, s in zip((across, down), scale, strict=True)]
    stacked = t.Concat(*(t.Reshape(v, t.ints(0, -1, 1)) for v in both), axis=2)
    return t.reshape_like(stacked, call.need(1))
