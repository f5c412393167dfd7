"""Weights of matrix products as inputs of a graph, so that a runtime reads the one copy that the model holds.

A runtime keeps its own copy of every initializer, rearranged for its kernels, one for each direction it is read in.
That pays where a weight meets many rows; a product with few rows is bound by reading the weight, which is faster as it
lies (VGG-16, one item, ONNX Runtime 1.31 on the CPU: a sweep takes 0.66 of the time and 1 GiB less). The left operand
of a product is never rearranged. In both cases the copy is a loss, and an input that is fed with the model's own memory
has none. For runtimes that compute where the memory is: a device would fetch such an input in every run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, TensorProto, helper

from xplain.core.edits import Array
from xplain.graph.naming import reads
from xplain.graph.naming import reads

__all__ = ["lend"]

_FEW = 8
"""Rows per item up to which a product reads its weight as it lies."""

_KEPT = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})  # other dtypes are cast once where they are initializers


def lend(
    model: ModelProto,
    forward: ModelProto,
    outside: Mapping[str, Array],
    shapes: Mapping[str, Sequence[int | None]],
) -> dict[str, Array]:
    """Turn weights of matrix products into inputs, where no rearranged copy is worth its memory.

    Args:
        model: Changed in place: such products read an input, and initializers that nobody reads any more are dropped.
        forward: The model that it was made from, which says how many rows a weight meets; the way back is alike.
        outside: The weights' content, by name.
        shapes: Shapes of the tensors of ``forward`` for one item.

    Returns:
        What to feed in every run: input name to array, the arrays of ``outside`` themselves.
    """
    graph = model.graph
    weights = {t.name: t for t in graph.initializer if t.name in outside and t.data_type in _KEPT and len(t.dims) == 2}
    rows: dict[str, int] = {}  # most rows that a weight meets as a right operand
    for node in _products(forward):
        shape = shapes.get(node.input[0])
        if node.input[1] in weights and shape is not None:
            rows[node.input[1]] = max(rows.get(node.input[1], 0), _rows(node, shape))
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    lent: dict[str, str] = {}
    for node in _products(model):
        for k, name in enumerate(node.input[:2]):
            if name in weights and (k == 0 or rows.get(name, _FEW + 1) <= _FEW):
                node.input[k] = lent.setdefault(name, _fresh(f"{name}/lent", taken))
    if not lent:
        return {}
    for name, fresh in lent.items():
        graph.input.append(helper.make_tensor_value_info(fresh, weights[name].data_type, list(weights[name].dims)))
    read = {name for node in graph.node for name in reads(node)} | {entry.name for entry in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name not in lent or tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return {fresh: outside[name] for name, fresh in lent.items()}


def _products(model: ModelProto) -> list[NodeProto]:
    return [n for n in model.graph.node if n.op_type in ("MatMul", "Gemm") and n.domain in ("", "ai.onnx")]


def _rows(node: NodeProto, shape: Sequence[int | None]) -> int:
    """Rows of a product's left operand for one item; an extent that is not known may be large."""
    extents = [_FEW + 1 if extent is None else extent for extent in shape]
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return extents[-1] if transposed else math.prod(extents[:-1])


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "."
    taken.add(name)
    return name
