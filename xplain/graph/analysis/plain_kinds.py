"""Element types and shapes of operators that say them at a glance: what is made element by element, moved or rounded.

Three nodes in four of a sweep are such, and ONNX, asked about one, takes twenty times as long as a look at its inputs.
What is said here is what ONNX says, to the extent: ``tests/graph/test_inference.py`` compares over shapes, types,
versions and names of free extents. Where it is not certain, nothing is said, and ONNX is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from onnx import NodeProto, TensorProto

__all__ = ["PLAIN", "plain_kind"]

Kind: TypeAlias = "tuple[int, tuple[int | str | None, ...] | None]"
Shape: TypeAlias = "tuple[int | str | None, ...]"

_OLDEST = 11
"""The first version of the operators that this holds for."""

_REAL = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})
_NUMBERS = _REAL | {TensorProto.INT32, TensorProto.INT64}
_BYTES = frozenset({TensorProto.UINT8, TensorProto.INT8})
"""What operators take in every version, of what sweeps and models mostly hold."""


def plain_kind(node: NodeProto, kinds: Mapping[str, Kind], version: int) -> Kind | None:
    """Element type and shape of a node's only output; None where ONNX has to be asked.

    Args:
        node: A node of the standard set.
        kinds: Of its inputs.
        version: Of the operators.
    """
    say = PLAIN.get(node.op_type)
    if say is None or version < _OLDEST or len(node.output) != 1:
        return None
    given = []
    for name in node.input:
        kind = kinds.get(name)
        if kind is None or not kind[0] or kind[1] is None:
            return None
        given.append((kind[0], kind[1]))
    return say(node, given) if given else None


def _same(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    """What a function of each element makes."""
    return given[0] if given[0][0] in _REAL and len({dtype for dtype, _ in given}) == 1 else None


def _together(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    """What a function of two elements makes of broadcast tensors."""
    (one, a), (other, b) = given
    shape = _broadcast(a, b) if one == other and one in _NUMBERS else None
    return None if shape is None else (one, shape)


def _compared(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    found = _together(node, given)
    return None if found is None else (int(TensorProto.BOOL), found[1])


def _decided(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    (one, a), (other, b) = given
    shape = _broadcast(a, b) if one == other == TensorProto.BOOL else None
    return None if shape is None else (one, shape)


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape of two tensors together; None where they do not fit, or where extents of other names meet."""
    if a == b and None not in a:
        return a
    if len(a) < len(b):
        a, b = b, a
    found = list(a)
    for k, (one, other) in enumerate(zip(a[len(a) - len(b) :], b, strict=True), len(a) - len(b)):
        if one == other and one is not None:
            continue
        if one == 1 and other is not None:
            found[k] = other
        elif other == 1 and one is not None:
            found[k] = one
        else:
            return None
    return tuple(found)


def _cast(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    to = next((int(one.i) for one in node.attribute if one.name == "to"), 0)
    known = _NUMBERS | _BYTES | {TensorProto.BOOL}
    return (to, given[0][1]) if to in known and given[0][0] in known else None


def _quantised(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    """Integers of the zero point's type."""
    if len(given) != 3 or node.attribute:
        return None
    (x, shape), (scale, _), (zero, _) = given
    return (zero, shape) if x == scale == TensorProto.FLOAT and zero in _BYTES else None


def _real(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    """Real numbers of the scale's type, which was float32 in all versions."""
    if len(given) < 2 or node.attribute:
        return None
    (x, shape), (scale, _), *zero = given
    alike = all(one == x for one, _ in zero)
    return (scale, shape) if scale == TensorProto.FLOAT and x in _BYTES | {TensorProto.INT32} and alike else None


def _turned(node: NodeProto, given: Sequence[tuple[int, Shape]]) -> Kind | None:
    (dtype, shape), *_ = given
    order = next((list(one.ints) for one in node.attribute if one.name == "perm"), [])
    if not order or sorted(order) != list(range(len(shape))) or dtype not in _NUMBERS | _BYTES:
        return None
    return dtype, tuple(shape[k] for k in order)


PLAIN: dict[str, Callable[[NodeProto, Sequence[tuple[int, Shape]]], Kind | None]] = {
    **dict.fromkeys(
        (
            "Abs", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Neg",
            "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Softplus", "Sqrt", "Tanh",
        ),
        _same,
    ),
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _together),
    **dict.fromkeys(("And", "Or"), _decided),
    **dict.fromkeys(("Equal", "Greater", "Less"), _compared),
    "Cast": _cast,
    "DequantizeLinear": _real,
    "Identity": lambda node, given: given[0] if given[0][0] in _NUMBERS else None,
    "QuantizeLinear": _quantised,
    "Transpose": _turned,
}  # fmt: skip
"""Operators to how what they make follows from what they read."""
