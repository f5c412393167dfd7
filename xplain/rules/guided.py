"""Guided backpropagation and the deconvolutional network: two ways to change what a ReLU passes back.

    gradient   g * [x > 0]
    deconvnet  max(g, 0)                  (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1)
    guided     max(g, 0) * [x > 0]        (Springenberg et al. 2015, arXiv:1412.6806, section 3.4)

The switches of a deconvnet, the places of the maxima of every max pooling, are what the pooling's own VJP uses.
A model of integers may have lost its ReLUs to its quantisers: one whose lower end is a ReLU (``Call.rectifies``) is
treated as one. Where the ReLU is there as a node besides, the two do to guided backpropagation what one does:
max(max(g, 0), 0) = max(g, 0). In a deconvnet no quantiser cuts off anything.

Neither changes anything in a net without such activations (GELU, SiLU): ``Rules.changes`` lets the caller warn.
"""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.declaring.registry import Paper, table
from xplain.core.rules import Call, Cotangents, Rules, Where

__all__ = ["DECONVNET", "GUIDED", "DeconvRelu", "GuidedRelu", "Unquantised", "deconvnet", "guided"]


@dataclass(frozen=True, slots=True)
class GuidedRelu:
    """The activation's own VJP of the positive part of the cotangent."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """max(g, 0) * f'(x)."""
        return call.vjp(call.xp.maximum(g[0], 0.0))


@dataclass(frozen=True, slots=True)
class DeconvRelu:
    """The positive part of the cotangent, whatever the forward pass did."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """max(g, 0)."""
        return [call.xp.maximum(g[0], 0.0)]


@dataclass(frozen=True, slots=True)
class Unquantised:
    """The cotangent as it is, whatever the integers could not hold in the forward pass."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """G for the values; nothing for scale and zero point."""
        return [g[0]]


QUANTISERS = ("QuantizeLinear", "com.microsoft::QuantizeLinear")
_RELU = Where(fact="rectifier")
_LOWER_END = Where(ops=QUANTISERS, rectifies=True)

GUIDED = Rules("guided", changes="rectifier").on(_RELU, GuidedRelu()).on(_LOWER_END, GuidedRelu()).said("guided")
DECONVNET = (
    Rules("deconvnet", changes="rectifier")
    .on(_RELU, DeconvRelu())
    .on(Where(ops=QUANTISERS), Unquantised())
    .on(_LOWER_END, DeconvRelu())
    .said("deconvnet")
)


@table("guided", method="guided-backprop", paper=Paper("Springenberg 2014", "arXiv:1412.6806"))
def guided() -> Rules:
    """Rectifiers pass on the positive part of what comes back, where they were open: ``max(g, 0) [x > 0]``."""
    return GUIDED


@table("deconvnet", method="deconvnet", paper=Paper("Zeiler & Fergus 2014", "arXiv:1311.2901"))
def deconvnet() -> Rules:
    """Rectifiers pass on the positive part of what comes back, wherever: ``max(g, 0)``."""
    return DECONVNET
