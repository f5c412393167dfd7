"""What operators add of themselves: the bias gradients of FullGrad, position by position of what each makes.

An operator turns what it reads into ``y(x)``. The part of the target that its inputs' gradients account for is
``sum of x dx``, where what it makes accounts for ``y dy``; the difference,

    dy * (y - J x),        J the operator's own derivative,

is what it adds itself. For a dense layer or a convolution that is ``dy * b``, the gradient of the bias times the bias.
A rectifier adds nothing; a sigmoid, a softmax or a normalisation has the bias of its tangent at x ("implicit biases").
Over a whole graph these differences telescope: ``f(x) = sum of x dx + sum over operators``, whatever the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xplain.core.swept import BIAS
from xplain.graph.build.tracer import Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.ops.call import NodeCall, Visit

__all__ = ["biases_of"]


def biases_of(visits: Sequence[Visit], real: Callable[[str], Value]) -> dict[str, Value]:
    """``dy (y - J x)`` of every visited operator that adds something: key of its output to values of that shape.

    Args:
        visits: A walk of gradients.
        real: A tensor as real numbers, which integers of a quantised model stand for. What rounds and clips to integers
            adds what it rounds and clips.
    """
    found = {}
    for visit in visits:
        g = visit.received[0]
        if g is not None:
            added = _added(visit.call, g, visit.passed, real)
            if added is not None:
                found[BIAS + visit.call.node.output[0]] = added
    return found


def _added(call: NodeCall, g: Value, passed: Sequence[Value | None], real: Callable[[str], Value]) -> Value | None:
    """One operator's part; None where it adds nothing, or it is not known how much falls to which position."""
    if call.facts.homogeneous:
        return None
    if call.kind == "linear":
        bare = call.b is not None and not call.active[_place(call, call.b)]
        return g * (call.y - call.forward(call.x, call.w).y) if bare else None
    reached = [k for k, one in enumerate(passed) if one is not None and call.active[k]]
    if call.kind in ("sum", "move") and call.y.dtype in FLOATS and not call.facts.integer:
        return _constants(call, g)
    if len(reached) == 1 and _alike(call.need(reached[0]), call.y):
        (k,) = reached
        x, y = (one if one.dtype in FLOATS else real(one.name) for one in (call.need(k), call.y))
        return g * y - passed[k] * x
    if call.kind == "product" and len(reached) == 2:
        # of the second degree in what it reads, so its tangent is twice itself less itself; a quotient is of degree 0
        return -(g * call.y) if call.facts.linear == "either" else g * call.y
    return None


def _constants(call: NodeCall, g: Value) -> Value | None:
    """Of a sum, or of what joins tensors: what is left when the inputs that lead to a tap are taken off."""
    first, behind = call.facts.steps or (0, len(call.inputs) if call.kind == "sum" else 0)
    data = range(first, len(call.inputs) if behind is None else behind)
    numbers = [
        k for k in range(len(call.inputs)) if call.has(k) and not call.active[k] and call.need(k).dtype in FLOATS
    ]
    given = [k for k in numbers if k in data or call.need(k).shape == ()]  # one number alone: what Pad fills in
    if not given:
        return None
    t = call.t
    blank = [None if v is None else t.zeros_like(v, v.dtype) if k in given else v for k, v in enumerate(call.inputs)]
    return g * (call.y - call.again(*blank).y)


def _place(call: NodeCall, value: Value) -> int:
    return next(k for k, one in enumerate(call.inputs) if one is not None and one.name == value.name)


def _alike(one: Value, other: Value) -> bool:
    """Whether an operator's input and output are known to be of one shape, or to run element by element."""
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return False
    pairs = zip(one.shape, other.shape, strict=True)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs)
