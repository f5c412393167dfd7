"""The scalar whose cause is asked for: composable data, never a closure.

    label(3) - label(7)          why class 3 rather than class 7
    channel("conv5", 12)         what drives a feature map (its mean over positions)
    neuron("conv5", 12, 6, 6)    what drives one unit
    inner("conv5", cotangent)    the inner product of a tensor with a given one
    output("mask")[2].mean(where=road)            the mean of class 2's map where a mask says
    similarity(output("embedding"), other)        the cosine of two vectors
    log(label(3)) * 2.0                           functions, products and quotients of targets

A ``Target`` is a weighted sum of leaves (``xplain.core.targets.leaves``) and of formulas
(``xplain.core.targets.formulas``). It reads the scores ``[R, K]`` of the model, or named tensors of it, and gives one
number per row. A label may differ from item to item. What a person reads is derived from the data, and nothing is ever
parsed back out of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.targets.formulas import Formula, Term, leaves_of, parts_of, spelled_out, term_of
from xplain.core.targets.leaves import SCORES, Leaf, side_by_side
from xplain.core.targets.parts import Part

__all__ = ["SCORES", "EveryScore", "Leaf", "Stack", "Target", "channel", "every_score", "inner", "label", "neuron"]
__all__ += ["predicted", "side_by_side"]


@dataclass(frozen=True, slots=True)
class Target:
    """A weighted sum of leaves and formulas; add, subtract, scale, multiply and divide to compose."""

    terms: tuple[tuple[float, Term], ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are read, ``SCORES`` for the model's scores."""
        return tuple(dict.fromkeys(name for _, term in self.terms for name in term.tensors))

    @property
    def name(self) -> str:
        """What a person reads, such as ``"cat - dog"``; of a target that differs from item to item, all of them."""
        return spelled_out(self.terms)

    @property
    def open(self) -> bool:
        """Whether something of it is still to be chosen at the items, as the place of a peak is; see ``frozen``."""
        return any(term.open for _, term in self.terms)

    @property
    def linear(self) -> bool:
        """Whether it is a weighted sum of elements and of means, whose derivative is the same everywhere."""
        return all(isinstance(term, Leaf) for _, term in self.terms)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """All leaves, those in formulas too."""
        return tuple(leaf for _, term in self.terms for leaf in leaves_of(term))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of tensors that formulas are computed of."""
        return tuple(part for _, term in self.terms for part in parts_of(term))

    @property
    def selectable(self) -> Leaf | None:
        """The class that it reads, where it reads nothing else: what a compiled file lets one choose."""
        one = self.terms[0][1] if len(self.terms) == 1 else None
        return one if isinstance(one, Leaf) and one.kind == "label" else None

    def read(self, values: Mapping[str, Array], items: Array) -> Array:
        """One number per row, float64 ``[R]``.

        Args:
            values: Tensor name to its rows ``[R, ...]``; ``SCORES`` maps to the scores ``[R, K]``.
            items: int ``[R]``, the item each row belongs to.

        Raises:
            UsageError: a tensor has not the place that a leaf reads.
        """
        total = np.zeros(len(items), dtype=np.float64)
        for weight, term in self.terms:
            if isinstance(term, Leaf):
                total += weight * term.value(np.asarray(values[term.tensor], dtype=np.float64), items)
            else:
                read = {name: np.asarray(values[name], dtype=np.float64) for name in term.tensors}
                total += weight * term.value(read, items)
        return total

    def total(self, values: Mapping[str, Any], like: Callable[[Array], Any]) -> Any:
        """The sum over all items of a batch, one row each, in the arrays of another library.

        Its derivative by an item's row is that of the item's own number.

        Args:
            values: Tensor name to its rows ``[N, ...]``.
            like: Makes an array of numpy one of that library.
        """
        total: Any = 0.0
        for weight, term in self.terms:
            rows = np.arange(len(values[term.tensors[0]]))
            read = values[term.tensor] if isinstance(term, Leaf) else values
            total = total + weight * term.value(read, rows, like).sum()
        return total

    def frozen(self, values: Mapping[str, Array]) -> Target:
        """The same with what is chosen at the items held fast, such as the place of a peak.

        Args:
            values: The tensors' values for the untouched items, ``[N, ...]``.
        """
        rows = np.arange(len(next(iter(values.values()))))
        terms = ((w, term.frozen(values, rows) if isinstance(term, Formula) else term) for w, term in self.terms)
        return Target(tuple(terms))

    def take(self, items: Array) -> Target:
        """The same target for a batch made of ``items`` [R] of this one: per-item parts are picked accordingly."""
        return Target(tuple((weight, leaf.take(items)) for weight, leaf in self.terms))

    def of_item(self, item: int) -> Target:
        """The target of one item, as one for all."""
        return Target(tuple((weight, leaf.of_item(item)) for weight, leaf in self.terms))

    def settled(self, labels: Array, names: tuple[str, ...] = ()) -> Target:
        """The same target where it is known which classes were predicted; see ``Leaf.settled``."""
        return Target(tuple((weight, leaf.settled(labels, names)) for weight, leaf in self.terms))

    def found(self, scores: Array) -> Target:
        """The same target with the class that each row of ``scores`` [R, K] predicts, for the same R items."""
        rows = tuple((int(label),) for label in scores.argmax(axis=1))
        return Target(tuple((weight, term.found(rows)) for weight, term in self.terms))

    def renamed(self, names: Mapping[str, str]) -> Target:
        """The same target where tensors are called otherwise; names that are not given stay."""
        return Target(tuple((weight, term.renamed(names)) for weight, term in self.terms))

    def data(self) -> list[dict[str, Any]]:
        """The target as strings, numbers and lists, one entry per term; ``Target.of`` reads it back."""
        return [{"weight": float(weight), **leaf.data()} for weight, leaf in self.terms]

    @classmethod
    def of(cls, told: Sequence[Mapping[str, Any]]) -> Target:
        """The target that ``data`` told.

        Raises:
            UsageError: it is none.
        """
        try:
            weights = [float(one["weight"]) for one in told]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"This is no target: {told!r:.200}.") from error
        return cls(tuple(zip(weights, map(term_of, told), strict=True)))

    def __add__(self, other: Any) -> Target:
        if not isinstance(other, Target):
            raise UsageError(f"To a target another target is added, or taken from it; got {other!r:.80}.")
        return Target(self.terms + other.terms)

    def __sub__(self, other: Any) -> Target:
        return self + (-1.0 * other if isinstance(other, Target) else other)

    def __mul__(self, factor: Any) -> Target:
        if isinstance(factor, Target):
            return _alone(Formula("product", (self.terms, factor.terms)))
        if isinstance(factor, bool) or not isinstance(factor, Real) or not math.isfinite(factor):
            raise UsageError(f"A target is multiplied by a finite number, or by a target; got {factor!r:.80}.")
        return Target(tuple((float(factor) * weight, term) for weight, term in self.terms))

    def __rmul__(self, factor: Any) -> Target:
        found: Target = self * factor
        return found

    def __truediv__(self, other: Any) -> Target:
        if isinstance(other, Target):
            return _alone(Formula("quotient", (self.terms, other.terms)))
        if other == 0:
            raise UsageError("A target is divided by 0; give another number.")
        found: Target = self * (1.0 / other)
        return found

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

    def take(self, items: Array) -> Stack:
        """The same targets for a batch made of ``items`` [R] of theirs."""
        return Stack(tuple(target.take(items) for target in self.targets))


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

    def take(self, items: Array) -> EveryScore:
        """Itself, for any batch."""
        return self


every_score: EveryScore = EveryScore()


def label(index: int | Sequence[int], name: str | Sequence[str] = "") -> Target:
    """The score of class ``index``, or of ``index[n]`` for item n; negative counts from the end.

    ``name`` is what a person calls the class, or one name per item.
    """
    one = isinstance(index, (int, np.integer))
    places = tuple((int(i),) for i in np.atleast_1d(np.asarray(index)))
    names = (name,) * len(places) if isinstance(name, str) else tuple(name)
    return _alone(Leaf("label", SCORES, places, per_item=not one, names=names if any(names) else ()))


def predicted(items: int) -> Target:
    """The score of the class that is predicted for each of so many items, found on the way; see ``Leaf.settled``."""
    return _alone(Leaf("predicted", SCORES, tuple((n,) for n in range(items)), per_item=True))


def channel(tensor: str, index: int) -> Target:
    """The mean of channel ``index`` of the tensor ``tensor`` over its positions."""
    return _alone(Leaf("channel", tensor, ((int(index),),)))


def neuron(tensor: str, *index: int) -> Target:
    """The element ``index`` of the tensor ``tensor``, batch axis left out."""
    return _alone(Leaf("neuron", tensor, (tuple(int(i) for i in index),)))


def inner(tensor: str, cotangent: Array, per_item: bool = False) -> Target:
    """The inner product of the tensor ``tensor`` with ``cotangent``, which has a leading item axis if ``per_item``."""
    return _alone(Leaf("inner", tensor, factors=np.asarray(cotangent), per_item=per_item))


def _alone(term: Term) -> Target:
    return Target(((1.0, term),))
