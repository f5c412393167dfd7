"""The table of operators: for each its VJP and what kind it is. Filled by the family files of ``ops``.

    @backward("Reshape", "Flatten", kind="move")
    def reshape(call, g):
        return [call.t.reshape_like(g, call.x)]

    slope("Tanh", lambda c: 1.0 - c.y * c.y)

A VJP gets the cotangent of the first output, or with ``every=True`` a list with one entry per output, and gives one
entry per input; trailing Nones may be left out. Slopes are written in terms of outputs where that is possible: the
runtime can then still fuse the activation with the convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from onnx import NodeProto

from xplain.core.rules import Kind

if TYPE_CHECKING:
    from xplain.graph.call import NodeCall
    from xplain.graph.tracer import Value

__all__ = ["NO_GRADIENT", "Operator", "backward", "find_operator", "key_of", "operators", "slope"]

KindOf: TypeAlias = "Kind | Callable[[NodeCall], Kind]"

NO_GRADIENT = frozenset(
    {
        "Shape", "Size", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "And", "Or", "Xor",
        "ArgMax", "ArgMin", "NonZero", "Floor", "Ceil", "Round", "Sign", "ConstantOfShape", "Range", "OneHot",
        "IsNaN", "IsInf", "EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "Bernoulli", "Multinomial", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
        "NonMaxSuppression", "Constant", "StringNormalizer", "Unique",
    }
)  # fmt: skip
"""Operators whose derivative is zero almost everywhere, or that do not compute with their input's values."""


@dataclass(frozen=True)
class Operator:
    """What is known of an operator type.

    Args:
        vjp: ``(call, cotangents per output) -> cotangents per input``.
        kind: What it does, or how to tell from the call.
        weight: Which input is the weight when input 0 is the data.
        bias: Which input is the bias.
        flow: Inputs that carry a derivative; None for all. The others are indices, shapes, axes.
        axes: The axes that it runs over, from the call.
    """

    vjp: Callable[[NodeCall, Sequence[Value | None]], Sequence[Value | None]]
    kind: KindOf
    weight: int | None = None
    bias: int | None = None
    flow: tuple[int, ...] | None = None
    axes: Callable[[NodeCall], list[int]] | None = None

    def kind_of(self, call: NodeCall) -> Kind:
        """What the operator does to the active inputs of ``call``."""
        return self.kind(call) if callable(self.kind) else self.kind


_TABLE: dict[str, Operator] = {}


def key_of(node: NodeProto) -> str:
    """The name under which an operator is found: its type, with the domain in front if not the standard one."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def find_operator(node: NodeProto) -> Operator | None:
    """What is known of a node's operator; None where it has no backward rule."""
    return _TABLE.get(key_of(node))


def operators() -> frozenset[str]:
    """All operators that have a backward rule."""
    return frozenset(_TABLE)


def backward(
    *names: str,
    kind: KindOf,
    weight: int | None = None,
    bias: int | None = None,
    flow: tuple[int, ...] | None = None,
    every: bool = False,
    axes: Callable[[NodeCall], list[int]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a VJP; see ``Operator`` for the arguments.

    With ``every`` it gets the list of all outputs' cotangents, otherwise that of the first output alone.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def first_only(call: NodeCall, g: Sequence[Value | None]) -> Sequence[Value | None]:
            return [None] * len(call.inputs) if g[0] is None else function(call, g[0])

        for name in names:
            _TABLE[name] = Operator(function if every else first_only, kind, weight, bias, flow, axes)
        return function

    return register


def slope(names: str, derivative: Callable[[NodeCall], Value]) -> None:
    """Register element-wise operators by their derivative, which on integers that stand for real numbers may be one."""
    for name in names.split():
        backward(name, kind="slope")(lambda call, g: [g * call.t.cast(derivative(call), g.dtype)])
