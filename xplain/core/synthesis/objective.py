"""Objectives: what is made large by moving a canvas. A weighted sum of terms; data, read by one function of arrays.

    objective = Aimed(label(3)) + 0.1 * Variation(weight=-1.0)
    total, parts = objective.read(seen, given)          # [N], and [N] for each term

A term reads tensors of the model, the painted pictures or the state, of V views of each of N canvases, and gives one
number per canvas. It is written in the array API, so numpy, torch and the graph room read the same. Arrays that a
term holds have an entry per canvas and are inputs of a graph, so one graph serves every class and every reference.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from xplain.core.arrays import namespace, one_hot
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.target import Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.given import Given, given_of, named
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.parts import Part

__all__ = ["Aimed", "Objective", "Seen", "Term", "over_views", "rows_of"]

ARRAY = {"array": True}
"""Marks an array of a term that has an entry per canvas."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a term may read, of any kind of array.

    Args:
        values: Tensor to its values ``[N * V, ...]``; ``SCORES`` to the scores ``[N * V, K]``.
        picture: The painted pictures ``[N * V, C, H, W]`` in 0..1.
        state: The states ``[N, *state]``.
        items: N.
        views: V.
    """

    values: Mapping[str, Any]
    picture: Any
    state: Any
    items: int
    views: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Term:
    """One part of an objective.

    Args:
        weight: What it counts; below 0 it is made small.
    """

    weight: float = 1.0

    @property
    def name(self) -> str:
        """What a person reads."""
        return type(self).__name__.lower()

    @property
    def tensors(self) -> tuple[str, ...]:
        """Tensors of the model that it reads."""
        tensor = getattr(self, "tensor", None)
        return () if tensor is None else (tensor,)

    @property
    def joint(self) -> bool:
        """Whether what it says of one canvas depends on the others, so that all must be asked about at once."""
        return False

    def given(self, items: int) -> dict[str, Array]:
        """Its arrays, each with an entry for each of so many canvases."""
        return {one.name: getattr(self, one.name) for one in fields(self) if ARRAY.items() <= one.metadata.items()}

    @property
    def structure(self) -> Hashable:
        """What a graph of it depends on, besides its weight, which is an input."""
        plain = [getattr(self, one.name) for one in fields(self) if not one.metadata and one.name != "weight"]
        return (type(self).__name__, *plain, *((n, a.shape[1:]) for n, a in self.given(1).items()))

    def take(self, items: Array) -> Self:
        """The term for some of the canvases."""
        arrays: dict[str, Any] = {name: array[items] for name, array in self.given(1).items()}
        return replace(self, **arrays)

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """Its number for each canvas, ``[N]``, without the weight."""
        raise NotImplementedError

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same where tensors are called otherwise; names that are not given stay."""
        tensor = getattr(self, "tensor", None)
        called = names.get(tensor, tensor) if tensor is not None else None
        return self if called == tensor else replace(self, tensor=called)  # type: ignore[call-arg]

    def __add__(self, other: Term | Objective) -> Objective:
        return Objective((self,)) + other

    def __mul__(self, factor: float) -> Self:
        return replace(self, weight=self.weight * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self * -1.0


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """A weighted sum of terms."""

    terms: tuple[Term, ...]
    _known: dict[int, dict[str, Array]] = field(default_factory=dict, init=False, repr=False)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Tensors of the model that any term reads, ``SCORES`` for its scores."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term.tensors))

    @property
    def joint(self) -> bool:
        """Whether any term looks at several canvases together."""
        return any(term.joint for term in self.terms)

    @property
    def structure(self) -> Hashable:
        """What a graph of it depends on."""
        return tuple(term.structure for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """What each term is called, told apart where two are alike."""
        names = [term.name for term in self.terms]
        return tuple(n if names.count(n) == 1 else f"{n} {names[:k].count(n) + 1}" for k, n in enumerate(names))

    @property
    def bare(self) -> Objective:
        """The same without the weights of priors, which read no tensor of the model; itself where there are none."""
        if all(term.tensors or not term.weight for term in self.terms):
            return self
        return Objective(tuple(term if term.tensors else term * 0.0 for term in self.terms))

    def total(self, terms: Mapping[str, Array]) -> Array:
        """The weighted sum ``[N]`` of terms' own numbers, in their order."""
        pairs = zip(self.terms, terms.values(), strict=True)
        return np.asarray(sum(np.asarray(number, np.float64) * term.weight for term, number in pairs))

    def given(self, items: int) -> dict[str, Array]:
        """All arrays and weights, by the number of the term and their name; the same arrays in every step."""
        if items not in self._known:
            terms = enumerate(self.terms)
            found = {f"{k}/{name}": array for k, term in terms for name, array in term.given(items).items()}
            weights = np.asarray([term.weight for term in self.terms], np.float32)
            self._known[items] = found | {"weights": np.broadcast_to(weights, (items, len(weights)))}
        return self._known[items]

    def take(self, items: Array) -> Objective:
        """The objective for some of the canvases."""
        return Objective(tuple(term.take(items) for term in self.terms))

    def renamed(self, names: Mapping[str, str]) -> Objective:
        """The same where tensors are called otherwise; itself where none is."""
        if all(old == new for old, new in names.items()):
            return self
        return Objective(tuple(term.renamed(names) for term in self.terms))

    def read(self, seen: Seen, given: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        """The weighted sum ``[N]``, and each term's own number ``[N]``.

        Args:
            seen: What is read.
            given: What ``given`` says, of the same kind of array.

        Raises:
            UsageError: a tensor has not the place or the shape that a term reads.
        """
        total, parts = None, []
        for k, term in enumerate(self.terms):
            own = {name.partition("/")[2]: array for name, array in given.items() if name.startswith(f"{k}/")}
            part = term.read(seen, own)
            parts.append(part)
            counted = part * _flat(given["weights"][:, k : k + 1])
            total = counted if total is None else total + counted
        if total is None:
            raise UsageError("An objective without terms makes nothing large. Give it at least one.")
        return total, parts

    def __add__(self, other: Term | Objective) -> Objective:
        return Objective(self.terms + (other.terms if isinstance(other, Objective) else (other,)))

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple(term * factor for term in self.terms))

    __rmul__ = __mul__


def over_views(rows: Any, seen: Seen) -> Any:
    """Numbers ``[N * V, ...]`` of rows as their means over the views, ``[N, ...]``."""
    xp = namespace(rows)
    if seen.views == 1:
        return rows
    return xp.mean(xp.reshape(rows, (seen.items, seen.views, *rows.shape[1:])), axis=1)


def rows_of(array: Any, seen: Seen) -> Any:
    """What belongs to canvases ``[N, ...]`` repeated for each of their views, ``[N * V, ...]``."""
    if seen.views == 1:
        return array
    xp, rest = namespace(array), tuple(array.shape[1:])
    spread = xp.broadcast_to(xp.expand_dims(array, axis=1), (seen.items, seen.views, *rest))
    return xp.reshape(spread, (seen.items * seen.views, *rest))


def _inner_axes(values: Any) -> tuple[int, ...]:
    return tuple(range(1, len(values.shape)))


@dataclass(frozen=True, eq=False)
class Aimed(Term):
    """A target, as ``xplain.core.target`` reads it: a class's score, a channel's mean, a unit, an inner product.

    Its mean over the views.
    """

    target: Target = field(metadata={"target": True})

    @property
    def name(self) -> str:
        """The target in words."""
        return self.target.name

    @property
    def tensors(self) -> tuple[str, ...]:
        """Those of the target."""
        return self.target.tensors

    @property
    def structure(self) -> Hashable:
        """How the terms read their tensors; which places they read, and what they are given, are inputs."""
        return ("Aimed", *(_form(term) for _, term in self.target.terms))

    def given(self, items: int) -> dict[str, Array]:
        """Places, factors and numbers of the terms, and their weights."""
        found: dict[str, Array] = {}
        rows = np.arange(items)
        for k, (weight, term) in enumerate(self.target.terms):
            found[f"times{k}"] = np.full((items, 1), weight, np.float32)
            all_given = [Given((), term)] if isinstance(term, Leaf) else given_of(term)
            for one in all_given:
                numbers = one.leaf.numbers(rows) if one.leaf is not None else one.numbers(rows)
                whole = numbers.dtype.kind in "iu"
                found[f"{k}{one.name}"] = np.asarray(numbers, np.int64 if whole else np.float32)
        return found

    def take(self, items: Array) -> Aimed:
        """The term for some of the canvases."""
        return replace(self, target=self.target.take(items))

    def renamed(self, names: Mapping[str, str]) -> Aimed:
        """The same where tensors are called otherwise."""
        return replace(self, target=self.target.renamed(names))

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The target's value."""
        found = None
        for k, (_, term) in enumerate(self.target.terms):
            reader = _Reading(seen, given, str(k))
            value = reader.leaf(term, ()) if isinstance(term, Leaf) else term.compute(reader)
            counted = over_views(value, seen) * _flat(given[f"times{k}"])
            found = counted if found is None else found + counted
        return found


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads what a formula asks for, of any kind of array; see ``xplain.core.targets.formulas.Reader``."""

    seen: Seen
    given: Mapping[str, Any]
    prefix: str

    def part(self, part: Part) -> Any:
        """The elements of a part, for each row."""
        values = self.seen.values[part.tensor]
        return part.read(values, namespace(values))

    def leaf(self, leaf: Leaf, path: tuple[int, ...]) -> Any:
        """A leaf's number in each row."""
        return _leaf(leaf, self.seen.values[leaf.tensor], rows_of(self.given[self.prefix + named(path)], self.seen))

    def number(self, array: Array, per_item: bool, path: tuple[int, ...]) -> Any:
        """What is given, for each row."""
        return rows_of(self.given[self.prefix + named(path)], self.seen)


def _form(term: Leaf | Formula) -> Hashable:
    """What a graph that computes a term depends on."""
    if isinstance(term, Leaf):
        return (term.kind, term.tensor, None if term.factors is None else term.factors.shape[int(term.per_item) :])
    args = (repr(one) if isinstance(one, Part) else tuple((w, _form(t)) for w, t in one) for one in term.args)
    shapes = tuple(one.shape[int(term.per_item) :] for one in term.numbers)
    return (term.function, *args, shapes, term.words)


def _flat(column: Any) -> Any:
    return namespace(column).reshape(column, (column.shape[0],))


def _leaf(leaf: Leaf, values: Any, numbers: Any) -> Any:
    """A leaf's number in each row, ``[R]``; what ``Leaf.value`` reads, in the array API."""
    xp, way = namespace(values), leaf.way
    if leaf.kind == "predicted":
        return xp.max(xp.reshape(values, (values.shape[0], -1)), axis=1)
    leaf.check(tuple(values.shape))
    if way.flat:
        values = xp.reshape(values, (values.shape[0], -1))
    if way.given:
        values = values * numbers
    named = (len(values.shape) - 1 if way.axes is None else way.axes) if not way.given else 0
    for k in range(named):  # one axis after another: what is left has one fewer each time
        hot = one_hot(_flat(numbers[:, k : k + 1]), values.shape[1], values)
        for _ in range(len(values.shape) - 2):
            hot = xp.expand_dims(hot, axis=-1)
        values = xp.sum(values * hot, axis=1)
    rest = _inner_axes(values)
    return values if not rest else getattr(xp, way.reduction)(values, axis=rest)
