"""Operators on several tensors of broadcast shapes: sums, products, quotients, powers."""

from __future__ import annotations

from collections.abc import Callable

from xplain.core.rules import Kind
from xplain.graph.build.tracer import Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.finite import held, may_be_infinite


def _each(call: NodeCall, *parts: Callable[[], Value]) -> list[Value | None]:
    """Evaluate the cotangent of each active input, and undo broadcasting."""
    return [call.shaped(part(), k) if call.active[k] else None for k, part in enumerate(parts)]


def _product(call: NodeCall) -> Kind:
    return "product" if sum(call.active) > 1 else "scale"


def _quotient(call: NodeCall) -> Kind:
    if sum(call.active) > 1:
        return "product"
    return "scale" if call.active[0] else "slope"


facts("Add Sub Sum Mean Mul Div Pow Mod", elementwise=True, axes="same")
facts("Add Sub Sum Mean", linear="all")
facts("Add Sum Mean", adds=True)
facts("Mul", linear="either")
facts("Div", linear="first", partial=True)
facts("Pow", partial=True, placed=True)


@backward("Add", kind="sum")
def add(call: NodeCall, g: Value) -> list[Value | None]:
    """d(a + b) = da + db."""
    return _each(call, lambda: g, lambda: g)


@backward("Sub", kind="sum")
def sub(call: NodeCall, g: Value) -> list[Value | None]:
    """d(a - b) = da - db."""
    return _each(call, lambda: g, lambda: -g)


@backward("Mul", kind=_product)
def mul(call: NodeCall, g: Value) -> list[Value | None]:
    """d(a b) = b da + a db."""

    def times(other: int) -> Value:
        product = g * call.need(other)
        return held(call, g, product) if call.context.masked and may_be_infinite(call, other) else product

    return _each(call, lambda: times(1), lambda: times(0))


@backward("Div", kind=_quotient)
def div(call: NodeCall, g: Value) -> list[Value | None]:
    """d(a / b) = da / b - (a / b) db / b."""
    if call.need(1).constant:
        return _each(call, lambda: g / call.need(1), lambda: g)
    return _each(call, lambda: held(call, g, g / call.need(1)), lambda: held(call, g, -(g * call.y / call.need(1))))


@backward("Sum", kind="sum")
def total(call: NodeCall, g: Value) -> list[Value | None]:
    """Each summand gets dy."""
    return _each(call, *[lambda: g] * len(call.inputs))


@backward("Mean", kind="sum")
def mean(call: NodeCall, g: Value) -> list[Value | None]:
    """Each of n tensors gets dy / n."""
    share = g * (1.0 / len(call.inputs))
    return _each(call, *[lambda: share] * len(call.inputs))


@backward("Pow", kind=lambda call: "slope" if not call.active[1] else "joint")
def power(call: NodeCall, g: Value) -> list[Value | None]:
    """d(x^p) = p x^(p-1) dx + x^p ln(x) dp."""
    t, x, p = call.t, call.need(0), call.need(1)
    exponent = p.data
    p = t.cast(p, x.dtype)

    def base() -> Value:
        if exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2.0:
            return g * x * 2.0
        return held(call, g, g * p * t.Pow(x, p - 1.0))

    return _each(call, base, lambda: held(call, g, g * call.y * t.Log(x)))


@backward("Mod", kind="slope")
def mod(call: NodeCall, g: Value) -> list[Value | None]:
    """X mod b has slope 1 in x; the divisor is taken to be constant."""
    return [call.shaped(g, 0)]
