"""Find quotients and softmaxes that exporters wrote out, for rules that compare two passes.

    x * (n / b),  x * b^-1,  x * v^-0.5    are    x n / b,  x / sqrt(v)                 n a constant
    exp(z) / sum(exp(z))                    is    softmax(x)                            z = x, or x less its maximum
    log(softmax(x)),  z - log(sum(exp(z)))  are   log-softmax(x)

A slope does not care how a function is written, a difference does: over the parts of a softmax, or over 1 / b between
a small divisor and a large one, multipliers of opposite signs and any size meet, and nothing is left of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from xplain.graph.build.tracer import Tracer
from xplain.graph.nodes import attributes_of, opset_of
from xplain.graph.operators import facts_of
from xplain.graph.passes.chain import Chain

__all__ = ["write_ratios"]

_ONE_AXIS = 13
"""The opset from which on a softmax runs over one axis."""


def write_ratios(model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "") -> None:
    """Write quotients and softmaxes as such, in place; every tensor keeps its name and value."""
    if not any(facts_of(node).partial or node.op_type == "Exp" for node in model.graph.node):
        return  # it neither divides nor raises to a power
    finder = _Finder(model, weights, folder)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        made = finder.written(node)
        for part in made:
            finder.makers.update((name, part) for name in part.output)
        nodes.extend(made)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Finder:
    """Looks from a node to those before it."""

    def __init__(self, model: ModelProto, weights: Mapping[str, TensorProto], folder: str) -> None:
        self.model, self.tracer = model, Tracer(model, folder, weights)
        self.makers = {name: node for node in model.graph.node for name in node.output}

    def written(self, node: NodeProto) -> list[NodeProto]:
        """What takes the place of a node."""
        if node.domain not in ("", "ai.onnx"):
            return [node]
        if node.op_type == "Mul":
            node, before = self._quotient(node)
        else:
            before = []
        found = self._softmax(node) if opset_of(self.model) >= _ONE_AXIS else None
        return [*before, found or node]

    # ------------------------------------------------------------------ quotients

    def _quotient(self, node: NodeProto) -> tuple[NodeProto, list[NodeProto]]:
        """A product with something over a divisor as a quotient, and the nodes that it needs."""
        for x, other in (node.input, node.input[::-1]):
            chain = Chain(self.model, f"{node.output[0]}/ratio")
            over = self._over(other, chain)
            if over is None or x in self.tracer.constants:
                continue
            above, below = over
            if above:
                x = chain("Mul", x, above)
            ratio = helper.make_node("Div", [x, below], [node.output[0]], name=node.name)
            return ratio, chain.nodes
        if any(name in self.tracer.constants for name in node.input):  # n * (1 / b), for products further on
            for n, other in (node.input, node.input[::-1]):
                over = self._over(other, Chain(self.model, f"{node.output[0]}/ratio"))
                if over is not None and not over[0] and n in self.tracer.constants and self._simple(other):
                    return helper.make_node("Div", [n, over[1]], [node.output[0]], name=node.name), []
        return node, []

    def _simple(self, name: str) -> bool:
        """Whether a divisor is a tensor that is there already."""
        node = self._maker(name)
        return node is not None and node.op_type in ("Reciprocal", "Div")

    def _over(self, name: str, chain: Chain) -> tuple[str, str] | None:
        """A tensor as ``above / below``, where it is a constant over something; ``above`` is empty for 1."""
        node = self._maker(name)
        if node is None or name in self.tracer.constants:
            return None
        if node.op_type == "Reciprocal":
            return "", node.input[0]
        if node.op_type == "Div" and node.input[0] in self.tracer.constants:
            return ("" if self._number(node.input[0]) == 1.0 else node.input[0]), node.input[1]
        power = self._number(node.input[1]) if node.op_type == "Pow" else None
        if power == -1.0:
            return "", node.input[0]
        return ("", chain("Sqrt", node.input[0])) if power == -0.5 else None

    # ------------------------------------------------------------------ softmax

    def _softmax(self, node: NodeProto) -> NodeProto | None:
        """The softmax, or its logarithm, that a node ends."""
        if node.op_type == "Div":
            above, below = self._maker(node.input[0], "Exp"), self._summed(node.input[1])
            if above is None or below is None or above.input[0] != below[0]:
                return None
            return self._made("Softmax", *below, node)
        if node.op_type == "Log":
            inner = self._maker(node.input[0], "Softmax")
            axis = None if inner is None else attributes_of(inner).get("axis", -1)
            return None if inner is None else self._made("LogSoftmax", inner.input[0], int(axis or 0), node)
        if node.op_type == "Sub":
            log = self._maker(node.input[1], "Log")
            total = None if log is None else self._summed(log.input[0])
            if total is not None and total[0] == node.input[0]:
                return self._made("LogSoftmax", *total, node)
        return None

    def _made(self, op: str, z: str, axis: int, node: NodeProto) -> NodeProto:
        """The node, on what was there before a shift."""
        return helper.make_node(op, [self._unshifted(z, axis)], [node.output[0]], name=node.name, axis=axis)

    def _summed(self, name: str) -> tuple[str, int] | None:
        """``z`` and the axis where a tensor is the sum of exp(z) over one axis, which stays."""
        node = self._maker(name, "ReduceSum")
        inner = None if node is None else self._maker(node.input[0], "Exp")
        axis = None if node is None else self._axis(node)
        return None if inner is None or axis is None else (str(inner.input[0]), axis)

    def _unshifted(self, z: str, axis: int) -> str:
        """``x`` where z = x - max(x) over the same axis."""
        node = self._maker(z, "Sub")
        top = None if node is None else self._maker(node.input[1], "ReduceMax")
        if node is None or top is None or top.input[0] != node.input[0]:
            return z
        shape = self.tracer.shapes.get(z)
        places = [self._axis(top), axis]
        if shape is not None:
            places = [None if place is None else place % len(shape) for place in places]
        return str(node.input[0]) if places[0] == places[1] and places[0] is not None else z

    def _axis(self, node: NodeProto) -> int | None:
        """The one axis of a reduction that keeps it."""
        attributes = attributes_of(node)
        axes: Any = attributes.get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.tracer.constants.get(node.input[1])
        if axes is None or np.size(axes) != 1 or not attributes.get("keepdims", 1):
            return None
        return int(np.asarray(axes).reshape(-1)[0])

    # ------------------------------------------------------------------ looking back

    def _maker(self, name: str, op: str = "") -> NodeProto | None:
        node = self.makers.get(name)
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        return node if not op or node.op_type == op else None

    def _number(self, name: str) -> float | None:
        """The value of a constant with one element."""
        content = self.tracer.constants.get(name) if name in self.tracer.constants else None
        return float(np.asarray(content).item()) if content is not None and np.size(content) == 1 else None
