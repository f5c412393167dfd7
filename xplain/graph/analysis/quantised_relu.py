"""Quantisers that are rectifiers: static quantisation drops the ReLU and lets the integer's lower end do its work.

    Conv, QuantizeLinear(zero point = least integer)      stands for      Conv, Relu, QuantizeLinear

for such a quantiser can write no number below zero. Behind a pooling, or a sum of numbers that are not negative anyway,
it cuts off nothing: there the float model has no ReLU either, so there is none here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto

from xplain.graph.operators import facts_of, find_operator

__all__ = ["rectifies"]

Maker = Callable[[str], NodeProto | None]
Content = Callable[[str], "np.ndarray[Any, Any] | None"]


def rectifies(node: NodeProto, maker: Maker, content: Content) -> bool:
    """Whether a node's rounding to integers is a ReLU: its zero point is the least integer, and values lie below it.

    Args:
        node: Any node.
        maker: The node that makes a tensor; None for inputs and weights.
        content: What a small constant holds; None for others.
    """
    what = facts_of(node)
    if what.scale is None or not _lowest(node, what.scale + 1, content):
        return False
    if node.op_type == "QLinearAdd":
        return not all(_lowest(quantiser, 2, content) for quantiser in _addends(node))
    if node.op_type != "QuantizeLinear":
        return what.weighted
    source = maker(node.input[0])
    while source is not None and _same_numbers(source):
        source = maker(source.input[0])
    if source is None:
        return False
    # behind a ReLU that is there as a node too, the lower end is the same one again
    if facts_of(source).weighted or facts_of(source).rectifier:
        return True
    if _adds(source):
        return source.op_type == "Sub" or not all(_positive(name, maker, content) for name in source.input)
    return False


def _same_numbers(node: NodeProto) -> bool:
    """Whether a node only moves the numbers of its one input."""
    return facts_of(node).repacks or node.op_type == "Transpose"


def _adds(node: NodeProto) -> bool:
    operator = find_operator(node)
    return (operator is not None and operator.kind == "sum" and node.op_type != "Mean") or node.op_type == "QLinearAdd"


def _lowest(node: NodeProto, at: int, content: Content) -> bool:
    """Whether the zero point at input ``at`` is the least integer of its type; one that is left out is 0 of uint8."""
    if at >= len(node.input) or not node.input[at]:
        # output_dtype (opset 21) may ask for a signed type, whose least integer is not 0
        return not any(attribute.name == "output_dtype" and attribute.i != 2 for attribute in node.attribute)
    zero = content(node.input[at])
    if zero is None or not np.issubdtype(zero.dtype, np.integer):
        return False
    return bool((zero == np.iinfo(zero.dtype).min).all())


def _addends(node: NodeProto) -> list[NodeProto]:
    """The two operands of a QLinearAdd, each as a node whose input 2 is its zero point."""
    return [NodeProto(input=node.input[k : k + 3]) for k in (0, 3)]


def _positive(name: str, maker: Maker, content: Content) -> bool:
    """Whether no element can be below zero, as far as one node tells."""
    node = maker(name)
    while node is not None and (_same_numbers(node) or node.op_type == "MaxPool"):
        node = maker(node.input[0])
    if node is None:
        return False
    return facts_of(node).low >= 0.0 or (node.op_type == "DequantizeLinear" and _lowest(node, 2, content))
