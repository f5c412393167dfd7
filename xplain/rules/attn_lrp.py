"""AttnLRP: relevance that goes through the softmax of attention too, so that queries and keys get their share.

The tables beside it treat attention as a gate: what is attended takes all, and why it was attended is left out. Here a
product of attention and values gives half to each, and a softmax passes its half on by its Taylor expansion.
"""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.declaring.options import NonNegative, PositiveReal
from xplain.core.declaring.registry import Paper, table
from xplain.core.rules import Call, Cotangents, Rules, Where
from xplain.rules.lrp import Epsilon, Gamma, Gates, gate_of
from xplain.rules.lrp_tables import relevance

__all__ = ["Halves", "Softmax", "attn_lrp"]

_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Softmax:
    """R_i = x_i (R_i - s_i sum_j R_j), s the softmax of x: its first-order Taylor expansion at x, eq. 13 of AttnLRP.

    Places that a mask shuts have s = 0, and take nothing whatever stands there.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """R for the logits."""
        xp, s = call.xp, call.y
        passed = g[0] - s * xp.sum(g[0], axis=tuple(call.axes), keepdims=True)
        logits = xp.where(s > 0.0, call.x, xp.zeros_like(call.x))
        first = list(call.active).index(True)
        return [logits * passed if k == first else None for k in range(len(call.inputs))]


@dataclass(frozen=True, slots=True)
class Halves:
    """A product with attention gives half to each factor, eq. 15 of AttnLRP; every other product goes by ``Gates``.

    Args:
        eps: Stabiliser.
    """

    eps: float = _EPSILON

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """R for both factors."""
        attends = all(call.active) and any(
            maker is not None and maker.kind == "joint" for maker in (gate_of(call, k) for k in range(len(call.inputs)))
        )
        return Gates(self.eps, signal_takes_all=not attends)(call, g)


@table(
    "attn-lrp", method="lrp", paper=Paper("Achtibat 2024", "arXiv:2402.05602"), aliases=("attnlrp", "attention-aware")
)
def attn_lrp(*, epsilon: PositiveReal = _EPSILON, gamma: NonNegative = 0.0, bias: bool = True) -> Rules:
    """For transformers: queries and keys get their share, by the softmax's Taylor expansion; products share in halves.

    Args:
        epsilon: Stabiliser of the epsilon rule.
        gamma: Above 0, weighted layers go by the gamma rule, which the paper takes for vision transformers.
        bias: Whether biases take their share.
    """
    made = relevance("lrp-attn", Gamma(gamma, bias) if gamma else Epsilon(epsilon, bias), bias)
    return made.on(Where(ops=("Softmax",), kinds=("joint",)), Softmax()).on(Where(kinds=("product",)), Halves(epsilon))
