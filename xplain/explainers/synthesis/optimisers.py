"""Steps uphill: what a state becomes from its gradient. Each state of a batch is moved by itself.

memory = optimiser.start(state)
state, memory = optimiser.step(state, gradient, memory, k)        # k = 0, 1, ...

``Lbfgs`` goes where it wants to, several times in one step, so it is asked for places and told what is found there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["Adam", "Ascent", "Lbfgs", "Memory", "Optimiser"]

Memory: TypeAlias = Mapping[str, Array]
"""What an optimiser remembers of each state, ``[N, ...]``."""

_LEAST = 1e-12

_BLOCK = 2**15
"""Elements that go through all of a step's arithmetic before the next ones: as many as stay in a core's cache."""


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
        root = float(np.sqrt(1 - self.second ** (k + 1)))  # both corrections, as factors of the whole
        rate, least = self.rate * root / (1 - self.first ** (k + 1)), 1e-8 * root
        old, new = (
            (state, memory["mean"], memory["square"]),
            tuple(np.empty(state.shape, state.dtype) for _ in range(3)),
        )
        work = np.empty(min(_BLOCK, state.size), state.dtype)
        g, (z, m, v), (up, mean, square) = gradient.reshape(-1), map(np.ravel, old), (one.reshape(-1) for one in new)
        for start in range(0, state.size, _BLOCK):
            at = slice(start, start + _BLOCK)
            part = work[: len(up[at])]
            np.multiply(m[at], self.first, out=mean[at])
            mean[at] += np.multiply(g[at], 1 - self.first, out=part)
            np.multiply(v[at], self.second, out=square[at])
            np.multiply(g[at], g[at], out=part)
            square[at] += np.multiply(part, 1 - self.second, out=part)
            np.sqrt(square[at], out=part)
            part += least
            np.divide(mean[at], part, out=part)
            part *= rate
            np.add(z[at], part, out=up[at])
        return new[0], {"mean": new[1], "square": new[2]}


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


class Lbfgs:
    """Scipy's L-BFGS-B without bounds, asked for one place after another. Byrd 1995, doi:10.1137/0916069.

        way = Lbfgs(start)
        while (place := way.place) is not None:
            way.tell(value, gradient)                  # of what is made small, at that place

    Scipy calls the function that it makes small; here that function waits, in a thread of its own, for whoever asks
    models. Only one of the two ever runs, so the places are the same in every run. The search goes on until it finds no
    better place along its direction, or is stopped.

    Args:
        start: The first place, ``[D]``.
        pairs: Differences of places and gradients that stand for the curvature.
    """

    def __init__(self, start: Array, pairs: int = 10) -> None:
        self._places: SimpleQueue[Array | BaseException | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[float, Array] | None] = SimpleQueue()
        self._thread = Thread(target=self._search, args=(np.asarray(start, np.float64), pairs), daemon=True)
        self._thread.start()
        self.place = self._next()

    def tell(self, value: float, gradient: Array) -> None:
        """What was found at ``place``, which then is the next one, or None at the end."""
        self._answers.put((float(value), np.asarray(gradient, np.float64)))
        self.place = self._next()

    def stop(self) -> None:
        """End the search."""
        if self.place is not None:
            self._answers.put(None)
            self.place = self._next()

    def _next(self) -> Array | None:
        found = self._places.get()
        if found is None:
            self._thread.join()
        elif isinstance(found, BaseException):
            raise found
        return found

    def _asked(self, place: Array) -> tuple[float, Array]:
        self._places.put(place.copy())
        answer = self._answers.get()
        if answer is None:
            raise _Stopped
        return answer

    def _search(self, start: Array, pairs: int) -> None:
        from scipy.optimize import minimize  # slow to load, and rarely asked for

        endless: dict[str, Any] = {"maxcor": pairs, "ftol": 0.0, "gtol": 0.0, "maxfun": 10**9, "maxiter": 10**9}
        try:
            minimize(self._asked, start, jac=True, method="L-BFGS-B", options=endless)
        except _Stopped:
            pass
        except BaseException as error:  # whoever asks is to see it
            self._places.put(error)
            return
        self._places.put(None)


class _Stopped(Exception):
    """Nobody asks any more."""
