"""Tensors folded inside the graph: what is kept of a layer's positions leaves it, and nothing else.

    [N, C, 112, 112] -> TopK(1) -> values [N, C, 1] and places [N, C, 1]

``xplain.core.lenses.fold`` says what each fold means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from xplain.core.lenses.fold import Fold, Max, Mean, TopK

__all__ = ["fold_outputs", "foldable"]

_TOPK, _MIN = 11, 12
"""Operator sets from which on TopK takes its number as an input and says what it sorts by, and Min takes int64."""


def _opset(model: ModelProto) -> int:
    return max((int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def foldable(model: ModelProto, fold: Fold, shape: Sequence[int | None] | None) -> bool:
    """Whether a tensor of this shape, batch in front, is folded by operators that the model's operator set has."""
    if shape is None or len(shape) < 2 or (fold.channel is not None and not 0 < fold.channel < len(shape)):
        return False
    known = _positions(fold, shape) is not None or (isinstance(fold, TopK) and fold.count == 1)
    return _opset(model) >= (_TOPK if known or not isinstance(fold, TopK) else _MIN)


def fold_outputs(
    part: ModelProto, fold: Fold, shapes: Mapping[str, Sequence[int | None]], dtypes: Mapping[str, int | None]
) -> dict[str, tuple[str, ...]]:
    """Let a model return what a fold keeps of its outputs, in place of those named in ``shapes``.

    Args:
        part: The model; it is changed.
        fold: What is kept.
        shapes: Output to its shape, None for a free extent.
        dtypes: Output to its type, as ONNX numbers types.

    Returns:
        Output to the names of what is returned in its place: values, and for ``TopK`` places.
    """
    graph = part.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {one.name for one in (*graph.input, *graph.output, *graph.initializer)}
    found: dict[str, tuple[str, ...]] = {}
    outputs = [one for one in graph.output if one.name not in shapes]
    for tensor, shape in shapes.items():
        stem = f"{tensor}/fold"
        while any(name.startswith(stem) for name in taken):
            stem += "."
        nodes, stored, names = _nodes(tensor, stem, fold, shape, dtypes.get(tensor))
        graph.node.extend(nodes)
        graph.initializer.extend(stored)
        found[tensor] = names
        kinds = (TensorProto.FLOAT, TensorProto.INT64)
        outputs += [_info(name, kind) for name, kind in zip(names, kinds, strict=False)]
    del graph.output[:]
    graph.output.extend(outputs)
    return found


def _info(name: str, kind: int) -> ValueInfoProto:
    info = ValueInfoProto(name=name)
    info.type.tensor_type.elem_type = kind
    return info


def _positions(fold: Fold, shape: Sequence[int | None]) -> int | None:
    """How many positions a channel has, where all extents are known."""
    rest = [extent for axis, extent in enumerate(shape) if axis not in (0, fold.channel)]
    known = [extent for extent in rest if extent is not None]
    return int(np.prod(known, dtype=np.int64)) if len(known) == len(rest) else None


def _nodes(
    tensor: str, stem: str, fold: Fold, shape: Sequence[int | None], dtype: int | None
) -> tuple[list[NodeProto], list[TensorProto], tuple[str, ...]]:
    nodes: list[NodeProto] = []
    stored: list[TensorProto] = []
    at = tensor

    def emit(op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        made = [f"{stem}.{len(nodes)}" + (f".{k}" if k else "") for k in range(outputs)]
        nodes.append(helper.make_node(op, inputs, made, name=made[0], **attributes))
        return made[0]

    def const(values: Sequence[int]) -> str:
        stored.append(numpy_helper.from_array(np.array(values, np.int64), f"{stem}.c{len(stored)}"))
        return stored[-1].name

    if dtype != TensorProto.FLOAT:
        at = emit("Cast", at, to=TensorProto.FLOAT)
    channel = fold.channel
    if channel not in (None, 1):
        at = emit("Transpose", at, perm=[0, channel, *(k for k in range(1, len(shape)) if k != channel)])
    at = emit("Reshape", at, const([0, 1, -1] if channel is None else [0, 0, -1]))  # [N, C, positions]
    if isinstance(fold, (Mean, Max)):
        at = emit("GlobalAveragePool" if isinstance(fold, Mean) else "GlobalMaxPool", at)
        return nodes, stored, (emit("Reshape", at, const([0, -1])),)
    if fold.count == 1:  # what is largest is found without sorting
        places = emit("ArgMax", at, axis=2, keepdims=1)
        return nodes, stored, (emit("GlobalMaxPool", at), places)
    positions = _positions(fold, shape)
    if positions is not None:
        count = const([min(fold.count, positions)])
    else:
        extent = emit("Gather", emit("Shape", at), const([2]), axis=0)
        count = emit("Min", extent, const([fold.count]))
    values = emit("TopK", at, count, outputs=2, axis=2, largest=1, sorted=1)
    return nodes, stored, (values, f"{values}.1")
