"""Steps uphill: what a state becomes from its gradient. Each state of a batch is moved by itself.

memory = optimiser.start(state)
state, memory = optimiser.step(state, gradient, memory, k)        # k = 0, 1, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["Adam", "Ascent", "Memory", "Optimiser"]

Memory: TypeAlias = Mapping[str, Array]
"""What an optimiser remembers of each state, ``[N, ...]``."""

_LEAST = 1e-12


class Optimiser(Protocol):
    """How states move."""

    def start(self, state: Array) -> Memory:
        """What is remembered before the first step."""

    def step(self, state: Array, gradient: Array, memory: Memory, k: int) -> tuple[Array, Memory]:
        """The states after step ``k``, and what is remembered then."""


@dataclass(frozen=True, slots=True)
class Adam:
    """Moments of the gradient with their bias corrections: ``z + rate m / (sqrt(v) + e)``. Kingma 2015.

    ``rate`` is the most that an element moves in a step, whatever the size of the gradient.

    Args:
        rate: Length of a step.
        first: Decay of the mean.
        second: Decay of the mean square.
    """

    rate: float
    first: float = 0.9
    second: float = 0.999

    def start(self, state: Array) -> Memory:
        """Zero moments."""
        return {"mean": np.zeros_like(state), "square": np.zeros_like(state)}

    def step(self, state: Array, gradient: Array, memory: Memory, k: int) -> tuple[Array, Memory]:
        """One step."""
        mean = self.first * memory["mean"] + (1 - self.first) * gradient
        square = self.second * memory["square"] + (1 - self.second) * gradient * gradient
        up = mean / np.float32(1 - self.first ** (k + 1))
        size = np.sqrt(square / np.float32(1 - self.second ** (k + 1))) + np.float32(1e-8)
        return state + np.float32(self.rate) * up / size, {"mean": mean, "square": square}


@dataclass(frozen=True, slots=True)
class Ascent:
    """A step along the gradient, divided by its size in each state, with momentum.

    ``m = momentum m + (1 - momentum) g / size(g)``, ``z + rate m``.

    Args:
        rate: Length of a step, in units of the state per unit of size.
        momentum: Share of the last direction that stays; 0 for none.
        size: ``rms`` is the root of the mean square, ``mean`` the mean magnitude, ``none`` divides by nothing.
    """

    rate: float
    momentum: float = 0.0
    size: str = "rms"

    def start(self, state: Array) -> Memory:
        """No direction yet."""
        return {"direction": np.zeros_like(state)}

    def step(self, state: Array, gradient: Array, memory: Memory, k: int) -> tuple[Array, Memory]:
        """One step."""
        axes = tuple(range(1, gradient.ndim))
        if self.size == "rms":
            gradient = gradient / np.sqrt((gradient**2).mean(axis=axes, keepdims=True) + _LEAST**2)
        elif self.size == "mean":
            gradient = gradient / (np.abs(gradient).mean(axis=axes, keepdims=True) + _LEAST)
        direction = self.momentum * memory["direction"] + (1 - self.momentum) * gradient
        return state + np.float32(self.rate) * direction, {"direction": direction.astype(state.dtype)}
