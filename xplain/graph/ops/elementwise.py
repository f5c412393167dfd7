"""Unary operators: y = f(x) element by element, dx = dy * f'(x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from xplain.graph.build.tracer import Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.finite import held

_SELU_ALPHA, _SELU_GAMMA = 1.6732632423543772, 1.0507009873554805


def slope(names: str, derivative: Callable[[NodeCall], Value], **stated: Any) -> None:
    """Register element-wise operators by their derivative, and what else is known of them; see ``Facts``.

    On integers that stand for real numbers the derivative may be one.
    """

    @wraps(derivative)
    def vjp(call: NodeCall, g: Value) -> list[Value | None]:
        passed = g * call.t.cast(derivative(call), g.dtype)
        return [held(call, g, passed) if stated.get("partial") else passed]

    for name in names.split():
        backward(name, kind="slope")(vjp)
        facts(name, elementwise=True, axes="same", **stated)


def _positive(call: NodeCall, then: float, otherwise: Value | float) -> Value:
    """``then`` where the input is positive, ``otherwise`` elsewhere."""
    dtype = call.x.dtype
    other = otherwise if isinstance(otherwise, Value) else call.t.const(otherwise, dtype)
    return call.t.where(call.x > 0.0, then, other)


def _relu(call: NodeCall) -> Value:
    return call.t.between(call.y, 0.0)


def _hard_swish(call: NodeCall) -> Value:
    x = call.x
    above = call.t.step(x >= 3.0, x.dtype)
    return (2.0 * x + 3.0) * (1.0 / 6.0) * call.t.between(x, -3.0, 3.0) + above


def _gelu(call: NodeCall) -> Value:
    t, x = call.t, call.x
    if call.attribute("approximate", "none") == "tanh":
        return _tanh_gelu(call, x)
    return (t.Erf(x * math.sqrt(0.5)) + 1.0) * 0.5 + x * t.Exp(x * x * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))


def _tanh_gelu(call: NodeCall, x: Value) -> Value:
    c = math.sqrt(2.0 / math.pi)
    s = call.t.Tanh((x + x * x * x * 0.044715) * c)
    return (s + 1.0) * 0.5 + x * (1.0 - s * s) * ((x * x * (3 * 0.044715) + 1.0) * (0.5 * c))


def _mish(call: NodeCall) -> Value:
    t, x = call.t, call.x
    s = t.Tanh(t.Softplus(x))
    return s + x * (1.0 - s * s) * t.Sigmoid(x)


def _swish(call: NodeCall) -> Value:
    alpha = float(call.attribute("alpha", 1.0))
    s = call.t.Sigmoid(call.x * alpha)
    return s + call.y * alpha * (1.0 - s)


slope("Relu", _relu, rises=True, low=0.0, rectifier=True, homogeneous=True, steps=(0, 1), free=True)
slope("Sigmoid", lambda c: c.y * (1.0 - c.y), rises=True, low=0.0, high=1.0, gate=True, link="sigmoid")
slope("Tanh", lambda c: 1.0 - c.y * c.y, rises=True, low=-1.0, high=1.0, gate=True)
slope("Exp", lambda c: c.y, rises=True, low=0.0)
slope("Log", lambda c: 1.0 / c.x, rises=True, partial=True)
slope("Sqrt", lambda c: 0.5 / c.y, rises=True, low=0.0, partial=True)
slope("Reciprocal", lambda c: -(c.y * c.y), partial=True)
slope(
    "Erf",
    lambda c: c.t.Exp(math.log(2.0 / math.sqrt(math.pi)) - c.x * c.x),
    rises=True,
    low=-1.0,
    high=1.0,
    gate=True,
)
slope("Abs", lambda c: c.t.Sign(c.x), low=0.0, homogeneous=True)
slope("Sin", lambda c: c.t.Cos(c.x), low=-1.0, high=1.0)
slope("Cos", lambda c: -c.t.Sin(c.x), low=-1.0, high=1.0)
slope("Tan", lambda c: c.y * c.y + 1.0, partial=True)
slope("Asin", lambda c: 1.0 / c.t.Sqrt(1.0 - c.x * c.x), rises=True, partial=True)
slope("Acos", lambda c: -1.0 / c.t.Sqrt(1.0 - c.x * c.x), low=0.0, partial=True)
slope("Atan", lambda c: 1.0 / (c.x * c.x + 1.0), rises=True)
slope("Sinh", lambda c: c.t.Cosh(c.x), rises=True)
slope("Cosh", lambda c: c.t.Sinh(c.x), low=1.0)
slope("Asinh", lambda c: 1.0 / c.t.Sqrt(c.x * c.x + 1.0), rises=True)
slope("Acosh", lambda c: 1.0 / c.t.Sqrt(c.x * c.x - 1.0), rises=True, low=0.0, partial=True)
slope("Atanh", lambda c: 1.0 / (1.0 - c.x * c.x), rises=True, partial=True)
slope("Softplus", lambda c: c.t.Sigmoid(c.x), rises=True, low=0.0)
slope("Softsign", lambda c: 1.0 / ((c.t.Abs(c.x) + 1.0) * (c.t.Abs(c.x) + 1.0)), rises=True, low=-1.0, high=1.0)
slope(
    "LeakyRelu",
    lambda c: _positive(c, 1.0, c.attribute("alpha", 0.01)),
    rectifier=True,
    homogeneous=True,
    free=True,
)
slope("ThresholdedRelu", lambda c: c.t.between(c.x, c.attribute("alpha", 1.0)), rectifier=True)
slope("Shrink", lambda c: c.t.step(c.t.Abs(c.x) > c.attribute("lambd", 0.5), c.x.dtype))
slope("Elu", lambda c: _positive(c, 1.0, c.y + c.attribute("alpha", 1.0)), rectifier=True)
slope("Celu", lambda c: _positive(c, 1.0, c.t.Exp(c.x / c.attribute("alpha", 1.0))), rectifier=True)
slope(
    "Selu",
    lambda c: _positive(
        c,
        c.attribute("gamma", _SELU_GAMMA),
        c.y + c.attribute("alpha", _SELU_ALPHA) * c.attribute("gamma", _SELU_GAMMA),
    ),
    rectifier=True,
)
slope("HardSigmoid", lambda c: c.t.between(c.y, 0.0, 1.0) * c.attribute("alpha", 0.2), low=0.0, high=1.0, gate=True)
slope("HardSwish", _hard_swish)
slope("Gelu", _gelu)
slope("Mish", _mish)
slope("Swish", _swish)

facts("Neg", elementwise=True, axes="same", linear="all", homogeneous=True)
facts("Identity Dropout", elementwise=True, axes="same", repacks=True, steps=(0, 1), free=True)
facts("Identity", linear="all")
facts("Dropout Cast", linear="first")
facts("Cast CastLike", elementwise=True, axes="same", rounds=True, whole=True)
facts("Cast", free=True)
facts("PRelu", elementwise=True, axes="same", rectifier=True, homogeneous=True)
facts("Acos Acosh Asin Atan Atanh Celu Cos Elu Log Mish Selu Sin Softplus Sqrt", placed=True)
facts("Clip", elementwise=True, axes="same", rectifier=True, gate=True, steps=(0, 1), free=True)


@backward("Neg", kind="scale")
def neg(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = -dy."""
    return [-g]


@backward("Identity", "Dropout", kind="move", flow=(0,))
def identity(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = dy; dropout does nothing when a model is run."""
    return [g]


@backward("Cast", "CastLike", kind="move", flow=(0,))
def cast(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = dy in the input's precision; cotangents of integer tensors stay floating."""
    return [call.t.cast(g, call.x.dtype) if call.x.dtype in FLOATS else g]


@backward("PRelu", kind=lambda call: "joint" if len(call.active) > 1 and call.active[1] else "slope")
def prelu(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = x where x > 0, else s x."""
    t, x, s = call.t, call.need(0), call.need(1)
    positive = x > 0.0
    ds = t.unbroadcast(t.where(positive, 0.0, g * x), s, x.shape) if call.active[1] else None
    return [t.where(positive, g, g * s), ds]


@backward("Clip", kind="slope")
def clip(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` strictly inside the bounds. The output is compared, so that Conv + Clip can still fuse."""
    t, y = call.t, call.y
    bounds = {1: call.static(1, "min"), 2: call.static(2, "max")}
    if y.dtype == g.dtype and not any(call.has(index) and bound is None for index, bound in bounds.items()):
        numbers = (None if bound is None else float(np.asarray(bound).item()) for bound in bounds.values())
        low, high = (None if number is None or math.isinf(number) else number for number in numbers)
        return [g if low is None and high is None else g * t.between(y, low, high)]
    tests = []  # a bound is known only at run time
    for index, compare in ((1, t.Greater), (2, t.Less)):
        if call.has(index) or bounds[index] is not None:
            tests.append(compare(y, call.need(index) if call.has(index) else t.const(bounds[index], y.dtype)))
    return [t.where(t.And(*tests) if len(tests) > 1 else tests[0], g, 0.0) if tests else g]
