"""The kernels of convolutions, read from the file: floats as they are, integers as the real numbers they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, numpy_helper

from xplain.core.edits import Array
from xplain.core.lenses.kernels import Kernel
from xplain.graph.analysis.order import part_of
from xplain.graph.intake.load import Loaded
from xplain.graph.nodes import attribute
from xplain.graph.operators import facts_of
from xplain.graph.runtime import evaluate

__all__ = ["kernels"]


def kernels(loaded: Loaded) -> Callable[[], tuple[Kernel, ...]]:
    """All kernels of a graph, in order of evaluation; found when first asked for."""

    @lru_cache(maxsize=1)
    def found() -> tuple[Kernel, ...]:
        return tuple(_found(loaded))

    return found


def _found(loaded: Loaded) -> Iterator[Kernel]:
    graph = loaded.model.graph
    makers = {name: node for node in graph.node for name in node.output}
    entry = graph.input[0].name
    for node in graph.node:
        op = facts_of(node).like or node.op_type
        if op.removeprefix("QLinear") not in ("Conv", "ConvTranspose"):
            continue
        quantised = facts_of(node).scale is not None
        weights = _real(loaded, node, quantised)
        if weights is None or weights.ndim < 3:
            continue
        groups = int(attribute(node, "group", 1))
        if op == "ConvTranspose":  # [I, O / groups, ...]
            inside, outside = weights.shape[:2]
            rest = weights.shape[2:]
            weights = weights.reshape(groups, inside // groups, outside, *rest).swapaxes(1, 2)
            weights = weights.reshape(groups * outside, inside // groups, *rest)
        layer = _named(loaded, node)
        yield Kernel(layer, np.ascontiguousarray(weights, np.float32), groups, _source(makers, node) == entry)


def _real(loaded: Loaded, node: NodeProto, quantised: bool) -> Array | None:
    """The weights of a convolution, float32; None where they follow from the item."""
    name = node.input[3 if quantised else 1]
    values = _constant(loaded, name)
    if values is None:
        return None
    if not quantised:
        return values
    scale, zero = (_constant(loaded, node.input[k]) for k in (4, 5))
    if scale is None:
        return None
    per_kernel = [-1, *[1] * (values.ndim - 1)]
    shift = 0.0 if zero is None else zero.astype(np.float32).reshape(per_kernel if zero.size > 1 else [])
    factor = scale.astype(np.float32).reshape(per_kernel if scale.size > 1 else [])
    return np.asarray((values.astype(np.float32) - shift) * factor)


def _constant(loaded: Loaded, name: str) -> Array | None:
    """What a tensor holds that follows from weights alone; None for any other."""
    if not name or name not in loaded.known.constants:
        return None
    if name in loaded.outside:
        return np.asarray(loaded.outside[name])
    stored = next((one for one in loaded.model.graph.initializer if one.name == name), None)
    if stored is not None:
        return np.asarray(numpy_helper.to_array(stored))
    wanted = ValueInfoProto(name=name)
    wanted.type.tensor_type.elem_type = loaded.dtype(name) or TensorProto.FLOAT
    part = part_of(loaded.model, [wanted])
    return np.asarray(evaluate(part, {}, outside=loaded.outside)[0])


def _named(loaded: Loaded, node: NodeProto) -> str:
    """The layer that a convolution makes, as a person may name it: of integers, what stands for real numbers."""
    return str(node.output[0])


def _source(makers: dict[str, NodeProto], node: NodeProto) -> str:
    """What a convolution reads, past what only quantises, casts, pads or moves it."""
    name = str(node.input[0])
    while name in makers:
        made = makers[name]
        facts = facts_of(made)
        if not (facts.rounds or facts.repacks or facts.scale is not None or facts.steps is not None or facts.integer):
            break
        name = str(made.input[0])
    return name
