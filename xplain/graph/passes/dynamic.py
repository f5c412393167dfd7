"""Write products of integers that were quantised at run time as products of real numbers, for rules that share out.

    cast(MatMulInteger(q, w, zq, zw)) sq sw      with q, sq, zq = DynamicQuantizeLinear(x)
    =  MatMul(dequantised(quantised(x, sq, zq)), dequantised(w, sw, zw))

A gradient takes sq to be constant and goes through the integers. Relevance and DeepLIFT cannot: they would share with
the scale, which depends on the input as well, and in units of integers there is nothing to stabilise by. The values
are the same up to rounding in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto

from xplain.graph.build.value import Shape
from xplain.graph.nodes import attributes_of
from xplain.graph.passes.chain import Chain

__all__ = ["make_products_real"]

_REAL = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


def make_products_real(model: ModelProto) -> None:
    """Replace the pattern, in place; a product of integers that is used in another way stays."""
    if not any(node.op_type in _REAL for node in model.graph.node):
        return
    shapes = _shapes(model)
    graph = _Graph(model)
    instead: dict[int, list[NodeProto]] = {}
    gone: set[int] = set()
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        last = graph.pattern(node) if node.op_type in _REAL else None
        if last is None:
            continue
        cast, scaled, scale = last
        chain = Chain(model, f"{node.output[0]}/real")
        weight = _weight(chain, node, scale, shapes)
        if not weight:
            continue
        source = graph.makers[node.input[0]]
        x, (q, unit, zero) = source.input[0], source.output
        if q not in rounded:
            rounded[q] = chain("DequantizeLinear", chain("QuantizeLinear", x, unit, zero), unit, zero)
        chain(_REAL[node.op_type], rounded[q], weight, output=scaled.output[0], **attributes_of(node))
        instead[id(node)] = chain.nodes
        gone.update((id(cast), id(scaled)))
    nodes = [part for node in model.graph.node if id(node) not in gone for part in instead.get(id(node), [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    known = [v for v in model.graph.value_info if v.name in made]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)


class _Graph:
    """Who makes and who reads each tensor."""

    def __init__(self, model: ModelProto) -> None:
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.outputs = {v.name for v in model.graph.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def _only(self, name: str, op: str) -> NodeProto | None:
        """The one reader of a tensor, where it is an ``op``."""
        readers = self.readers.get(name, [])
        if len(readers) != 1 or readers[0].op_type != op or name in self.outputs:
            return None
        return readers[0]

    def pattern(self, node: NodeProto) -> tuple[NodeProto, NodeProto, str] | None:
        """The Cast and the Mul behind a product of integers, and the scale of its weights."""
        source = self.makers.get(node.input[0])
        if source is None or source.op_type != "DynamicQuantizeLinear" or node.input[0] != source.output[0]:
            return None
        if len(node.input) < 3 or node.input[2] != source.output[2]:
            return None
        cast = self._only(node.output[0], "Cast")
        if cast is None or attributes_of(cast).get("to") != TensorProto.FLOAT:
            return None
        scaled = self._only(cast.output[0], "Mul")
        if scaled is None:
            return None
        units = self.makers.get(next(name for name in scaled.input if name != cast.output[0]))
        if units is None or units.op_type != "Mul" or source.output[1] not in units.input:
            return None
        return cast, scaled, next(name for name in units.input if name != source.output[1])


def _weight(chain: Chain, node: NodeProto, scale: str, shapes: Mapping[str, Shape]) -> str:
    """The weights as real numbers; empty where it is not known along which axis their scales lie."""
    zero = node.input[3] if len(node.input) > 3 else ""
    size, rank = shapes.get(scale), len(shapes.get(node.input[1], ()))
    if size is None or len(size) > 1 or not rank:
        return ""
    axis: dict[str, Any] = {}
    if size not in ((), (1,)):
        axis = {"axis": rank - 1 if node.op_type == "MatMulInteger" else 0}
        if zero and shapes.get(zero) in ((), (1,)):
            zero = chain("Expand", zero, chain.const(list(size)))
    return chain("DequantizeLinear", node.input[1], scale, *([zero] if zero else []), **axis)


def _shapes(model: ModelProto) -> dict[str, Shape]:
    """Shapes that are written down."""
    found: dict[str, Shape] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for info in (*model.graph.value_info, *model.graph.input):
        kind = info.type.tensor_type
        if kind.HasField("shape"):
            found[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return found
