"""Attention rollout as a table of rules: what each token is made of, followed through whatever moves and mixes tokens.

Rollout (Abnar and Zuidema 2020, arXiv:2005.00928, section 3) multiplies the layers' matrices 0.5 A + 0.5 I. Read from
the answer back to the picture that is a share which falls through the graph, and each factor is one operator's rule:

    residual sum      half to each branch                     the 0.5 and 0.5
    attention times v to the tokens attended, A^T R           A; equal shares of the heads make their mean
    dense layer, conv evenly to all it reads                  tokens keep their share, heads are weighed alike
    norm, activation  to where it came from                   I
    reshape, roll, window partition, gather, concatenation    exactly, by the operator's own VJP

Nothing here knows of a grid, so windows that shift, patches that merge, class tokens and pooled keys need no case of
their own. On a plain vision transformer it is the product of matrices, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.declaring.registry import Paper, table
from xplain.core.errors import UsageError
from xplain.core.rules import Call, Cotangents, Rules, Where
from xplain.rules.lrp import Flat, Through, is_gate
from xplain.rules.shares import stabilised

__all__ = ["ROLLOUT", "Attended", "Evenly", "Halves", "attention_rollout"]

_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class Halves:
    """Each tensor that is added gets the same share; a constant gets nothing."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for sums."""
        share = g[0] / float(sum(call.active))
        return [call.shaped(share, k) if on else None for k, on in enumerate(call.active)]


@dataclass(frozen=True, slots=True)
class Evenly:
    """Everything that an output is computed from gets the same share, as ``Flat`` says; here without ones for weights.

    A dense layer of the last axis sums over that axis, which is the same and needs no second set of weights.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for linear operators."""
        first = list(call.active).index(True)
        width = call.x.shape[-1] if call.x.shape else None
        moved = call.attributes.get("transA", 0)
        if call.op in ("MatMul", "Gemm") and first == 0 and not moved and isinstance(width, int) and call.x.rank > 1:
            total = call.xp.sum(g[0], axis=-1, keepdims=True) / float(width)
            return [call.xp.zeros_like(call.x) + total if k == first else None for k in range(len(call.inputs))]
        return Flat(_EPS)(call, g)


@dataclass(frozen=True, slots=True)
class Attended:
    """What attention, or another gate, lets through gets all: ``R_v = A^T (R / A 1)``.

    ``A 1`` is 1 for a softmax; it keeps the share whole where a net scales its attention.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for products of two signals.

        Raises:
            UsageError: no operand is a gate, so that nothing says how the operands' tokens mix.
        """
        gates = [(call.op == "Div" and k == 1) or (on and is_gate(call, k)) for k, on in enumerate(call.active)]
        takers = [on and not gate for on, gate in zip(call.active, gates, strict=True)]
        if sum(takers) != 1:
            if call.op == "Mul":
                return Halves()(call, g)
            raise UsageError(
                f"Node {call.name!r} ({call.op}) multiplies two signals of which not exactly one is a softmax: no "
                "attention that rollout can follow. Use grad-cam, lrp or a perturbation method."
            )
        taker = takers.index(True)
        if call.op in ("Mul", "Div"):
            return [call.shaped(g[0], k) if k == taker else None for k in range(len(call.inputs))]
        ones = [call.xp.ones_like(v) if k == taker else v for k, v in enumerate(call.inputs)]
        again = call.again(*ones)
        pulled = again.vjp(g[0] / stabilised(again.y, _EPS, call.xp))
        return [pulled[k] if k == taker else None for k in range(len(call.inputs))]


ROLLOUT = (
    Rules("attention-rollout", meaning="probability", fold_norms=True)
    .on(Where(kinds=("slope", "scale", "joint")), Through())
    .on(Where(kinds=("sum",)), Halves())
    .on(Where(kinds=("product",)), Attended())
    .on(Where(kinds=("linear",)), Evenly())
)


@table("attention-rollout", method="attention-rollout", paper=Paper("Abnar & Zuidema 2020", "arXiv:2005.00928"))
def attention_rollout() -> Rules:
    """Shares fall through attention to the tokens attended, half beside it along the residual stream."""
    return ROLLOUT
