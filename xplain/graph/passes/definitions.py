"""Definitions, in simpler operators, of standard ones for which ONNX has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from xplain.graph.nodes import attributes_of
from xplain.graph.passes.chain import Chain

__all__ = ["is_undefined", "open_undefined"]


def is_undefined(node: NodeProto) -> bool:
    """Whether a node is of an operator that has a definition here."""
    return node.op_type in _DEFINITIONS and not node.domain


def open_undefined(model: ModelProto) -> None:
    """Replace the operators that have a definition here, in place."""
    if not any(map(is_undefined, model.graph.node)):
        return
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.value_info, *model.graph.input)
    }
    nodes = []
    for node in model.graph.node:
        dims = shapes.get(node.input[0]) if node.input else None
        if not is_undefined(node) or not dims:
            nodes.append(node)
            continue
        chain = Chain(model, f"{node.output[0]}/opened")
        _DEFINITIONS[node.op_type](chain, list(node.input), node.output[0], attributes_of(node), dims)
        nodes.extend(chain.nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _number(chain: Chain, value: float, like: str) -> str:
    """A number in the precision of a tensor."""
    return chain("CastLike", chain.const(value, np.float32), like)


def _instance(chain: Chain, inputs: list[str], out: str, attributes: dict[str, Any], dims: list[int]) -> None:
    """``s (x - mean) / sqrt(var + eps) + b`` over the positions of each plane."""
    x, scale, shift = inputs
    axes, rank = chain.const(list(range(2, len(dims)))), len(dims)
    centred = chain("Sub", x, chain("ReduceMean", x, axes))
    variance = chain("ReduceMean", chain("Mul", centred, centred), axes)
    deviation = chain("Sqrt", chain("Add", variance, _number(chain, attributes.get("epsilon", 1e-5), x)))
    column = chain.const([-1, *[1] * (rank - 2)])
    scaled = chain("Mul", chain("Div", centred, deviation), chain("Reshape", scale, column))
    chain("Add", scaled, chain("Reshape", shift, column), output=out)


def _local_response(chain: Chain, inputs: list[str], out: str, attributes: dict[str, Any], dims: list[int]) -> None:
    """``x / (bias + alpha mean(x^2))^beta``, the mean over neighbouring channels."""
    x, size = inputs[0], int(attributes["size"])
    low = (size - 1) // 2
    plane = chain("Reshape", chain("Mul", x, x), chain.const([0, 1, dims[1], -1]))
    mean = chain("AveragePool", plane, kernel_shape=[size, 1], pads=[low, 0, size - 1 - low, 0], count_include_pad=1)
    mean = chain("Reshape", mean, chain("Shape", x))
    scaled = chain("Mul", mean, _number(chain, attributes.get("alpha", 1e-4), x))
    base = chain("Add", scaled, _number(chain, attributes.get("bias", 1.0), x))
    chain("Div", x, chain("Pow", base, _number(chain, attributes.get("beta", 0.75), x)), output=out)


def _unit(chain: Chain, inputs: list[str], out: str, attributes: dict[str, Any], dims: list[int]) -> None:
    """``x / |x|_p``."""
    x, axis = inputs[0], chain.const([attributes.get("axis", -1)])
    if attributes.get("p", 2) == 2:
        length = chain("Sqrt", chain("ReduceSum", chain("Mul", x, x), axis))
    else:
        length = chain("ReduceSum", chain("Abs", x), axis)
    chain("Div", x, length, output=out)


def _log_sum_exp(chain: Chain, inputs: list[str], out: str, attributes: dict[str, Any], dims: list[int]) -> None:
    """Axis by axis the mean of ``x - log softmax(x)``, each element of which is the ``log sum exp(x)`` along it."""
    axes = _stored(chain.model, inputs[1]) if inputs[1:] else None
    if not axes:
        chain("ReduceLogSumExp", *inputs, output=out, **attributes)
        return
    x, order = inputs[0], sorted({axis % len(dims) for axis in axes}, reverse=True)
    for axis in order:
        rest = chain("Sub", x, chain("LogSoftmax", x, axis=axis))
        last = {"output": out} if axis == order[-1] else {}
        x = chain("ReduceMean", rest, chain.const([axis]), keepdims=attributes.get("keepdims", 1), **last)


def _stored(model: ModelProto, name: str) -> list[int] | None:
    """The whole numbers that a constant holds; None for what is none."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return [int(n) for n in numpy_helper.to_array(tensor).ravel()]
    for node in model.graph.node:
        if node.op_type == "Constant" and name in node.output:
            stated = attributes_of(node)
            given = (
                numpy_helper.to_array(stated["value"]).ravel() if "value" in stated else stated.get("value_ints", [])
            )
            return [int(n) for n in given]
    return None


_DEFINITIONS: dict[str, Callable[[Chain, list[str], str, dict[str, Any], list[int]], None]] = {
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LpNormalization": _unit,
    "ReduceLogSumExp": _log_sum_exp,
}
