"""Leave out a Clip or ReLU in front of a quantiser that saturates within its bounds: the integers are the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.core.edits import Array
from xplain.graph.dtypes import RANGES
from xplain.graph.naming import reads
from xplain.graph.nodes import attribute
from xplain.graph.operators import key_of

__all__ = ["leave_to_quantisers"]

_Content = Callable[[str], "Array | None"]
_TIE = 0.499  # of a step: how near to the range's end a bound may lie, so that it is rounded there beyond doubt


def leave_to_quantisers(model: ModelProto, weights: Mapping[str, TensorProto], wanted: Set[str] = frozenset()) -> None:
    """Let quantisers read what the bound in front of them reads, in place; bounds that nobody reads then are dropped.

        q(clip(x, 0, 6)) = q(x)    where q(0) is the least integer and q(6) the largest

    The gradient is the same too: a quantiser passes on what is strictly inside its range, which lies inside the bounds.
    A quantised MobileNetV2 has 35 such Clips, and on the way back two masks and two products for each. It is not so
    under rules that treat a bound otherwise than by its derivative.

    Args:
        model: The model, in order.
        weights: Content of initializers that were taken out of it.
        wanted: Tensors that must stay as they are.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: weights.get(tensor.name, tensor) for tensor in graph.initializer}

    def content(name: str) -> Array | None:
        """A number that is stored; None for anything else."""
        tensor, maker = stored.get(name), makers.get(name)
        if tensor is None and maker is not None and maker.op_type == "Constant":
            tensor = attribute(maker, "value")
        if not isinstance(tensor, TensorProto) or tensor.external_data or math.prod(tensor.dims) != 1:
            return None
        return numpy_helper.to_array(tensor).reshape(())

    kept = {*wanted, *(v.name for v in graph.output)}
    freed = set()
    for node in graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        bound = makers.get(node.input[0])
        while bound is not None and bound.output[0] not in kept and _within(node, _bounds(bound, content), content):
            freed.add(bound.output[0])
            node.input[0] = bound.input[0]
            bound = makers.get(node.input[0])
    if freed:
        unread = freed - {name for node in graph.node for name in reads(node)}
        for k in [k for k, node in enumerate(graph.node) if node.output[0] in unread][::-1]:
            del graph.node[k]


def _bounds(node: NodeProto, content: _Content) -> tuple[float, float] | None:
    """The numbers that a node keeps what it reads within; None for any other node."""
    if key_of(node) == "Relu":
        return 0.0, math.inf
    if key_of(node) != "Clip":
        return None
    found = []
    for index, none in ((1, -math.inf), (2, math.inf)):
        given = index < len(node.input) and node.input[index]
        number = content(node.input[index]) if given else none
        if number is None:
            return None
        found.append(float(number))
    return found[0], found[1]


def _within(quantiser: NodeProto, bounds: tuple[float, float] | None, content: _Content) -> bool:
    """Whether a quantiser writes an end of its range for whatever lies at or beyond the bounds."""
    scale = content(quantiser.input[1])
    zero = content(quantiser.input[2]) if len(quantiser.input) > 2 else None
    if bounds is None or scale is None or zero is None or not float(scale) > 0:
        return False
    ends = RANGES.get(helper.np_dtype_to_tensor_dtype(zero.dtype))
    low, high = (bound / float(scale) + float(zero) for bound in bounds)
    return ends is not None and low < ends[0] + _TIE and high > ends[1] - _TIE
