"""How far a change may go: balls of the four norms inside the box of allowed values, and steps in them.

| norm | size of a change ``d`` | steepest step for a gradient ``g`` |
|---|---|---|
| ``linf`` | ``max |d_i|`` | ``sign(g)`` |
| ``l2`` | ``sqrt(sum d_i^2)`` | ``g / ||g||_2`` |
| ``l1`` | ``sum |d_i|`` | ``sign(g)`` on the elements with the largest ``|g|``, divided by their number |
| ``l0`` | positions with any ``d_i != 0`` | the way to the border of the box at the positions that gain most |

The box is ``[low - x, high - x]``, so zero is always in it, and clipping a change to it never makes it larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from xplain.core.edits import Array
from xplain.core.positions.layout import Layout
from xplain.core.synthesis.attack import Norm

__all__ = ["Ball", "size_of"]

_HALVINGS, _MOST_STEPS = 24, 60
_NEAR = 0.99
"""Share of the radius from which a change counts as one on the sphere."""

_SPARSE = 0.01
"""Share of the elements that an L1 step moves."""


def size_of(change: Array, norm: Norm, layout: Layout) -> Array:
    """The size of changes ``[N, *item]``, float64 ``[N]``; of ``l0`` the number of positions, whatever the channels."""
    flat = np.abs(np.asarray(change, np.float64)).reshape(len(change), -1)
    if norm == "linf":
        return np.asarray(flat.max(axis=1))
    if norm == "l2":
        return np.asarray(np.sqrt((flat * flat).sum(axis=1)))
    if norm == "l1":
        return np.asarray(flat.sum(axis=1))
    moved = np.asarray(change) != 0
    moved = moved if layout.channel_axis is None else moved.any(axis=layout.channel_axis)
    return np.asarray(moved.reshape(len(change), -1).sum(axis=1), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """Changes of some items that are allowed.

    Args:
        norm: How a change is measured.
        radius: How large it may be, in the items' values; of ``l0`` a number of positions.
        low: The least change of each element, at most 0, ``[N, *item]``.
        high: The largest, at least 0.
        layout: The axes of the items.
        whole: Whether changes are whole numbers.
    """

    norm: Norm
    radius: float
    low: Array
    high: Array
    layout: Layout
    whole: bool

    def of(self, items: Array) -> Ball:
        """The ball of some of the items."""
        return replace(self, low=self.low[items], high=self.high[items])

    def size(self, change: Array) -> Array:
        """``[N]``."""
        return size_of(change, self.norm, self.layout)

    def project(self, change: Array) -> Array:
        """The nearest change, in the Euclidean sense, that lies in the ball and in the box.

        ``linf`` and ``l0`` in closed form. ``l2`` is ``clip(s d)`` and ``l1`` is ``sign(d) clip(|d| - t)``, with the
        ``s`` and ``t`` for which the size is the radius.
        """
        if self.norm == "linf":
            return np.clip(change, np.maximum(self.low, -self.radius), np.minimum(self.high, self.radius))
        clipped = np.clip(change, self.low, self.high)
        if self.norm == "l0":
            return self._sparse(change, clipped)
        for n in np.flatnonzero(self.size(clipped) > self.radius):
            room = np.where(change[n] >= 0, self.high[n], -self.low[n])
            near = _scaled if self.norm == "l2" else _shrunk
            clipped[n] = np.sign(change[n]) * near(np.abs(change[n]), room, self.radius)
        return clipped

    def settle(self, change: Array) -> Array:
        """A change in the ball whose elements are whole numbers, if they must be: ``round(c d)``.

        ``c`` is 1, or the largest for which the rounded change is inside. A change on the sphere of ``l2`` or ``l1``
        may also grow, ``c > 1``: of the whole numbers in an ``l2`` ball ``round(c g)`` gains most along ``g``, where
        rounding ``g`` itself to the nearest would leave nothing of a change that is spread thinly.
        """
        inside = self.project(change)
        if not self.whole:
            return inside
        if self.norm in ("linf", "l0"):
            return np.rint(inside)
        full = np.abs(inside).reshape(len(inside), -1).max(axis=1)
        most = np.where((self.size(inside) >= _NEAR * self.radius) & (full > 0), 256.0 / np.maximum(full, 1e-9), 1.0)
        return _largest(lambda c: np.rint(np.clip(c * inside, self.low, self.high)), self._fits, inside, most)

    def steepest(self, gradient: Array) -> Array:
        """The step of size 1 along which the gradient rises most; zero where the gradient is.

        ``l0``: the whole way to the border at as many positions as may change, and a part of it at the others, in
        proportion to what they gain.
        """
        flat = gradient.reshape(len(gradient), -1)
        shape = (-1, *(1,) * (gradient.ndim - 1))
        if self.norm == "linf":
            return np.sign(gradient)
        if self.norm == "l2":
            length = np.sqrt((flat * flat).sum(axis=1)).reshape(shape)
            return np.asarray(gradient / np.maximum(length, np.finfo(np.float64).tiny))
        if self.norm == "l1":
            room = np.where(gradient > 0, self.high, -self.low) > 0  # an element at the border cannot go on
            size = np.abs(gradient) * room
            count = max(1, round(_SPARSE * flat.shape[1]))
            kth = np.partition(size.reshape(len(size), -1), -count, axis=1)[:, -count].reshape(shape)
            chosen = np.sign(gradient) * (size >= kth) * (size > 0)
            return np.asarray(chosen / np.maximum(np.abs(chosen).reshape(len(size), -1).sum(axis=1).reshape(shape), 1))
        ends = np.where(gradient > 0, self.high, self.low)
        size = np.abs(gradient * ends)
        axis = self.layout.channel_axis
        summed = size if axis is None else size.sum(axis=axis, keepdims=True)
        flat = summed.reshape(len(summed), -1)
        count = int(min(max(self.radius, 1), flat.shape[1]))
        kth = np.partition(flat, -count, axis=1)[:, -count].reshape(shape)
        part = np.minimum(summed / np.maximum(kth, np.finfo(np.float64).tiny), 1.0)
        return np.asarray(ends * part * (gradient != 0))

    def anywhere(self, noise: Array) -> Array:
        """Random changes of about the radius, of standard normal numbers ``[N, *item]``."""
        if self.norm == "linf":
            return self.project(np.tanh(noise) * self.radius)
        if self.norm == "l0":
            return self._sparse(noise, np.where(noise > 0, self.high, self.low) * (noise != 0))
        size = self.size(noise).reshape(-1, *(1,) * (noise.ndim - 1))
        return self.project(noise * self.radius / size)

    def _fits(self, change: Array) -> Array:
        return self.size(change) <= self.radius * (1 + 1e-12)

    def _sparse(self, wanted: Array, clipped: Array) -> Array:
        """Clipped changes at the positions where leaving one out would cost most, nothing elsewhere."""
        gain = wanted * wanted - (wanted - clipped) ** 2
        axis = self.layout.channel_axis
        gain = gain if axis is None else gain.sum(axis=axis, keepdims=True)
        flat = gain.reshape(len(gain), -1)
        count = int(min(self.radius, flat.shape[1]))
        kept = np.zeros(flat.shape, bool)
        if count:
            np.put_along_axis(kept, np.argsort(-flat, axis=1, kind="stable")[:, :count], True, axis=1)
        return np.where(kept.reshape(gain.shape), clipped, 0.0)


def _scaled(size: Array, room: Array, radius: float) -> Array:
    """``min(s size, room)`` of Euclidean length ``radius``, for elements of one item.

    ``s`` grows from below: with what is at its border held there, the rest is scaled to the length that is left.
    """
    scale = radius / max(float(np.sqrt((size * size).sum())), np.finfo(np.float64).tiny)
    for _ in range(_MOST_STEPS):
        held = scale * size >= room
        left = radius**2 - float((room[held] ** 2).sum())
        free = float((size[~held] ** 2).sum())
        if free <= 0 or left <= 0 or (wider := (left / free) ** 0.5) <= scale * (1 + 1e-14):
            break
        scale = wider
    return np.minimum(scale * size, room)


def _shrunk(size: Array, room: Array, radius: float) -> Array:
    """``min(max(size - t, 0), room)`` of sum ``radius``, for elements of one item.

    The sum falls in ``t`` in straight pieces: Newton's step where it stays between the bounds known, else their middle.
    """
    low, high = 0.0, float(size.max())
    at = 0.0
    for _ in range(_MOST_STEPS):
        kept = np.minimum(np.maximum(size - at, 0.0), room)
        over = float(kept.sum()) - radius
        if abs(over) <= 1e-12 * radius or high - low <= 1e-15 * high:
            break
        low, high = (at, high) if over > 0 else (low, at)
        slope = int(((size > at) & (size - at < room)).sum())
        at = at + over / slope if slope else high
        at = at if low < at < high else (low + high) / 2
    return np.minimum(np.maximum(size - max(at, high if over > 0 else at), 0.0), room)


def _largest(made: Callable[[Array], Array], fits: Callable[[Array], Array], like: Array, most: Array) -> Array:
    """``made(c)`` for the largest c in [0, most] of each item for which it fits; it must be monotone in c."""
    shape = (len(like), *(1,) * (like.ndim - 1))
    low, high = np.zeros(shape), most.reshape(shape).copy()
    whole = fits(made(high)).reshape(shape)
    low[whole] = high[whole]
    for _ in range(_HALVINGS):
        if (high - low <= 1e-6 * high).all():
            break
        middle = (low + high) / 2
        good = fits(made(middle)).reshape(shape)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return made(low)
