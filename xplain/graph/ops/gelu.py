"""The derivative of a GELU that several nodes make up, as one function; ``xplain.graph.passes.gelus`` finds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from xplain.graph.build.tracer import Tracer, Value

__all__ = ["Gelu"]


@dataclass(frozen=True, slots=True)
class Gelu:
    """Tensors of one GELU: ``x``, ``gate`` = Phi(x) and ``scaled`` = x / sqrt(2)."""

    x: str
    gate: str
    scaled: str

    def renamed(self, name: Callable[[str], str]) -> Gelu:
        """The same in another evaluation of the model."""
        return Gelu(name(self.x), name(self.gate), name(self.scaled))

    def slope(self, t: Tracer) -> Value:
        """``Phi(x) + u exp(-u^2) / sqrt(pi)``."""
        u = t.value(self.scaled)
        return t.value(self.gate) + u * t.Exp(-0.5 * math.log(math.pi) - u * u)
