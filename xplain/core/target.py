"""The scalar whose cause is asked for: composable data, never a closure.

    label(3) - label(7)          why class 3 rather than class 7
    channel("conv5", 12)         what drives a feature map (its mean over positions)
    neuron("conv5", 12, 6, 6)    what drives one unit
    inner("conv5", cotangent)    the inner product of a tensor with a given one

A ``Target`` is a weighted sum of such terms. It reads the scores ``[R, K]`` of the model, or a named tensor of it, and
gives one number per row. A label may differ from item to item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["SCORES", "Channel", "Inner", "Label", "Neuron", "Stack", "Target", "Term", "channel", "inner", "label"]
__all__ += ["every_score", "neuron", "side_by_side"]

_MOST_NAMES = 20
SCORES = ""
"""Name under which a target finds the model's score vector among the values it reads."""


@dataclass(frozen=True, slots=True)
class Label:
    """The score of a class, given by its index: one for all items, or one per item. Negative counts from the end."""

    index: int | tuple[int, ...]

    tensor = SCORES

    def read(self, values: Array, items: Array) -> Array:
        """The class score of each row of ``values`` [R, K]; ``items`` [R] tells which item a row belongs to."""
        columns = self.index if isinstance(self.index, int) else np.asarray(self.index)[items]
        return np.asarray(values[np.arange(len(values)), columns])


@dataclass(frozen=True, slots=True)
class Channel:
    """The mean of one channel of a tensor ``[N, C, ...]`` over its positions."""

    tensor: str
    index: int

    def read(self, values: Array, items: Array) -> Array:
        """The channel's mean in each row of ``values`` [R, C, ...]."""
        if values.ndim < 2 or not -values.shape[1] <= self.index < values.shape[1]:
            top = f", 0 to {values.shape[1] - 1} are there" if values.ndim > 1 else ""
            raise UsageError(f"Tensor {self.tensor!r} is {list(values.shape)}: it has no channel {self.index}{top}.")
        return np.asarray(values[:, self.index].reshape(len(values), -1).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Neuron:
    """One element of a tensor, by its index without the batch axis."""

    tensor: str
    index: tuple[int, ...]

    def read(self, values: Array, items: Array) -> Array:
        """The element in each row of ``values`` [R, ...]."""
        fits = len(self.index) == values.ndim - 1
        if not fits or any(not -n <= i < n for i, n in zip(self.index, values.shape[1:], strict=True)):
            last = [n - 1 for n in values.shape[1:]]
            raise UsageError(
                f"Tensor {self.tensor!r} is {list(values.shape)}: it has no element {list(self.index)}. Accepted: one "
                f"number for each axis behind the batch, up to {last}."
            )
        return np.asarray(values[(np.arange(len(values)), *self.index)])


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """The inner product of a tensor with a cotangent, ``[*tensor]`` for all items or ``[N, *tensor]`` ``per_item``."""

    tensor: str
    cotangent: Array
    per_item: bool = False

    def read(self, values: Array, items: Array) -> Array:
        """The inner product in each row of ``values`` [R, ...]."""
        g = self.cotangent[items] if self.per_item else self.cotangent
        if g.shape[-(values.ndim - 1) :] != values.shape[1:]:
            raise UsageError(f"Tensor {self.tensor!r} is {list(values.shape)}; the cotangent is {list(g.shape)}.")
        return np.asarray((values * g).reshape(len(values), -1).sum(axis=1))


Term: TypeAlias = Label | Channel | Neuron | Inner


@dataclass(frozen=True, slots=True)
class Target:
    """A weighted sum of terms; add, subtract and scale to compose. ``name`` is what a person reads."""

    terms: tuple[tuple[float, Term], ...]
    name: str = ""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are read, ``SCORES`` for the model's scores."""
        return tuple(dict.fromkeys(term.tensor for _, term in self.terms))

    def read(self, values: Mapping[str, Array], items: Array) -> Array:
        """One number per row, float64 ``[R]``.

        Args:
            values: Tensor name to its rows ``[R, ...]``; ``SCORES`` maps to the scores ``[R, K]``.
            items: int ``[R]``, the item each row belongs to.
        """
        total = np.zeros(len(items), dtype=np.float64)
        for weight, term in self.terms:
            total += weight * term.read(np.asarray(values[term.tensor], dtype=np.float64), items)
        return total

    def take(self, items: Array) -> Target:
        """The same target for a batch made of ``items`` [R] of this one: per-item parts are picked accordingly."""
        terms: list[tuple[float, Term]] = []
        for weight, term in self.terms:
            if isinstance(term, Label) and not isinstance(term.index, int):
                term = Label(tuple(term.index[n] for n in items))
            elif isinstance(term, Inner) and term.per_item:
                term = Inner(term.tensor, term.cotangent[items], per_item=True)
            terms.append((weight, term))
        return Target(tuple(terms), self.name)

    def __add__(self, other: Target) -> Target:
        return Target(self.terms + other.terms, f"{self.name} + {other.name}")

    def __sub__(self, other: Target) -> Target:
        return Target(self.terms + (-1.0 * other).terms, f"{self.name} - {other.name}")

    def __mul__(self, factor: float) -> Target:
        return Target(tuple((factor * w, t) for w, t in self.terms), f"{factor:g} * {self.name}")

    __rmul__ = __mul__

    def __neg__(self) -> Target:
        return -1.0 * self


@dataclass(frozen=True, slots=True)
class Stack:
    """Several targets read from the same evaluations; the engine's way of asking once for many flows."""

    targets: tuple[Target, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that any of the targets reads."""
        return tuple(dict.fromkeys(name for target in self.targets for name in target.tensors))

    def read(self, values: Mapping[str, Array], items: Array) -> Array:
        """float64 ``[R, T]``: one column per target."""
        return np.stack([target.read(values, items) for target in self.targets], axis=1)


@dataclass(frozen=True, slots=True)
class EveryScore:
    """The whole score vector, ``[R, K]``: what the api asks first, to see what was predicted."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Only the scores."""
        return (SCORES,)

    def read(self, values: Mapping[str, Array], items: Array) -> Array:
        """float64 ``[R, K]``."""
        return np.asarray(values[SCORES], dtype=np.float64)


every_score = EveryScore()


def side_by_side(names: Sequence[str]) -> str:
    """What is explained of several items as one text for a person; nobody takes it apart again."""
    several = list(dict.fromkeys(names))
    if len(several) == 1:
        return several[0]
    more = f" and {len(several) - _MOST_NAMES} more" if len(several) > _MOST_NAMES else ""
    return f"per item: {' | '.join(several[:_MOST_NAMES])}{more}"


def label(index: int | Sequence[int], name: str = "") -> Target:
    """The score of class ``index``, or of ``index[n]`` for item n."""
    plain = index if isinstance(index, int) else tuple(int(i) for i in index)
    return Target(((1.0, Label(plain)),), name or f"label {plain}")


def channel(tensor: str, index: int) -> Target:
    """The mean of channel ``index`` of the tensor ``tensor`` over its positions."""
    return Target(((1.0, Channel(tensor, index)),), f"{tensor}[{index}]")


def neuron(tensor: str, *index: int) -> Target:
    """The element ``index`` of the tensor ``tensor``, batch axis left out."""
    return Target(((1.0, Neuron(tensor, index)),), f"{tensor}{list(index)}")


def inner(tensor: str, cotangent: Array, per_item: bool = False) -> Target:
    """The inner product of the tensor ``tensor`` with ``cotangent``, which has a leading item axis if ``per_item``."""
    return Target(((1.0, Inner(tensor, cotangent, per_item)),), f"<{tensor}, given>")
