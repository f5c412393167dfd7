"""How relevance is shared out: the evaluations that a rule of LRP asks for, their sums, and what each input gets.

    R_in = sum over parts  x' * VJP_{x', w'}(R / (z' + eps sign(z')))

What is known of signs saves evaluations: inputs that are never negative have no negative part, and a sum of known sign
has its stabiliser in the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from xplain.core.rules import Call, Cotangents, Value

__all__ = ["CONVOLUTIONS", "alike", "at_least", "by_sign", "for_data", "negative", "positive", "spread", "stabilised"]

CONVOLUTIONS = ("Conv", "ConvTranspose")


def at_least(eps: float, like: Value, xp: Any) -> float:
    """A stabiliser that is not lost in the precision of ``like``."""
    return max(eps, float(xp.finfo(like.dtype).smallest_normal))


def stabilised(z: Value, eps: float, xp: Any, sign: int = 0) -> Value:
    """``z + eps sign(z)``, with sign(0) = 1: never zero, in half precision neither.

    Args:
        z: Sums.
        eps: Stabiliser.
        xp: Functions on values.
        sign: 1 where no sum is below zero and -1 where none is above, whatever the item; 0 where that is not known.
    """
    eps = at_least(eps, z, xp)
    if sign:
        return z + sign * eps
    low, high = (xp.asarray(side, dtype=z.dtype) for side in (-eps, eps))
    return z + xp.where(z < 0.0, low, high)


def positive(v: Value, xp: Any) -> Value:
    """max(v, 0); None stays None."""
    return None if v is None else xp.maximum(v, 0.0)


def negative(v: Value, xp: Any) -> Value:
    """min(v, 0); None stays None."""
    return None if v is None else xp.minimum(v, 0.0)


Part: TypeAlias = "tuple[Value, Value | None, Value | None]"
"""Data, weight and bias of a linear operator, any of them changed by a rule."""


def spread(call: Call, parts: Sequence[Part], R: Value, eps: float, sign: int = 0) -> Value:
    """Share R over several evaluations whose outputs are added: sum of x' VJP(R / sum z').

    ``sign`` says which sign their sum has; see ``stabilised``.
    """
    xp, (x, w, b) = call.xp, parts[0]
    if inside := bool(sign) and call.b is not None:  # the stabiliser as part of a bias costs nothing
        shift = sign * at_least(eps, call.b, xp)
        parts = [(x, w, xp.full_like(call.b, shift) if b is None else b + shift), *parts[1:]]
    calls = [call.forward(*part) for part in parts]
    total = calls[0].y
    for other in calls[1:]:
        total = total + other.y
    s = R / (total if inside else stabilised(total, eps, xp, sign))
    out = parts[0][0] * calls[0].back(s)
    for (x, _, _), other in zip(parts[1:], calls[1:], strict=True):
        out = out + x * other.back(s)
    return out


def by_sign(call: Call, over: Value, under: Value, bias: Value | None) -> list[Part]:
    """The evaluations that weigh inputs above zero with ``over`` and those below with ``under``.

    Inputs that cannot be below zero, as those behind a rectifier, need the first alone.
    """
    xp, x = call.xp, call.x
    if call.never_negative(list(call.active).index(True)):
        return [(x, over, bias)]
    return [(positive(x, xp), over, bias), (negative(x, xp), under, None)]


def for_data(call: Call, R: Value) -> Cotangents:
    """R for the data input of a linear operator, None for the others."""
    first = list(call.active).index(True)
    return [R if k == first else None for k in range(len(call.inputs))]


def alike(call: Call, R: Value, weight: Value | None, bias: Value | None, eps: float) -> Cotangents:
    """Share R with 1 in place of every input, by weights that are not negative: the sums are the same for all items."""
    again = call.forward(call.xp.ones_like(call.x), weight, bias)
    one = call.forward(_one(call), weight, bias)
    return for_data(call, again.back(R / stabilised(one.y, eps, call.xp, 1)))


def _one(call: Call) -> Value:
    """Ones: for a convolution of known extents those of a single item, which a runtime computes with once."""
    xp, shape = call.xp, call.x.shape
    if call.op not in CONVOLUTIONS or shape is None or not all(isinstance(n, int) for n in shape[1:]):
        return xp.ones_like(call.x)
    return xp.broadcast_to(xp.asarray(1.0, dtype=call.x.dtype), (1, *shape[1:]))
