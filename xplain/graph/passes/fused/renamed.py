"""Operators that ONNX Runtime had before the standard did, under the same or another name."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto, TensorProto

from xplain.graph.nodes import opset_of
from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs

__all__ = ["OPENERS"]

_LINEAR = 20
"""From this opset on GridSample calls its modes linear and cubic."""


def _same(name: str, since: int = 11) -> Opener:
    def opened(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
        if opset_of(chain.model) < since:
            return False
        chain(name, *node.input, output=node.output[0], **attributes)
        return True

    return opened


def _grid_sample(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    if opset_of(chain.model) < 16:
        return False
    if opset_of(chain.model) >= _LINEAR:
        names: Mapping[str, str] = {"bilinear": "linear", "bicubic": "cubic"}
        mode = attributes.get("mode", "bilinear")
        attributes["mode"] = names.get(mode, mode)
    chain("GridSample", *node.input, output=node.output[0], **attributes)
    return True


def _expand_dims(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    axis = chain("Reshape", chain("Cast", node.input[1], to=TensorProto.INT64), chain.const([1]))
    chain("Unsqueeze", node.input[0], axis, output=node.output[0])
    return True


def _distances(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """The distance of each row of a from each row of b, ``[M, K]``; or its square."""
    a, b = inputs(node, 2)
    metric = attributes.get("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        return False
    apart = chain("Sub", chain("Unsqueeze", a, chain.const([1])), chain("Unsqueeze", b, chain.const([0])))
    squares = chain("Mul", apart, apart)
    root = metric == "euclidean"
    total = chain("ReduceSum", squares, chain.const([-1]), keepdims=0, output="" if root else node.output[0])
    if root:
        chain("Sqrt", total, output=node.output[0])
    return True


OPENERS: dict[str, Opener] = {
    "CDist": _distances,
    "ExpandDims": _expand_dims,
    "GatherND": _same("GatherND"),
    "GridSample": _grid_sample,
    "Pad": _same("Pad"),
    "Range": _same("Range"),
    "Trilu": _same("Trilu", since=14),
}
