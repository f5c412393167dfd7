"""A term of a target that is no element and no mean: a function of parts of tensors and of other terms, as data.

A formula is computed by whoever reads it: ``Formula.compute`` is given a reader, which says what a part, a leaf and a
number are. There are two: of arrays (numpy for perturbation, torch for its own autograd), and of a graph, where the
functions emit nodes that the walk then differentiates (``xplain.graph.reverse.formulas``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import array_api_compat
import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.targets.functions import FUNCTIONS, Function
from xplain.core.targets.leaves import Leaf, side_by_side
from xplain.core.targets.parts import Part

__all__ = [
    "Formula",
    "Reader",
    "Term",
    "Terms",
    "leaves_of",
    "parts_of",
    "same_term",
    "spelled_out",
    "term_of",
    "together",
    "total",
]

Term: TypeAlias = "Leaf | Formula"
Terms: TypeAlias = "tuple[tuple[float, Term], ...]"


class Reader(Protocol):
    """What a formula asks of whoever computes it; ``path`` tells apart those that are asked for."""

    def part(self, part: Part) -> Any:
        """The elements of a part, ``[R, ...]``."""

    def leaf(self, leaf: Leaf, path: tuple[int, ...]) -> Any:
        """A leaf's number in each row, ``[R]``."""

    def number(self, array: Array, per_item: bool, path: tuple[int, ...]) -> Any:
        """What is given, ``[R, ...]`` or ``[1, ...]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A function of parts and terms: one number per row.

    Args:
        function: A name in ``FUNCTIONS``.
        args: What it is computed of: parts of tensors, or sums of terms.
        numbers: What it is given besides: a mask, a reference, a box; ``[...]`` each, or ``[N, ...]`` if ``per_item``.
        words: How, such as a box's format.
        per_item: Whether the numbers have a row for each item.
        names: What a person reads in place of the formula, one, or one per item; empty: its text.
    """

    function: str
    args: tuple[Part | Terms, ...]
    numbers: tuple[Array, ...] = ()
    words: tuple[str, ...] = ()
    per_item: bool = False
    names: tuple[str, ...] = field(default=(), compare=False)

    kind = "formula"

    @property
    def does(self) -> Function:
        """The function."""
        return FUNCTIONS[self.function]

    @property
    def inner(self) -> tuple[Term, ...]:
        """The terms among its arguments."""
        return tuple(term for arg in self.args if not isinstance(arg, Part) for _, term in arg)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that are read."""
        found = []
        for arg in self.args:
            found += [arg.tensor] if isinstance(arg, Part) else [name for _, term in arg for name in term.tensors]
        return tuple(dict.fromkeys(found))

    @property
    def items(self) -> int | None:
        """How many items it is for; None where it is the same for any."""
        own = [len(self.numbers[0])] if self.per_item else []
        return min((n for n in (*own, *(term.items for term in self.inner)) if n is not None), default=None)

    @property
    def open(self) -> bool:
        """Whether something of it is still to be chosen at the items."""
        return self.does.open or any(term.open for term in self.inner)

    def compute(self, reader: Reader, path: tuple[int, ...] = ()) -> Any:
        """One number per row, in the reader's arrays.

        Raises:
            UsageError: a tensor has not the place that is read.
        """
        args: list[Any] = []
        for k, arg in enumerate(self.args):
            args.append(reader.part(arg) if isinstance(arg, Part) else total(arg, reader, (*path, k)))
        numbers = [reader.number(one, self.per_item, (*path, len(args) + k)) for k, one in enumerate(self.numbers)]
        return self.does.compute(array_api_compat.array_namespace(args[0]), args, numbers, self.words)

    def value(self, values: Mapping[str, Any], items: Array, like: Callable[[Array], Any] = np.asarray) -> Any:
        """One number per row of the tensors' values ``[R, ...]``, of numpy or of torch; see ``Leaf.value``."""
        return self.compute(_Arrays(values, items, like))

    def frozen(self, values: Mapping[str, Array], items: Array) -> Term:
        """The same with what is chosen at the items held fast: of a peak, the place of the largest element."""
        if not self.does.open:
            return self._mapped(lambda term: _frozen(term, values, items))
        (part,) = self.args
        assert isinstance(part, Part)
        read = part.read(np.asarray(values[part.tensor]), np)
        places = [np.unravel_index(int(np.argmax(row)), row.shape) for row in read]
        free = [axis for axis, cut in enumerate(part.place) if not isinstance(cut, int)]
        free += range(len(part.place), np.ndim(values[part.tensor]) - 1)
        whole = []
        for place in places:
            named = [cut if isinstance(cut, int) else 0 for cut in part.place]
            named += [0] * (np.ndim(values[part.tensor]) - 1 - len(named))
            for axis, at in zip(free, place, strict=True):
                cut = part.place[axis] if axis < len(part.place) else None
                first = cut[0] if isinstance(cut, tuple) and cut[0] is not None else 0
                named[axis] = int(at) + (first if first >= 0 else np.shape(values[part.tensor])[axis + 1] + first)
            whole.append(tuple(named))
        one = len(set(whole)) == 1
        return Leaf("neuron", part.tensor, tuple(whole[:1] if one else whole), per_item=not one)

    def _mapped(self, change: Callable[[Any], Any], **fields: Any) -> Formula:
        """The same with each term among its arguments changed."""
        args = tuple(a if isinstance(a, Part) else tuple((w, change(term)) for w, term in a) for a in self.args)
        return replace(self, args=args, **fields)

    def take(self, items: Array) -> Formula:
        """The formula for a batch made of ``items`` [R] of this one's."""
        own: dict[str, Any] = {}
        if self.per_item:
            own["numbers"] = tuple(one[items] for one in self.numbers)
        if len(self.names) > 1:
            own["names"] = tuple(self.names[int(n)] for n in items)
        return self._mapped(lambda term: term.take(items), **own)

    def of_item(self, item: int) -> Formula:
        """The formula of one item, as one for all."""
        one = self.take(np.array([item]))
        numbers = tuple(n[0] for n in one.numbers) if one.per_item else one.numbers
        return one._mapped(lambda term: term.of_item(0), numbers=numbers, per_item=False)  # noqa: SLF001

    def settled(self, labels: Array, names: tuple[str, ...] = ()) -> Formula:
        """The same where it is known which classes were predicted; see ``Leaf.settled``."""
        return self._mapped(lambda term: term.settled(labels, names))

    def found(self, rows: tuple[tuple[int, ...], ...]) -> Formula:
        """The same with the class that each row predicts; see ``Leaf.found``."""
        return self._mapped(lambda term: term.found(rows))

    def among(self, classes: int) -> Formula:
        """The same with classes counted from the front."""
        return self._mapped(lambda term: term.among(classes))

    def renamed(self, names: Mapping[str, str]) -> Formula:
        """The same where tensors are called otherwise."""
        args = tuple(replace(a, tensor=names.get(a.tensor, a.tensor)) if isinstance(a, Part) else a for a in self.args)
        return replace(self, args=args)._mapped(lambda term: term.renamed(names))  # noqa: SLF001

    def text(self) -> str:
        """What a person reads."""
        if self.names:
            return side_by_side(self.names)
        told = []
        for arg in self.args:
            several = not isinstance(arg, Part) and len(arg) > 1 and self.function in _INFIX
            text = arg.text() if isinstance(arg, Part) else spelled_out(arg)
            told.append(f"({text})" if several else text)
        many = " and ".join([*told, *(["what is given"] if self.numbers else [])])
        text = self.does.text.format(*told, all=many)
        return f"{text} where given" if self.numbers and self.function in _WHERE else text

    @property
    def structure(self) -> tuple[Any, ...]:
        """All but the numbers: what a graph that computes it depends on."""
        args = tuple(
            arg if isinstance(arg, Part) else tuple((w, _structure(term)) for w, term in arg) for arg in self.args
        )
        skip = int(self.per_item)
        return self.function, args, tuple(one.shape[skip:] for one in self.numbers), self.words

    def data(self) -> dict[str, Any]:
        """The formula as strings, numbers, lists and arrays; ``Formula.of`` reads it back."""
        args = [
            arg.data() if isinstance(arg, Part) else [{"weight": w, **t.data()} for w, t in arg] for arg in self.args
        ]
        told: dict[str, Any] = {"function": self.function, "args": args}
        if self.numbers:
            told["numbers"] = list(self.numbers)
        told |= {"words": list(self.words)} if self.words else {}
        told |= {"per_item": True} if self.per_item else {}
        return told | ({"names": list(self.names)} if self.names else {})

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Formula:
        """The formula that ``data`` told.

        Raises:
            UsageError: it is none.
        """
        try:
            args: list[Part | Terms] = []
            for arg in told["args"]:
                one = tuple((float(t["weight"]), term_of(t)) for t in arg) if isinstance(arg, list) else Part.of(arg)
                args.append(one)
            numbers = tuple(np.asarray(one, np.float64) for one in told.get("numbers", ()))
            words, names = (tuple(str(one) for one in told.get(key, ())) for key in ("words", "names"))
            made = cls(str(told["function"]), tuple(args), numbers, words, bool(told.get("per_item", False)), names)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"This is no part of a target: {told!r:.200}.") from error
        if made.function not in FUNCTIONS or not made.args or (made.per_item and not made.numbers):
            raise UsageError(f"This is no part of a target: {told!r:.200}.")
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and same_term(self, other)

    def __hash__(self) -> int:
        return hash(self.structure)


_INFIX = frozenset({"product", "quotient"})
_WHERE = frozenset({"sum", "mean", "max", "logsumexp"})


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Reads arrays of numpy or of torch; see ``Formula.value``."""

    values: Mapping[str, Any]
    items: Array
    like: Callable[[Array], Any]

    def part(self, part: Part) -> Any:
        """The elements of a part."""
        values = self.values[part.tensor]
        return part.read(values, array_api_compat.array_namespace(values))

    def leaf(self, leaf: Leaf, path: tuple[int, ...]) -> Any:
        """A leaf's number in each row."""
        return leaf.value(self.values[leaf.tensor], self.items, self.like)

    def number(self, array: Array, per_item: bool, path: tuple[int, ...]) -> Any:
        """What is given, for each row."""
        return self.like(np.ascontiguousarray(array[self.items] if per_item else array[None]))


def total(terms: Terms, reader: Reader, path: tuple[int, ...]) -> Any:
    """A weighted sum of terms, one number per row."""
    found: Any = None
    for k, (weight, term) in enumerate(terms):
        here = (*path, k)
        one = reader.leaf(term, here) if isinstance(term, Leaf) else term.compute(reader, here)
        one = one if weight == 1.0 else one * weight
        found = one if found is None else found + one
    return found


def spelled_out(terms: Terms) -> str:
    """A weighted sum of terms as a person writes it."""
    told = ""
    for weight, term in terms:
        size = abs(weight) if told else weight
        text = term.text() if size == 1 else f"{size:g} * {term.text()}"
        told += f" {'-' if weight < 0 else '+'} {text}" if told else text
    return told


def term_of(told: Mapping[str, Any]) -> Term:
    """The term that ``data`` told.

    Raises:
        UsageError: it is none.
    """
    return Formula.of(told) if isinstance(told, Mapping) and "function" in told else Leaf.of(told)


def leaves_of(term: Term) -> tuple[Leaf, ...]:
    """The leaves of a term: itself, or those in it."""
    return (term,) if isinstance(term, Leaf) else tuple(leaf for one in term.inner for leaf in leaves_of(one))


def parts_of(term: Term) -> tuple[Part, ...]:
    """The parts of tensors that a term is computed of."""
    if isinstance(term, Leaf):
        return ()
    own = tuple(arg for arg in term.args if isinstance(arg, Part))
    return own + tuple(part for one in term.inner for part in parts_of(one))


def same_term(one: Term, other: Term) -> bool:
    """Whether two terms say the same, whatever they are called."""
    if isinstance(one, Leaf) or isinstance(other, Leaf):
        return isinstance(one, Leaf) and isinstance(other, Leaf) and one == other
    alike = one.structure == other.structure and one.per_item == other.per_item
    arrays = zip(one.numbers, other.numbers, strict=False)
    inner = zip(one.inner, other.inner, strict=False)
    return alike and all(np.array_equal(a, b) for a, b in arrays) and all(same_term(a, b) for a, b in inner)


def together(terms: Sequence[Term]) -> Term | None:
    """One term of several items, of terms of one item each; None where these are of different make."""
    first = terms[0]
    if isinstance(first, Leaf):
        leaves = [
            one for one in terms if isinstance(one, Leaf) and (one.kind, one.tensor) == (first.kind, first.tensor)
        ]
        return _leaves_together(leaves) if len(leaves) == len(terms) else None
    formulas = [one for one in terms if isinstance(one, Formula) and one.structure[:1] == first.structure[:1]]
    if len(formulas) < len(terms) or len({_make(one) for one in formulas}) > 1:
        return None
    args: list[Part | Terms] = []
    for k, arg in enumerate(first.args):
        if isinstance(arg, Part):
            args.append(arg)
            continue
        joined = []
        for j, (weight, _) in enumerate(arg):
            one = together([formula.args[k][j][1] for formula in formulas])  # type: ignore[index]
            if one is None:
                return None
            joined.append((weight, one))
        args.append(tuple(joined))
    numbers = tuple(np.stack([one.numbers[k] for one in formulas]) for k in range(len(first.numbers)))
    names = tuple(one.text() for one in formulas) if all(one.names for one in formulas) else ()
    return replace(first, args=tuple(args), numbers=numbers, per_item=bool(numbers), names=names)


def _make(one: Formula) -> tuple[Any, ...]:
    """What must be equal of formulas that become one."""
    parts = tuple(arg if isinstance(arg, Part) else len(arg) for arg in one.args)
    return one.function, parts, tuple(number.shape for number in one.numbers), one.words


def _leaves_together(leaves: Sequence[Leaf]) -> Leaf:
    factors = [leaf.factors for leaf in leaves if leaf.factors is not None]
    return replace(
        leaves[0],
        index=tuple(place for leaf in leaves for place in leaf.index),
        factors=np.stack(factors) if factors else None,
        per_item=True,
        names=tuple(name for leaf in leaves for name in leaf.names) if all(leaf.names for leaf in leaves) else (),
    )


def _frozen(term: Term, values: Mapping[str, Array], items: Array) -> Term:
    return term.frozen(values, items) if isinstance(term, Formula) else term


def _structure(term: Term) -> Any:
    """All of a term but its numbers."""
    return term.structure if isinstance(term, Formula) else (term.kind, term.tensor)
