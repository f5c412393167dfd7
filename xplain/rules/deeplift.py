"""DeepLIFT: multipliers m with  m_in * (x - x0) = m_out * (y - y0)  for every operator, x0 the same on a baseline.

    element by element   m * (f(x) - f(x0)) / (x - x0)              the rescale rule, or f' where x is x0
    linear, sums, moves  their own VJP
    products             VJP at the midpoint (x + x0) / 2           exact: a b - a0 b0 = mid(a) db + mid(b) da
    softmax              exp and 1 / sum with a shift that both passes share
    max pooling          both maxima to their own places
    switches             x * [x > 0] and Where: the chord, to the branch that x takes

Then  sum of m_in (x - x0) = f(x) - f(x0)  holds for the whole net (Shrikumar et al. 2017, arXiv:1704.02685), also with
attention, gates and normalisations, which are opened into these parts. The paper knows only dense layers with
activations; the rules for products, softmax and pooling are the ones that keep its summation-to-delta property.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xplain.core.rules import Call, Cotangents, Rules, Value, Where

__all__ = ["OPENED", "RESCALE", "Midpoint", "Quotient", "Rounded", "Secant", "SoftmaxSecant", "Switched", "Winners"]
__all__ += ["switched"]

_SMALL = 1e-6

OPENED = (
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "RMSNormalization",
    "LpNormalization",
    "LRN",
    "LogSoftmax",
    "MeanVarianceNormalization",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
)
"""Operators that are replaced by their definition, so that the rules for its parts are exact."""


def _real(v: Value, like: Value, xp: Any) -> Value:
    """A tensor of whole numbers, as quantised models have, in the precision of a cotangent."""
    return xp.astype(v, like.dtype)


def _over(difference: Value, by: Value, otherwise: Value, xp: Any) -> Value:
    """``difference / by``, and ``otherwise`` where ``by`` is nearly zero."""
    small = xp.abs(by) < _SMALL
    return xp.where(small, otherwise, difference / xp.where(small, 1.0, by))


@dataclass(frozen=True, slots=True)
class Secant:
    """The rescale rule: the slope of the chord between x0 and x (section 3.5.2, eq. 8 to 10)."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """``m * (y - y0) / (x - x0)``."""
        before, xp = call.baseline(), call.xp
        own = call.vjp(g[0])
        where = list(call.active).index(True)
        rise, run = (_real(a, g[0], xp) - _real(b, g[0], xp) for a, b in ((call.y, before.y), (call.x, before.x)))
        out = _over(g[0] * rise, run, own[where], xp)
        return [out if k == where else None for k in range(len(call.inputs))]


def _dequantised(call: Call, like: Value) -> Value:
    """What a quantisation made, in real units."""
    xp, (scale, *zero) = call.xp, call.inputs[1:3]
    q = _real(call.y, like, xp)
    return (q - _real(zero[0], like, xp) if zero and zero[0] is not None else q) * scale


@dataclass(frozen=True, slots=True)
class Rounded:
    """The chord of a quantisation, in real units; its own slope where both passes lie within one step of each other."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """``m (r - r0) / (x - x0)`` with ``r = (q - zero) scale``; a scale found at run time is another for x0."""
        xp, before, scale = call.xp, call.baseline(), call.inputs[1]
        step = _dequantised(call, g[0]) - _dequantised(before, g[0])
        by = call.x - before.x
        small = xp.abs(by) < scale
        own = call.vjp(g[0])[0]
        return [xp.where(small, own, g[0] * step / xp.where(small, 1.0, by))]


@dataclass(frozen=True, slots=True)
class Midpoint:
    """The VJP at the midpoint between the two passes: exact for bilinear operators, second order for all others."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """VJP of m at (x + x0) / 2."""
        before = call.baseline()
        mid = [
            (x + x0) * 0.5 if on and x is not None and x0 is not None else x
            for x, x0, on in zip(call.inputs, before.inputs, call.active, strict=True)
        ]
        return call.again(*mid).vjp(*g)


@dataclass(frozen=True, slots=True)
class Quotient:
    """a / b as the product of a and 1 / b, whose chord is -1 / (b b0)."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """``m mid(1 / b)`` for a, -m mid(a) / (b b0) for b."""
        (a, b), (a0, b0) = call.inputs, call.baseline().inputs
        da = db = None
        if call.active[0]:
            da = call.shaped(g[0] * (1.0 / b + 1.0 / b0) * 0.5, 0)
        if call.active[1]:
            middle = (a + a0) * 0.5 if call.active[0] else a
            db = call.shaped(-(g[0] * middle / (b * b0)), 1)
        return [da, db]


@dataclass(frozen=True, slots=True)
class SoftmaxSecant:
    """Softmax as exp(x - c) times 1 / sum, with one shift c for both passes: each with its own leaves a gap of 5 %."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The product rule, then the chord of exp."""
        xp, x, x0, axis = call.xp, call.x, call.baseline().x, call.attributes.get("axis", -1)
        shift = xp.maximum(xp.max(x, axis=axis, keepdims=True), xp.max(x0, axis=axis, keepdims=True))
        e, e0 = xp.exp(x - shift), xp.exp(x0 - shift)
        i, i0 = (1.0 / xp.sum(v, axis=axis, keepdims=True) for v in (e, e0))
        middle = xp.sum(g[0] * (e + e0) * 0.5, axis=axis, keepdims=True)
        onto = g[0] * (i + i0) * 0.5 - middle * i * i0
        return [onto * _over(e - e0, x - x0, e, xp)]


@dataclass(frozen=True, slots=True)
class Winners:
    """y - y0 = (max(y, y0) - y0) + (y - max(y, y0)): the first part to where x wins, the second to where x0 does.

    Windows may overlap. An implementation that assigns rather than adds, or takes the larger of both at one place,
    is not complete.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """Both parts, each divided by the difference at its place."""
        xp, before = call.xp, call.baseline()
        y, y0 = (_real(v, g[0], xp) for v in (call.y, before.y))
        top = xp.maximum(y, y0)
        here, there = call.vjp(g[0] * (top - y0)), before.vjp(g[0] * (y - top))
        out: list[Value | None] = []
        for k, on in enumerate(call.active):
            if not on or here[k] is None:
                out.append(None)
                continue
            by = _real(call.inputs[k], g[0], xp) - _real(before.inputs[k], g[0], xp)
            out.append(_over(here[k] + there[k], by, xp.zeros_like(by), xp))
        return out


def switched(call: Call) -> bool:
    """Whether an operand that carries no gradient differs between the passes: a decision about the data, as [x > 0]."""
    pairs = zip(call.inputs, call.baseline().inputs, call.active, strict=True)
    return any(not on and v is not None and v0 is not None and v.name != v0.name for v, v0, on in pairs)


@dataclass(frozen=True, slots=True)
class Switched:
    """Operators that may be switched by the data, as x * [x > 0] or a Where with a condition on x; else their own VJP.

    The whole difference y - y0 goes to the operand that carries a gradient; of two branches, where both passes took
    different ones, to the branch that x takes, or to the other one where that did not change.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """``m (y - y0) / (x - x0)`` for the operand that answers for the difference."""
        if not switched(call):
            return call.vjp(*g)
        xp, before, own = call.xp, call.baseline(), call.vjp(*g)
        moved = g[0] * (call.y - before.y)
        answers = self._branches(call, before) if call.op == "Where" else [None for _ in call.inputs]
        out: list[Value | None] = []
        for k, on in enumerate(call.active):
            if not on or own[k] is None:
                out.append(None)
                continue
            by = call.inputs[k] - before.inputs[k]
            if answers[k] is None:
                out.append(_over(call.shaped(moved, k), by, own[k], xp))
                continue
            alike = xp.equal(call.inputs[0], before.inputs[0])
            jumped = xp.where(xp.logical_and(answers[k], xp.logical_not(alike)), moved, 0.0)
            small = xp.abs(by) < _SMALL
            kept = call.shaped(xp.where(xp.logical_and(self._taken(call, k), alike), g[0], 0.0), k)
            out.append(kept + xp.where(small, 0.0, call.shaped(jumped, k) / xp.where(small, 1.0, by)))
        return out

    @staticmethod
    def _taken(call: Call, branch: int) -> Value:
        return call.inputs[0] if branch == 1 else call.xp.logical_not(call.inputs[0])

    def _branches(self, call: Call, before: Call) -> list[Value | None]:
        """Where each branch of a ``Where`` answers for a change of branches."""
        xp, able = call.xp, list[Value | None]([None, None, None])
        for k in (1, 2):
            if call.active[k]:
                able[k] = xp.abs(call.inputs[k] - before.inputs[k]) >= _SMALL
        out: list[Value | None] = [None, None, None]
        for k, other in ((1, 2), (2, 1)):
            if (mine := able[k]) is not None:
                alone = self._taken(call, k)
                if (theirs := able[other]) is not None:
                    alone = xp.logical_or(alone, xp.logical_not(theirs))
                else:
                    alone = xp.logical_or(alone, xp.logical_not(alone))
                out[k] = xp.logical_and(mine, alone)
        return out


RESCALE = (
    Rules("deeplift", meaning="multiplier", reference=True, opened=OPENED)
    .on(Where(kinds=("joint", "product")), Midpoint())
    .on(Where(kinds=("slope",)), Secant())
    .on(Where(kinds=("choice",)), Winners())
    .on(Where(ops=("QuantizeLinear", "com.microsoft::QuantizeLinear")), Rounded())
    .on(Where(ops=("Div",), kinds=("product", "slope")), Quotient())
    .on(Where(ops=("Softmax",)), SoftmaxSecant())
    .on(Where(ops=("Mul", "Div"), kinds=("scale",)), Switched())
    .on(Where(ops=("Add", "Sub"), kinds=("sum",)), Switched())
    .on(Where(ops=("Where",)), Switched())
)
"""DeepLIFT with the rescale rule. Multiply what arrives at a tap by (value - baseline value) for contributions."""
