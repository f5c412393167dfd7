"""Find GELUs that exporters wrote out, so that forward and backward share what they have in common.

    y = x Phi(x),  Phi(x) = (1 + erf(u)) / 2,  u = x / sqrt(2)         Hendrycks and Gimpel 2016, arXiv:1606.08415
    dy/dx = Phi(x) + u exp(-u^2) / sqrt(pi)

Operator by operator the way back takes eight passes over memory, as one function six; and ``HardSigmoid`` with slope
and offset 1/2 makes Phi of erf in one pass, within one rounding, for which exporters write an Add and a Mul.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Set

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from xplain.graph.build.tracer import Tracer
from xplain.graph.nodes import attributes_of
from xplain.graph.ops.gelu import Gelu

__all__ = ["share_gelus"]


def share_gelus(
    model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "", wanted: Set[str] = frozenset()
) -> dict[str, Gelu]:
    """Write every GELU as ``x * HardSigmoid(Erf(x / sqrt(2)))``, in place.

    Args:
        model: A model with shapes.
        weights: Content of its weights.
        folder: Where external data lie.
        wanted: Tensors that must stay.

    Returns:
        By the output's name, what the GELU's derivative is made of.
    """
    if not any(node.op_type == "Erf" for node in model.graph.node):
        return {}
    finder = _Finder(model, weights, folder, wanted)
    found: dict[str, Gelu] = {}
    nodes = []
    for node in model.graph.node:
        gelu = finder.of(node)
        if gelu is None:
            nodes.append(node)
            continue
        y, x, scaled, erf = gelu
        gate = f"{y}/gate"
        nodes.append(helper.make_node("HardSigmoid", [erf], [gate], name=gate, alpha=0.5, beta=0.5))
        nodes.append(helper.make_node("Mul", [x, gate], [y], name=node.name))
        shape = finder.tracer.shapes.get(y)
        model.graph.value_info.append(helper.make_tensor_value_info(gate, TensorProto.FLOAT, shape))
        found[y] = Gelu(x, gate, scaled)
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if id(node) not in finder.dropped)
    return found


class _Finder:
    """Matches the last product of a GELU, in whichever order it was written."""

    def __init__(self, model: ModelProto, weights: Mapping[str, TensorProto], folder: str, wanted: Set[str]) -> None:
        self.tracer = Tracer(model, folder, weights)
        self.dropped: set[int] = set()
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._readers = Counter(name for node in model.graph.node for name in node.input)
        self._kept = {*wanted, *(v.name for v in model.graph.output)}

    def of(self, node: NodeProto) -> tuple[str, str, str, str] | None:
        """Names of y, x, x / sqrt(2) and its erf where ``node`` ends a GELU; its inner nodes are then dropped."""
        if node.op_type != "Mul" or self.tracer.dtypes.get(node.output[0]) != TensorProto.FLOAT:
            return None
        for x, sum_, inner in self._products(node):
            erf = self._scalar(sum_, "Add", 1.0)
            argument = self._inner(erf, "Erf") if erf else None
            if erf is None or argument is None:
                continue
            scaled = argument.input[0]
            u = self._makers.get(scaled)
            if u is None or x not in u.input or not self._kept.isdisjoint((erf, scaled)):
                continue  # as one function, nothing would arrive at a tap on its erf
            if self._scaled(u, x):
                self.dropped.update(id(one) for one in (*inner, self._makers[sum_]))
                return node.output[0], x, scaled, erf
        return None

    def _products(self, node: NodeProto) -> list[tuple[str, str, list[NodeProto]]]:
        """Candidates for (x, 1 + erf, nodes between): ``x * (1 + erf) / 2`` with the half at any of the three."""
        found = []
        for one, other in (node.input, node.input[::-1]):
            if self._number(other) == 0.5 and (inner := self._inner(one, "Mul")) is not None:
                found += [(a, b, [inner]) for a, b in (inner.input, inner.input[::-1])]
            inner = self._inner(one, "Mul")
            half = self._scalar(one, "Mul", 0.5) if inner is not None else None
            if half is not None and inner is not None:
                found += [(half, other, [inner]), (other, half, [inner])]
        return found

    def _inner(self, name: str, op: str) -> NodeProto | None:
        """The node that makes a tensor, where nobody else reads it; others may read Erf's output."""
        node = self._makers.get(name)
        if node is None or node.op_type != op or node.domain not in ("", "ai.onnx"):
            return None
        alone = self._readers[name] == 1 and name not in self._kept
        return node if alone or op == "Erf" else None

    def _scalar(self, name: str, op: str, number: float) -> str | None:
        """The operand beside a number."""
        node = self._inner(name, op)
        if node is None or attributes_of(node):
            return None
        for one, other in (node.input, node.input[::-1]):
            if self._number(other) == number:
                return str(one)
        return None

    def _scaled(self, node: NodeProto, x: str) -> bool:
        """Whether a node is ``x / sqrt(2)``."""
        if node.op_type == "Div":
            number = self._number(node.input[1]) if node.input[0] == x else None
            return number is not None and math.isclose(number, math.sqrt(2.0), rel_tol=1e-6)
        if node.op_type == "Mul":
            number = self._number(node.input[1] if node.input[0] == x else node.input[0])
            return number is not None and math.isclose(number, math.sqrt(0.5), rel_tol=1e-6)
        return False

    def _number(self, name: str) -> float | None:
        """The value of a constant with one element."""
        shape = self.tracer.shapes.get(name)
        if name not in self.tracer.constants or shape is None or len(shape) > 1:
            return None
        content = self.tracer.constants.get(name)
        return float(np.asarray(content).item()) if content is not None and content.size == 1 else None
