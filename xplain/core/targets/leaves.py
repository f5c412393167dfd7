"""What a target reads of one tensor: the single definition that numpy, torch, sweeps and compiled files all follow.

    value[r] = reduction over the axes that are left of  tensor[r, *index] * factors

A kind of leaf (``KINDS``) says how many axes behind the batch the index names and how the rest is reduced. A reduction
(``REDUCTIONS``) says its value and its derivative. A new kind, or a new reduction, is one entry here.

| kind | index | reduction | factors |
|---|---|---|---|
| ``label`` | a class, among all scores of a row | none is left | |
| ``channel`` | a channel | mean over positions | |
| ``neuron`` | one number per axis | none is left | |
| ``inner`` | | sum | the cotangent |
| ``predicted`` | the item's number | none is left | |

``predicted`` is the class with the largest score, the first of several: a ``label`` that is not known yet. A sweep of
the items finds it on its way, and ``settled`` makes it a label from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted

__all__ = [
    "KINDS",
    "PREDICTED",
    "REDUCTIONS",
    "SCORES",
    "Leaf",
    "LeafKind",
    "Reduction",
    "per_row",
    "side_by_side",
]

SCORES = ""
"""Name under which a target finds the model's score vector among the values it reads."""

_MOST_NAMES = 20


@dataclass(frozen=True)
class Reduction:
    """How the elements that a leaf reads of a row become one number.

    Args:
        value: Elements ``[R, P]``, of numpy or torch, to ``[R]``.
        slope: The derivative of that number by each element, of anything that broadcasts to ``values``: called with
            the elements ``values [R, ..., *axes]``, the axes that are reduced, and how many elements P they hold.
    """

    value: Callable[[Any], Any]
    slope: Callable[[Any, tuple[int, ...], Any], Any]


REDUCTIONS: dict[str, Reduction] = {
    "mean": Reduction(lambda elements: elements.mean(1), lambda _values, _axes, count: 1.0 / count),
    "sum": Reduction(lambda elements: elements.sum(1), lambda _values, _axes, _count: 1.0),
}


@dataclass(frozen=True)
class LeafKind:
    """How leaves of a kind read their tensor.

    Args:
        word: What its numbers are called where they are an input of a graph.
        axes: Axes behind the batch that the index names, from the first one; None: all of them.
        reduction: How the axes left are reduced, a name in ``REDUCTIONS``.
        flat: The axes behind the batch are read as one.
        given: The elements are multiplied by factors that are given.
    """

    word: str
    axes: int | None
    reduction: str = "mean"
    flat: bool = False
    given: bool = False


KINDS: dict[str, LeafKind] = {
    "label": LeafKind("target", 1, flat=True),
    "channel": LeafKind("channel", 1),
    "neuron": LeafKind("place", None),
    "inner": LeafKind("cotangent", 0, "sum", given=True),
    "predicted": LeafKind("target", 1, flat=True),
}

PREDICTED = -(2**62)
"""What a sweep's input holds in place of a class that it is to find."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One number per row of a tensor, as data.

    Args:
        kind: A name in ``KINDS``.
        tensor: The tensor's name; ``SCORES`` for the scores.
        index: Places: one for all items, or one for each where ``per_item``; empty for a kind without an index.
        factors: What the elements are multiplied by, ``[*tensor]``, or ``[N, *tensor]`` where ``per_item``.
        per_item: Whether there is a row for each item.
        names: What the places are called by a person, one per place; empty: by their numbers.
    """

    kind: str
    tensor: str = SCORES
    index: tuple[tuple[int, ...], ...] = ()
    factors: Array | None = None
    per_item: bool = False
    names: tuple[str, ...] = field(default=(), compare=False)

    @property
    def way(self) -> LeafKind:
        """How leaves of this kind read their tensor."""
        return KINDS[self.kind]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensor that is read."""
        return (self.tensor,)

    @property
    def open(self) -> bool:
        """Whether its place is still to be found; a class that is predicted is found on the way."""
        return False

    @property
    def items(self) -> int | None:
        """How many items it is for; None where it is the same for any."""
        if not self.per_item:
            return None
        return len(self.index) if self.factors is None else len(self.factors)

    def numbers(self, items: Array) -> Array:
        """Index, int64 ``[R, k]``, or factors, ``[R, *tensor]``, of rows that belong to ``items`` [R]."""
        if self.kind == "predicted":
            return np.full((len(items), 1), PREDICTED, np.int64)
        own: Array = np.asarray(self.index, np.int64) if self.factors is None else self.factors
        if self.per_item:
            return own[items]
        return (
            np.repeat(own, len(items), axis=0)
            if self.factors is None
            else np.broadcast_to(own, (len(items), *own.shape))
        )

    def value(self, values: Any, items: Array, like: Callable[[Array], Any] = np.asarray) -> Any:
        """The leaf's number in each row of ``values`` ``[R, ...]``, which may be of numpy or of torch.

        Args:
            values: The tensor.
            items: int ``[R]``: the item that each row belongs to.
            like: Makes an array of numpy one of the kind of ``values``.

        Raises:
            UsageError: the tensor has no such place.
        """
        self.check(tuple(values.shape))
        rows = len(values)
        flat = values.reshape(rows, -1) if self.way.flat else values
        if self.kind == "predicted":
            return flat[(like(np.arange(rows)), flat.argmax(1))]
        if self.factors is not None:
            found = flat * like(self.factors[items] if self.per_item else self.factors)
        elif self.per_item:
            found = flat[(like(np.arange(rows)), *(like(column) for column in self.numbers(items).T))]
        else:
            found = flat[(slice(None), *self.index[0])]
        return REDUCTIONS[self.way.reduction].value(found.reshape(rows, -1))

    def check(self, shape: tuple[int, ...]) -> None:
        """Whether a tensor of this shape, batch first, has the place.

        Raises:
            UsageError: it has not.
        """
        if self.kind == "predicted":
            return
        inside = shape[1:] if not self.way.flat else (int(np.prod(shape[1:])),)
        if self.factors is not None:
            if self.factors.shape[int(self.per_item) :] != inside:
                raise UsageError(
                    f"Tensor {self.tensor!r} is {per_row(shape)}; the cotangent is {list(self.factors.shape)}."
                )
            return
        named = len(inside) if self.way.axes is None else self.way.axes
        for place in self.index:
            if len(place) != named or len(inside) < named:
                raise self._absent(place, shape)
            if any(not -n <= i < n for i, n in zip(place, inside[:named], strict=True)):
                raise self._absent(place, shape)

    def _absent(self, place: tuple[int, ...], shape: tuple[int, ...]) -> UsageError:
        if self.kind == "label":
            return UsageError(
                f"Target {self.text()!r} asks for class {place[0]}; the model has "
                f"{counted(shape[1], 'class', 'classes')}."
            )
        if self.kind == "channel":
            top = f", 0 to {shape[1] - 1} are there" if len(shape) > 1 else ""
            return UsageError(f"Tensor {self.tensor!r} is {per_row(shape)}: it has no channel {place[0]}{top}.")
        last = [n - 1 for n in shape[1:]]
        return UsageError(
            f"Tensor {self.tensor!r} is {per_row(shape)}: it has no element {list(place)}. Accepted: one number for "
            f"each axis behind the batch, up to {last}."
        )

    def among(self, classes: int) -> Leaf:
        """The leaf with classes counted from the front, where it reads one of ``classes``."""
        if not self.way.flat or self.tensor != SCORES:
            return self
        return replace(self, index=tuple((place[0] % classes,) for place in self.index))

    def take(self, items: Array) -> Leaf:
        """The leaf for a batch made of ``items`` [R] of this one's."""
        if not self.per_item:
            return self
        index = tuple(self.index[int(n)] for n in items) if self.index else ()
        names = tuple(self.names[int(n)] for n in items) if self.names else ()
        return replace(self, index=index, names=names, factors=None if self.factors is None else self.factors[items])

    def of_item(self, item: int) -> Leaf:
        """The leaf of one item, as one for all."""
        one = self.take(np.array([item]))
        factors = one.factors[0] if one.per_item and one.factors is not None else one.factors
        return replace(one, per_item=False, factors=factors)

    def text(self) -> str:
        """What a person reads: a class's name, ``tensor[place]``, or ``<tensor, given>``."""
        if self.factors is not None:
            return f"<{self.tensor}, given>"
        if self.kind == "predicted":
            return "the predicted class"
        return side_by_side(self.names or [self._numbered(place) for place in self.index])

    def found(self, rows: tuple[tuple[int, ...], ...]) -> Leaf:
        """The class of each row, where this is the class that is predicted."""
        return replace(self, kind="label", index=rows) if self.kind == "predicted" else self

    def renamed(self, names: Mapping[str, str]) -> Leaf:
        """The same where tensors are called otherwise."""
        return replace(self, tensor=names.get(self.tensor, self.tensor))

    def settled(self, labels: Array, names: tuple[str, ...] = ()) -> Leaf:
        """The class that was predicted for each item, where this is such a leaf; ``names`` are those of the items."""
        if self.kind != "predicted":
            return self
        items = [place[0] for place in self.index]
        found = tuple((int(labels[n]),) for n in items)
        called = tuple(names[n] for n in items) if names else ()
        one = len(set(found)) == 1
        return Leaf("label", self.tensor, found[:1] if one else found, None, not one, called[:1] if one else called)

    def _numbered(self, place: tuple[int, ...]) -> str:
        return f"label {place[0]}" if self.kind == "label" else f"{self.tensor}{list(place)}"

    def data(self) -> dict[str, Any]:
        """The leaf as strings, numbers and lists; ``Leaf.of`` reads it back."""
        told: dict[str, Any] = {"kind": self.kind}
        if self.tensor != SCORES:
            told["tensor"] = self.tensor
        if self.index:
            told["index"] = [list(place) for place in self.index] if self.per_item else list(self.index[0])
        if self.factors is not None:
            told["factors"] = self.factors.tolist()
        if self.per_item:
            told["per_item"] = True
        if self.names:
            told["names"] = list(self.names)
        return told

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Leaf:
        """The leaf that ``data`` told.

        Raises:
            UsageError: it is none.
        """
        try:
            per_item, factors = bool(told.get("per_item", False)), told.get("factors")
            places = told.get("index", [])
            index = tuple(tuple(int(i) for i in place) for place in (places if per_item or not places else [places]))
            leaf = cls(
                str(told["kind"]),
                str(told.get("tensor", SCORES)),
                index,
                None if factors is None else np.asarray(factors, np.float64),
                per_item,
                tuple(str(name) for name in told.get("names", ())),
            )
            fits = leaf.way.given == (leaf.factors is not None) and leaf.way.given != bool(leaf.index)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"This is no part of a target: {told!r:.200}.") from error
        if not fits or (leaf.names and len(leaf.names) != len(leaf.index)):
            raise UsageError(f"This is no part of a target: {told!r:.200}.")
        return leaf

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and replace(self, names=()).data() == replace(other, names=()).data()

    def __hash__(self) -> int:
        return hash((self.kind, self.tensor, self.index, self.per_item))


def per_row(shape: tuple[int, ...]) -> str:
    """A shape as a message says it: how many rows were asked at once, and filled up, says nothing to a person."""
    return f"[{', '.join(['N', *map(str, shape[1:])])}]"


def side_by_side(names: tuple[str, ...] | list[str]) -> str:
    """What is explained of several items as one text for a person; nobody takes it apart again."""
    several = list(dict.fromkeys(names))
    if len(several) == 1:
        return several[0]
    more = f" and {len(several) - _MOST_NAMES} more" if len(several) > _MOST_NAMES else ""
    return f"per item: {' | '.join(several[:_MOST_NAMES])}{more}"
