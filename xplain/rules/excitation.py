"""Excitation backprop: a probability falls from winner to winner, along positive weights from active inputs.

    P_in = x+ * VJP_{w+}(P / (x+ w+)),    no bias           (Zhang et al. 2016, arXiv:1608.00507, eq. 1 to 3)

What arrives at a tap sums to the seed where every path is excitatory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xplain.core.declaring.registry import Paper, table
from xplain.core.rules import Call, Cotangents, Rules, Where
from xplain.rules.lrp import Gates, Sums, Through
from xplain.rules.shares import positive, stabilised

__all__ = ["CONTRASTIVE", "EXCITATION", "Excite", "contrastive_excitation", "excitation"]

_EPS = 1e-10


@dataclass(frozen=True, slots=True)
class Excite:
    """The winner-take-all share of every active input: positive parts of inputs and weights.

    Args:
        against: Use negated weights, which says what speaks against; for the last layer of the contrastive form.
        eps: Stabiliser.
    """

    against: bool = False
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for linear operators and sums."""
        xp = call.xp
        if call.kind == "sum" and sum(call.active) == 1:
            return Sums()(call, g)
        inputs = [v if v is None or not on else positive(v, xp) for v, on in zip(call.inputs, call.active, strict=True)]
        if call.kind == "linear":
            weight = call.w if call.w is None or not self.against else -call.w
            again = call.forward(positive(call.x, xp), positive(weight, xp))
        else:
            again = call.again(*inputs)
        shares = again.vjp(g[0] / stabilised(again.y, self.eps, xp))
        return [
            inputs[k] * share if share is not None and on else None
            for k, (share, on) in enumerate(zip(shares, call.active, strict=False))
        ]


EXCITATION = (
    Rules("excitation", meaning="probability", fold_norms=True)
    .on(Where(kinds=("slope", "scale", "joint")), Through())
    .on(Where(kinds=("product",)), Gates())
    .on(Where(kinds=("linear",)), Excite())
    .on(Where(kinds=("sum",)), Excite())
    .on(Where(ops=("Sub",)), Sums())
)

CONTRASTIVE = replace(EXCITATION, unrolled=True).on(Where(kinds=("linear",), place="last"), Excite(against=True))
"""The share of what speaks against; subtract it from ``EXCITATION`` at a layer for contrastive maps (section 3.4)."""

_ZHANG = Paper("Zhang 2016", "arXiv:1608.00507")


@table("excitation", method="excitation-backprop", paper=_ZHANG)
def excitation() -> Rules:
    """A probability falls to whatever excited a neuron: shares go by positive values times positive weights."""
    return EXCITATION


@table("contrastive-excitation", method="excitation-backprop", paper=_ZHANG)
def contrastive_excitation() -> Rules:
    """As ``excitation``, for what speaks against the class: the last layer's weights are negated."""
    return CONTRASTIVE
