"""One node computed on constants, with a bound on its work: shape arithmetic, and nothing else.

ONNX's reference evaluator is written to be read, not to meet files that nobody vouches for: it takes regular
expressions, pads of 10^9 and strings that double as they come. So only operators are computed whose
work follows from the sizes of what they read and make, only on numbers, and only where what they make is known to be
small before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, OperatorSetIdProto, helper
from onnx.reference import ReferenceEvaluator

from xplain.core.edits import Array

__all__ = ["compute", "preload"]

_Feeds = Mapping[str, Array]


def _as_read(node: NodeProto, feeds: _Feeds) -> float:
    """Elements of an operator that makes no more than the broadcast of what it reads."""
    return math.prod(np.broadcast_shapes(*(feeds[name].shape for name in node.input if name)))


def _rearranged(node: NodeProto, feeds: _Feeds) -> float:
    return sum(feeds[name].size for name in node.input if name)


def _filled(node: NodeProto, feeds: _Feeds) -> float:
    return math.prod(float(n) for n in feeds[node.input[0]].ravel())


def _expanded(node: NodeProto, feeds: _Feeds) -> float:
    return feeds[node.input[0]].size * math.prod(max(1.0, float(n)) for n in feeds[node.input[1]].ravel())


def _ranged(node: NodeProto, feeds: _Feeds) -> float:
    start, stop, step = (float(feeds[name].ravel()[0]) for name in node.input)
    return math.ceil((stop - start) / step)


def _padded(node: NodeProto, feeds: _Feeds) -> float:
    pads = feeds[node.input[1]].ravel().tolist() if len(node.input) > 1 else _listed(node, "pads")
    shape, half = feeds[node.input[0]].shape, len(pads) // 2
    if len(pads) != 2 * len(shape) or len(node.input) > 3:
        return math.inf
    return math.prod(max(0.0, float(n) + float(pads[k]) + float(pads[half + k])) for k, n in enumerate(shape))


def _listed(node: NodeProto, name: str) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == name), [])


def _multiplied(node: NodeProto, feeds: _Feeds) -> float:
    left, right = feeds[node.input[0]], feeds[node.input[1]]
    columns = int(right.shape[-1]) if right.ndim > 1 else 1
    return float(left.size * columns) if max(left.ndim, right.ndim) <= 2 else math.inf


def _gathered(node: NodeProto, feeds: _Feeds) -> float:
    data, index = feeds[node.input[0]], feeds[node.input[1]]
    axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 0)
    return float(index.size * data.size / max(1, data.shape[axis]))


_SIZES: dict[str, Callable[[NodeProto, _Feeds], float]] = {
    **dict.fromkeys(
        (
            "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Exp", "Floor", "Greater",
            "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg",
            "Not", "Or", "Pow", "EyeLike", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub",
            "Sum", "Tanh", "Where", "Xor", "Softplus", "Erf", "IsNaN", "IsInf", "CastLike", "BitwiseAnd", "BitwiseOr",
            "BitwiseNot",
        ),
        _as_read,
    ),
    **dict.fromkeys(
        (
            "ArgMax", "ArgMin", "Compress", "Concat", "CumSum", "DequantizeLinear", "DynamicQuantizeLinear", "Flatten",
            "GatherElements", "GatherND", "NonZero", "QuantizeLinear", "ReduceMax", "ReduceMean", "ReduceMin",
            "ReduceProd", "ReduceSum", "Reshape", "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "Split",
            "Squeeze", "Transpose", "Trilu", "Unsqueeze", "ReduceSumSquare", "ReduceL1", "ReduceL2", "TopK",
        ),
        _rearranged,
    ),
    "Constant": _rearranged,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Gather": _gathered,
    "Gemm": _multiplied,
    "MatMul": _multiplied,
    "Pad": _padded,
    "Range": _ranged,
    "Tile": _expanded,
}  # fmt: skip
"""Operators that are computed, and the most elements that each makes; this bounds their work too."""


def compute(
    node: NodeProto, feeds: _Feeds, imports: Sequence[OperatorSetIdProto], most: float, ir: int | None = None
) -> dict[str, Array]:
    """What a node makes of constants, by name; empty where it is not computed.

    Args:
        node: The node; nothing is asked of it beforehand.
        feeds: The content of its inputs.
        imports: The versions of the operators.
        most: Elements that it may make.
        ir: The version of the format; None for the newest.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in _SIZES or {n for n in node.input if n} - set(feeds):
        return {}
    try:
        if any(array.dtype.kind not in "biufV" for array in feeds.values()):
            return {}
        if not _SIZES[node.op_type](node, feeds) <= most:
            return {}
        graph = GraphProto(name="constant", node=[node])
        graph.input.extend(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        )
        graph.output.extend(helper.make_empty_tensor_value_info(name) for name in node.output if name)
        version: dict[str, Any] = {} if ir is None else {"ir_version": ir}
        model = helper.make_model(graph, opset_imports=list(imports), **version)
        with np.errstate(all="ignore"):
            made: Any = ReferenceEvaluator(model).run(None, dict(feeds))
        return dict(zip((name for name in node.output if name), map(np.asarray, made), strict=True))
    except Exception:  # the evaluator raises whatever numpy does; a value that is not known makes a bound coarser
        return {}


def preload() -> None:
    """Load what computes: some 220 modules, which take longer to find than to use."""
    compute(helper.make_node("Shape", ["x"], ["y"]), {"x": np.zeros(1)}, [helper.make_opsetid("", 17)], 1)
