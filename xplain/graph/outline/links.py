"""From probabilities back to the logits that they are made of, through whatever an exporter or a person wrote between.

    p = softmax(z), sigmoid(z)               also written out, by exp, sum and quotient, or by tanh
    exp(log p), log p, 1 - p                 the other way round, or the other class
    p * c, p + eps, clip(p, eps, 1 - eps)    what leaves the logits as they are
    p[:, picked], concat(p, q), reshape(p)   done to the logits instead
    top-k of p                               its columns are ranks, not classes: the logits of all classes are read

Where a step cannot be undone, as for a mean of two softmaxes, it is known at least whether numbers are probabilities:
``bounds`` says between what they must lie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from xplain.core.edits import Array
from xplain.core.facts import Link
from xplain.graph.intake.load import Loaded
from xplain.graph.nodes import attributes_of
from xplain.graph.operators import facts_of

__all__ = ["Back", "Logits"]

Bounds: TypeAlias = tuple[float, float]
_DEEPEST = 64
_SHIFT = 1e-3
"""A number added to probabilities, or cut off them, that is no more than guards a logarithm."""
_ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Logits:
    """The logits behind a tensor.

    Args:
        tensor: Their name.
        link: What turns them into probabilities; empty where some classes were left out, so that nothing here does.
        level: Whether the tensor that was undone holds probabilities or their logarithms.
        op: The operator that was undone, as a person would say.
        way: Operators between it and the output, last first.
        nodes: What must be added to the model to make the tensor.
        constants: What these nodes read besides.
    """

    tensor: str
    link: Link
    level: Literal["p", "log p"] = "p"
    op: str = ""
    way: tuple[str, ...] = ()
    nodes: tuple[NodeProto, ...] = ()
    constants: tuple[TensorProto, ...] = ()


class Back:
    """Walks back from a tensor.

    Args:
        loaded: The model.
        makers: The node that makes each tensor.
    """

    def __init__(self, loaded: Loaded, makers: dict[str, NodeProto]) -> None:
        self.loaded, self.makers = loaded, makers

    def logits(self, name: str, depth: int = 0) -> Logits | None:
        """The logits behind ``name``; None where it is not known to be made of probabilities that can be undone."""
        at, passed = name, list[str]()
        while (node := self.makers.get(at)) is not None and self._hands_on(node, at):
            at = node.input[0]
            passed.append(node.op_type)
        if node is None or depth > _DEEPEST:
            return None
        found = self._undone(node, at, depth)
        return None if found is None else replace(found, way=(*passed, *found.way))

    def _hands_on(self, node: NodeProto, name: str) -> bool:
        """Whether a node's output is its input in another shape or type, or its largest numbers."""
        what = facts_of(node)
        one_axis = node.op_type == "Transpose" and self._one_axis(node.input[0])
        return what.repacks or what.rounds or one_axis or (node.op_type == "TopK" and name == node.output[0])

    def _undone(self, node: NodeProto, name: str, depth: int) -> Logits | None:
        """The logits behind what a node computes."""
        if (linked := self._link(node)) is not None:
            return linked
        if node.op_type in ("Exp", "Log"):
            found, wanted = self.logits(node.input[0], depth + 1), "log p" if node.op_type == "Exp" else "p"
            other: Literal["p", "log p"] = "p" if node.op_type == "Exp" else "log p"
            return None if found is None or found.level != wanted else _passed(replace(found, level=other), node)
        if node.op_type == "Concat" or _picks(node):
            return self._again(node, name, depth)
        return self._scaled(node, depth)

    def _through(self, node: NodeProto, inner: str, depth: int) -> Logits | None:
        found = self.logits(inner, depth + 1)
        return None if found is None else _passed(found, node)

    def _one_axis(self, name: str) -> bool:
        """Whether only one axis behind the batch is longer than 1."""
        shape = self.loaded.known.shapes.get(name)
        return shape is not None and sum(extent > 1 for extent in shape[1:]) <= 1

    # ------------------------------------------------------------------ softmax and sigmoid, in one operator or several

    def _link(self, node: NodeProto) -> Logits | None:
        link = facts_of(node).link
        if link and facts_of(node).scale is None:
            level: Literal["p", "log p"] = "log p" if node.op_type.startswith("Log") else "p"
            return Logits(node.input[0], link, level, node.op_type)
        return self._softmax(node) or self._log_softmax(node) or self._sigmoid(node) or self._tanh(node)

    def _softmax(self, node: NodeProto) -> Logits | None:
        """``exp(z) / sum exp(z)``, by a quotient or by the reciprocal of the sum."""
        for top, below in self._quotients(node):
            raised, total = self._made(top, "Exp"), self._made(below, "ReduceSum")
            if raised is not None and total is not None and self._same(total.input[0], top):
                return Logits(self._unshifted(raised.input[0]), "softmax", "p", "a softmax written out")
        return None

    def _quotients(self, node: NodeProto) -> list[tuple[str, str]]:
        if node.op_type == "Div":
            return [(node.input[0], node.input[1])]
        if node.op_type != "Mul":
            return []
        pairs = (tuple(node.input), tuple(node.input)[::-1])
        return [(a, found.input[0]) for a, b in pairs if (found := self._made(b, "Reciprocal")) is not None]

    def _log_softmax(self, node: NodeProto) -> Logits | None:
        """``z - log sum exp(z)``."""
        if node.op_type != "Sub":
            return None
        z, total = node.input
        log = self._made(total, "ReduceLogSumExp")
        if log is None and (outer := self._made(total, "Log")) is not None:
            summed = self._made(outer.input[0], "ReduceSum")
            log = None if summed is None else self._made(summed.input[0], "Exp")
        if log is None or not self._same(log.input[0], z):
            return None
        return Logits(self._unshifted(z), "softmax", "log p", "a log-softmax written out")

    def _sigmoid(self, node: NodeProto) -> Logits | None:
        """``1 / (1 + exp(-z))``."""
        if node.op_type == "Reciprocal":
            below = node.input[0]
        elif node.op_type == "Div" and self._number(node.input[0]) == 1.0:
            below = node.input[1]
        else:
            return None
        added = self._made(below, "Add")
        sides = [] if added is None else [(added.input[0], added.input[1]), (added.input[1], added.input[0])]
        for one, rest in sides:
            raised = self._made(rest, "Exp")
            if raised is not None and self._number(one) == 1.0:
                found = self._negated(raised.input[0])
                return found and replace(found, link="sigmoid", op="a sigmoid written out")
        return None

    def _negated(self, name: str) -> Logits | None:
        """The tensor of which ``name`` is the negative."""
        node = self.makers.get(name)
        if node is not None and node.op_type == "Neg":
            return Logits(node.input[0], "")
        if node is not None and node.op_type == "Mul":
            for a, b in (tuple(node.input), tuple(node.input)[::-1]):
                if self._number(b) == -1.0:
                    return Logits(a, "")
        made = f"{name}.negated"
        return Logits(made, "", nodes=(helper.make_node("Neg", [name], [made], name=made),))

    def _tanh(self, node: NodeProto) -> Logits | None:
        """``tanh(z) / 2 + 1 / 2``, which is a sigmoid of ``2 z``."""
        factor, shift, name = 1.0, 0.0, node.output[0]
        for _ in range(3):
            maker = self.makers.get(name)
            step = None if maker is None else self.affine(maker)
            if step is None:
                break
            name, times, plus = step
            factor, shift = factor * times, shift + factor * plus
        maker = self._made(name, "Tanh")
        if maker is None or (factor, shift) != (0.5, 0.5):
            return None
        doubled = f"{maker.input[0]}.doubled"
        twice = helper.make_node("Add", [maker.input[0], maker.input[0]], [doubled], name=doubled)
        return Logits(doubled, "sigmoid", "p", "a sigmoid written with tanh", nodes=(twice,))

    def _unshifted(self, z: str) -> str:
        """Logits before their largest was subtracted."""
        node = self._made(z, "Sub")
        largest = None if node is None else self.makers.get(node.input[1])
        if node is None or largest is None or largest.op_type != "ReduceMax":
            return z
        return node.input[0] if self._same(largest.input[0], node.input[0]) else z

    # ------------------------------------------------------------------ what leaves the logits, or moves them

    def _scaled(self, node: NodeProto, depth: int) -> Logits | None:
        """Probabilities in per cent, or with a small number against log(0); 1 - p has the negative logit."""
        if node.op_type == "Clip" or node.op_type in ("Max", "Min"):
            low, high = self._clipped(node)
            kept = low <= _SHIFT and high >= 1.0 - _SHIFT
            inner = next((n for n in node.input if self._number(n) is None), "")
            return self._through(node, inner, depth) if kept and inner else None
        step = self.affine(node)
        if step is None:
            return None
        inner, factor, shift = step
        found = self.logits(inner, depth + 1)
        if found is None or found.level != "p":
            return None
        if factor > 0 and abs(shift) <= _SHIFT:
            return _passed(found, node)
        if (factor, shift) != (-1.0, 1.0) or found.link != "sigmoid":
            return None
        name = f"{found.tensor}.other"
        other = helper.make_node("Neg", [found.tensor], [name], name=name)
        return _passed(replace(found, tensor=name, nodes=(*found.nodes, other)), node)

    def affine(self, node: NodeProto) -> tuple[str, float, float] | None:
        """What a node multiplies by a number, or adds one to: the tensor, the factor and the shift."""
        if not (facts_of(node).elementwise and facts_of(node).linear) or len(node.input) != 2:
            return None
        a, b = node.input
        left, right = self._number(a), self._number(b)
        if (left is None) == (right is None) or node.op_type in ("Sum", "Mean"):
            return None
        if node.op_type in ("Mul", "Add"):
            number, name = (left, b) if right is None else (right, a)
            assert number is not None
            return (name, number, 0.0) if node.op_type == "Mul" else (name, 1.0, number)
        if right is not None:
            return (a, 1.0 / right, 0.0) if node.op_type == "Div" and right else (a, 1.0, -right)
        return (b, -1.0, left or 0.0) if node.op_type == "Sub" else None

    def _again(self, node: NodeProto, name: str, depth: int) -> Logits | None:
        """Classes that are picked, or heads that are joined: the same is done to the logits."""
        several = node.op_type == "Concat"
        found = [self.logits(n, depth + 1) for n in (node.input if several else node.input[:1])]
        inner = [one for one in found if one is not None]
        if len(inner) < len(found) or len({one.level for one in inner}) > 1 or any("TopK" in one.way for one in inner):
            return None
        inner = [self._shaped(one, given) for one, given in zip(inner, node.input, strict=False)]
        made = f"{name}.logits"
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = made
        for k, one in enumerate(inner):
            copy.input[k] = one.tensor
        for k, out in enumerate(node.output):
            copy.output[k] = made if out == name else f"{made}/{k}" if out else ""
        links = {one.link for one in inner}
        whole = links == {"sigmoid"} or self._reorders(node, name)
        return replace(
            _passed(inner[0], node),
            tensor=made,
            link=inner[0].link if whole else "",
            nodes=tuple({n.name: n for n in (*(n for one in inner for n in one.nodes), copy)}.values()),
            constants=tuple(t for one in inner for t in one.constants),
        )

    def _shaped(self, found: Logits, like: str) -> Logits:
        """Logits that were repacked on the way, in the shape of the probabilities ``like``."""
        shapes = [self.loaded.known.shapes.get(one) for one in (found.tensor, like)]
        if not found.way or (None not in shapes and shapes[0] == shapes[1]):
            return found
        made = f"{like}.shaped"
        shape = helper.make_node("Shape", [like], [f"{made}.shape"], name=f"{made}.shape")
        reshape = helper.make_node("Reshape", [found.tensor, f"{made}.shape"], [made], name=made)
        return replace(found, tensor=made, nodes=(*found.nodes, shape, reshape))

    def _reorders(self, node: NodeProto, name: str) -> bool:
        """Whether classes that are picked are all there are."""
        before, after = (self.loaded.known.shapes.get(n) for n in (node.input[0], name))
        index = self.loaded.content(node.input[1]) if node.op_type == "Gather" else None
        return index is not None and before == after and len(set(index.ravel().tolist())) == index.size

    # ------------------------------------------------------------------ between what numbers lie

    def bounds(self, name: str, depth: int = 0) -> Bounds:
        """Between what all elements of a tensor must lie."""
        node = self.makers.get(name)
        number = self.loaded.content(name) if node is None or node.op_type == "Constant" else None
        if number is not None and number.dtype.kind == "f" and number.size:
            return float(number.min()), float(number.max())
        if node is None or depth > _DEEPEST:
            return _ANYTHING
        what = facts_of(node)
        if (what.low, what.high) != _ANYTHING and what.high < math.inf:
            return what.low, what.high

        def of(which: str) -> Bounds:
            return self.bounds(which, depth + 1)

        if node.op_type == "Clip":
            low, high = self._clipped(node)
            inside = of(node.input[0])
            return max(low, inside[0]), min(high, inside[1])
        if what.steps == (0, None) or node.op_type == "Mean":
            sides = [of(n) for n in node.input]
            return min(low for low, _ in sides), max(high for _, high in sides)
        if what.steps == (0, 1) or what.repacks or what.rounds or node.op_type in ("ReduceMean", "Slice"):
            return of(node.input[0])
        if what.elementwise and what.linear:
            return self._arithmetic(node, [of(n) for n in node.input])
        if node.op_type == "Log":
            inside = of(node.input[0])
            return (-math.inf, math.log(inside[1])) if inside[0] >= 0.0 and 0.0 < inside[1] < math.inf else _ANYTHING
        if node.op_type == "Exp":
            inside = of(node.input[0])
            return (0.0, math.exp(inside[1])) if inside[1] < 50.0 else (0.0, math.inf)
        return what.low, what.high

    def _arithmetic(self, node: NodeProto, sides: list[Bounds]) -> Bounds:
        if any(math.isinf(v) for side in sides for v in side) or (len(sides) != 2 and node.op_type != "Sum"):
            return _ANYTHING
        if node.op_type in ("Add", "Sum"):
            return sum(low for low, _ in sides), sum(high for _, high in sides)
        (a, b), (c, d) = sides
        if node.op_type == "Sub":
            return a - d, b - c
        if node.op_type == "Div":
            if c <= 0.0 <= d:
                return _ANYTHING
            c, d = 1.0 / d, 1.0 / c
        corners = (a * c, a * d, b * c, b * d)
        return min(corners), max(corners)

    # ------------------------------------------------------------------ small questions

    def _clipped(self, node: NodeProto) -> Bounds:
        given = attributes_of(node)
        low, high = float(given.get("min", -math.inf)), float(given.get("max", math.inf))
        numbers = [self._number(n) if n else None for n in node.input]
        if node.op_type == "Clip":
            stated = [*numbers[1:], None, None]
            return (low if stated[0] is None else stated[0]), (high if stated[1] is None else stated[1])
        known = [n for n in numbers if n is not None]
        if node.op_type == "Max":
            return (max(known), math.inf) if known else _ANYTHING
        return (-math.inf, min(known)) if known else _ANYTHING

    def _made(self, name: str, op: str) -> NodeProto | None:
        """The operator ``op`` that makes ``name``, seen through what only repacks."""
        node = self.makers.get(name)
        while node is not None and node.op_type != op and facts_of(node).repacks:
            node = self.makers.get(node.input[0])
        return node if node is not None and node.op_type == op else None

    def _same(self, one: str, other: str) -> bool:
        """Whether two tensors are one, or made in the same way of one; exporters may write a node twice."""
        if one == other:
            return True
        a, b = self.makers.get(one), self.makers.get(other)
        alike = a is not None and b is not None and a.op_type == b.op_type and len(a.input) == len(b.input)
        return bool(alike) and all(x == y for x, y in zip(a.input, b.input, strict=True))  # type: ignore[union-attr]

    def _number(self, name: str) -> float | None:
        """The number that a constant holds, in every element; None for others."""
        node = self.makers.get(name)
        content: Array | None = self.loaded.content(name)
        if content is None and node is not None and node.op_type == "Constant":
            value = attributes_of(node).get("value")
            content = None if value is None else numpy_helper.to_array(value)
        if content is None or content.dtype.kind not in "fiu" or not content.size:
            return None
        values = np.unique(content.astype(np.float64))
        return float(values[0]) if len(values) == 1 else None


def _picks(node: NodeProto) -> bool:
    """Whether a node takes some of its first input's elements, along axes that stay where they are."""
    what = facts_of(node)
    return (
        what.linear == "first" and what.steps == (0, 1) and what.axes == "same" and node.op_type not in ("Pad", "Tile")
    )


def _passed(found: Logits, node: NodeProto) -> Logits:
    return replace(found, way=(node.op_type, *found.way))
