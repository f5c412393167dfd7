"""DeepLIFT: multipliers m with  m_in * (x - x0) = m_out * (y - y0)  for every operator, x0 the same on a baseline.

    element by element   m * (f(x) - f(x0)) / (x - x0)              the rescale rule, or f' where x is x0
    linear, sums, moves  their own VJP
    products             VJP at the midpoint (x + x0) / 2           exact: a b - a0 b0 = mid(a) db + mid(b) da
    quotients            the mean of the VJP on the straight way between the passes
    softmax              by the difference of its logarithm
    max pooling          both maxima to their own places
    switches             x * [x > 0] and Where: the chord, to the branch that x takes

Then  sum of m_in (x - x0) = f(x) - f(x0)  holds for the whole net (Shrikumar et al. 2017, arXiv:1704.02685), also with
attention, gates and normalisations, which are opened into these parts. The paper knows only dense layers with
activations; the rules for products, softmax and pooling are the ones that keep its summation-to-delta property.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xplain.core.declaring.registry import Paper, table
from xplain.core.rules import Call, Cotangents, Rules, Value, Where

__all__ = ["RESCALE", "LogSoftmaxSecant", "Midpoint", "Quotient", "Rounded", "Secant", "SoftmaxSecant"]
__all__ += ["Switched", "Winners", "noise", "rescale", "switched"]

PAPER = Paper("Shrikumar 2017", "arXiv:1704.02685")
_NEAR = 0.04
"""Squared relative distance of two divisors below which their means come by series: the closed forms cancel there."""


def _real(v: Value, like: Value, xp: Any) -> Value:
    """A tensor of whole numbers, as quantised models have, in the precision of a cotangent."""
    return xp.astype(v, like.dtype)


def noise(*operands: Value, xp: Any) -> Value:
    """How far rounding may have moved a difference of these numbers: a few units in the last place of the largest."""
    eps = float(xp.finfo(operands[0].dtype).eps)
    size = xp.abs(operands[0])
    for operand in operands[1:]:
        size = size + xp.abs(operand)
    return size * (4.0 * eps)


def _over(difference: Value, by: Value, otherwise: Value, xp: Any) -> Value:
    """``difference / by``, and ``otherwise`` where ``by`` is zero (or its reciprocal infinite) or no finite number."""
    size, limits = xp.abs(by), xp.finfo(by.dtype)
    apart = xp.logical_and(size > 4.0 * float(limits.smallest_normal), size <= float(limits.max))
    return xp.where(apart, difference / xp.where(apart, by, 1.0), otherwise)


def _chord(m: Value, call: Call, before: Call, where: int) -> Value:
    """``m (y - y0) / (x - x0)`` for values that are not rounded, and ``m f'(x0)`` where x is x0.

    One division for both cases: the chord is drawn from the number next below x0, and what f is there, so that it has
    a length where x is x0. Half precision is too coarse for that.
    """
    xp, like = call.xp, m
    (y, x), (y0, x0) = ((_real(v, like, xp) for v in (c.y, c.x)) for c in (call, before))
    limits = xp.finfo(m.dtype)
    if float(limits.eps) > 1e-6:
        return _over(m * (y - y0), x - x0, call.vjp(m)[where], xp)
    nothing = 8.0 * float(limits.smallest_normal)
    step = xp.abs(x0) * float(limits.eps) + nothing
    return m * ((y - (y0 - before.vjp(step)[where])) / (x - (x0 - step) + nothing))


@dataclass(frozen=True, slots=True)
class Secant:
    """The rescale rule: the slope of the chord between x0 and x (section 3.5.2, eq. 8 to 10).

    Where x is nearly x0, rise and run are rounding noise, and so is their quotient. The mean of the slopes at both ends
    has none; it stands where it explains the rise but for rounding, so never across a kink or a step.

    Args:
        exact: The operator's values are not rounded, as a rectifier's, so that the chord needs no help.
    """

    exact: bool = False

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """``m * (y - y0) / (x - x0)``."""
        before, xp = call.baseline(), call.xp
        where = list(call.active).index(True)
        (y, x), (y0, x0) = ((_real(v, g[0], xp) for v in (c.y, c.x)) for c in (call, before))
        if self.exact:
            out = _chord(g[0], call, before, where)
        else:
            rise, run, own = g[0] * (y - y0), x - x0, call.vjp(g[0])[where]
            slope = (own + before.vjp(g[0])[where]) * 0.5
            rounding = noise(g[0] * y, g[0] * y0, slope * x, slope * x0, xp=xp)
            tiny = float(xp.finfo(run.dtype).smallest_normal)
            # a slope that is infinite at one end explains nothing: inf < inf is false
            smooth = xp.abs(rise - slope * run) < rounding + tiny
            out = xp.where(smooth, slope, _over(rise, run, xp.zeros_like(run), xp))
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
    """a / b along the straight way between the passes: what integrated gradients would give for this one operator.

    With c = (b + b0) / 2, u = (b - b0) / (b + b0), q = artanh(u) / u, c / q being the logarithmic mean of b and b0,

        m_a = q / c,    m_b = (y - y0 - m_a (a - a0)) / (b - b0),

    which is complete. The product of a and 1 / b at their midpoints is so too, but its parts cancel where one divisor
    is small: for a norm on a constant baseline (1 / b + 1 / b0) / 2 is hundreds of times the slope on nearly all the
    way. Divisors of different signs leave only that form.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """Multipliers of both operands."""
        (a, b), (a0, b0) = call.inputs, call.baseline().inputs
        xp, m = call.xp, g[0]
        if not call.active[0]:
            return [None, call.shaped(-(m * (a + a0) * 0.5 / b / b0), 1)]
        alike = (b > 0.0).equal(b0 > 0.0)
        c, half = (b + b0) * 0.5, (b - b0) * 0.5
        u = xp.where(alike, half / xp.where(alike, c, 1.0), 1.0)
        u2 = u * u
        near = u2 < _NEAR
        series = (((u2 * (1 / 11) + 1 / 9) * u2 + 1 / 7) * u2 + 1 / 5) * u2 + 1 / 3
        q = xp.where(near, series * u2 + 1.0, xp.log(xp.where(alike, b / b0, 1.0)) * 0.5 / xp.where(near, 1.0, u))
        inverse = xp.where(alike, q / xp.where(alike, c, 1.0), (1.0 / b + 1.0 / b0) * 0.5)
        da, db = call.shaped(m * inverse, 0), None
        if call.active[1]:
            slanted = -(((((u2 * (5 / 11) + 4 / 9) * u2 + 3 / 7) * u2 + 2 / 5) * u2 + 1 / 3) * u)
            close = -((a + a0) * 0.5 / b / b0 + (a - a0) * (slanted / c / c))
            # away from b = b0 the same by difference: what is left of dy when a has its share
            apart = (call.y - call.baseline().y - (a - a0) * inverse) * 0.5 / xp.where(near, 1.0, half)
            db = call.shaped(m * xp.where(near, close, apart), 1)
        return [da, db]


def _parted(call: Call) -> Value:
    """The logarithmic mean of a softmax's two outputs, (s - s0) / (log s - log s0), element by element.

    It comes from the logarithms, so that nothing cancels or underflows on the way, and is never larger than both.
    """
    xp, axes = call.xp, tuple(call.axes)
    far = float(xp.finfo(call.x.dtype).max) / 8.0
    logs = []
    for side in (call, call.baseline()):
        x = xp.clip(side.x, -far, far)  # what is masked with -inf
        top = xp.max(x, axis=axes, keepdims=True)
        logs.append(x - top - xp.log(xp.sum(xp.exp(x - top), axis=axes, keepdims=True)))
    by = xp.abs(logs[0] - logs[1])
    half = xp.tanh(by * 0.5)  # 1 - e^-d = 2 t / (1 + t): exact where d is small
    near = by < 1e-3
    share = xp.where(near, 1.0 - by * 0.5, half * 2.0 / ((half + 1.0) * xp.where(near, 1.0, by)))
    return xp.exp(xp.maximum(logs[0], logs[1])) * share


@dataclass(frozen=True, slots=True)
class SoftmaxSecant:
    """Softmax by its logarithm: s - s0 = L (log s - log s0) = L (dx - dlse), L the logarithmic mean of s and s0.

    As the differences of s add up to nothing, dlse = sum(L dx) / sum(L), and

        m = L (g - sum(g L) / sum(L)).

    Complete whatever the logits are; a common shift of them changes nothing. exp and 1 / sum in turn cancel: from
    logits of 20 on nothing was left of the difference.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for Softmax."""
        xp, axes, mean = call.xp, tuple(call.axes), _parted(call)
        whole = xp.sum(mean, axis=axes, keepdims=True) + float(xp.finfo(mean.dtype).smallest_normal)
        return [mean * (g[0] - xp.sum(g[0] * mean, axis=axes, keepdims=True) / whole)]


@dataclass(frozen=True, slots=True)
class LogSoftmaxSecant:
    """y - y0 = dx - dlse with dlse = sum(L dx) / sum(L), as in ``SoftmaxSecant``: m = g - L sum(g) / sum(L)."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for LogSoftmax."""
        xp, axes, mean = call.xp, tuple(call.axes), _parted(call)
        whole = xp.sum(mean, axis=axes, keepdims=True) + float(xp.finfo(mean.dtype).smallest_normal)
        return [g[0] - mean * xp.sum(g[0], axis=axes, keepdims=True) / whole]


@dataclass(frozen=True, slots=True)
class Winners:
    """y - y0 = (max(y, y0) - y0) + (y - max(y, y0)): the first part to where x wins, the second to where x0 does.

    Windows may overlap. An implementation that assigns rather than adds, or takes the larger of both at one place,
    is not complete.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """Both parts, each divided by the difference at its place."""
        xp, before = call.xp, call.baseline()
        far = float(xp.finfo(g[0].dtype).max) / 4.0  # windows of -inf alone do not differ
        y, y0 = (xp.clip(_real(v, g[0], xp), -far, far) for v in (call.y, before.y))
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
            small = xp.logical_not(self._apart(call.inputs[k], before.inputs[k], xp))
            kept = call.shaped(xp.where(xp.logical_and(self._taken(call, k), alike), g[0], 0.0), k)
            out.append(kept + xp.where(small, 0.0, call.shaped(jumped, k) / xp.where(small, 1.0, by)))
        return out

    @staticmethod
    def _apart(x: Value, x0: Value, xp: Any) -> Value:
        """Where two operands differ by more than rounding."""
        return xp.abs(x - x0) > noise(x, x0, xp=xp)

    @staticmethod
    def _taken(call: Call, branch: int) -> Value:
        return call.inputs[0] if branch == 1 else call.xp.logical_not(call.inputs[0])

    def _branches(self, call: Call, before: Call) -> list[Value | None]:
        """Where each branch of a ``Where`` answers for a change of branches."""
        xp, able = call.xp, list[Value | None]([None, None, None])
        for k in (1, 2):
            if call.active[k]:
                able[k] = self._apart(call.inputs[k], before.inputs[k], xp)
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
    Rules("deeplift", meaning="multiplier", reference=True, opened=True)
    .on(Where(kinds=("joint", "product")), Midpoint())
    .on(Where(kinds=("slope",)), Secant())
    .on(Where(ops=("Relu", "Clip"), kinds=("slope",)), Secant(exact=True))
    .on(Where(kinds=("choice",)), Winners())
    .on(Where(ops=("QuantizeLinear", "com.microsoft::QuantizeLinear")), Rounded())
    .on(Where(ops=("Div",), kinds=("product", "slope")), Quotient())
    .on(Where(ops=("Softmax",)), SoftmaxSecant())
    .on(Where(ops=("LogSoftmax",)), LogSoftmaxSecant())
    .on(Where(ops=("Mul", "Div"), kinds=("scale",)), Switched())
    .on(Where(ops=("Add", "Sub"), kinds=("sum",)), Switched())
    .on(Where(ops=("Where",)), Switched())
)
"""DeepLIFT with the rescale rule. Multiply what arrives at a tap by (value - baseline value) for contributions."""


@table("rescale", method="deeplift", paper=PAPER)
def rescale() -> Rules:
    """Activations pass differences on by the chord between the two passes, for everything that arrives alike."""
    return RESCALE
