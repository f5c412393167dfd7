"""Guided backpropagation and the deconvolutional network: two ways to change what a ReLU passes back.

    gradient   g * [x > 0]
    deconvnet  max(g, 0)                  (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1)
    guided     max(g, 0) * [x > 0]        (Springenberg et al. 2015, arXiv:1412.6806, section 3.4)

The switches of a deconvnet, the places of the maxima of every max pooling, are what the pooling's own VJP uses.
Neither changes anything in a net without such activations (GELU, SiLU): ``Rules.changes`` lets the caller warn.
"""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.rules import Call, Cotangents, Rules, Where

__all__ = ["DECONVNET", "GUIDED", "RELUS", "DeconvRelu", "GuidedRelu"]

RELUS = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip")
"""Activations that clip from below; Clip is ReLU6 in exported files."""


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


GUIDED = Rules("guided", changes=RELUS).on(Where(ops=RELUS), GuidedRelu())
DECONVNET = Rules("deconvnet", changes=RELUS).on(Where(ops=RELUS), DeconvRelu())
