"""How a person writes a target in Python: outputs, parts of them, what they come to, and functions of that.

output("mask")[2].mean(where=road)                   the mean of class 2's map where a mask says
output("heat")[17].peak()                            the heat at its largest place, which is then held fast
similarity(output("embedding"), vector)              the cosine of two vectors
distance(output("reconstruction"), input())          how far a reconstruction is from the item
label(3) - 0.5 * log(output("area").sum())           targets add, multiply and divide
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.target import Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.functions import FORMATS
from xplain.core.targets.leaves import SCORES
from xplain.core.targets.parts import INPUT, Cut, Part

__all__ = ["Read", "distance", "exp", "input", "iou", "log", "logit", "output", "sigmoid", "similarity", "softmax"]


@dataclass(frozen=True, slots=True)
class Read:
    """Elements of a tensor, still to be made one number of: by a reduction, or by a function.

    Args:
        part: Which elements.
    """

    part: Part

    def __getitem__(self, key: Any) -> Read:
        """Some of them: a number or ``start:stop`` for each axis behind the batch, from the first."""
        if self.part.place:
            raise UsageError(f"{self.part.text()} is cut already; write all its axes in one pair of brackets.")
        return Read(Part(self.part.tensor, tuple(map(_cut, key if isinstance(key, tuple) else (key,)))))

    @property
    def rows(self) -> Read:
        """The same with its last two axes exchanged, for rows that lie in columns."""
        return Read(Part(self.part.tensor, self.part.place, not self.part.turned))

    def mean(self, where: Any = None, per_item: bool = False) -> Target:
        """Their mean; ``where``: weighted by a mask of their shape (``[N, ...]`` if ``per_item``)."""
        if where is None:
            return self._reduced("mean")
        weights = _mask(where, per_item)
        over = weights.sum(axis=tuple(range(int(per_item), weights.ndim)), keepdims=True)
        if (over == 0).any():
            raise UsageError("A mask says nowhere: all of it is 0. Give one that is not 0 somewhere.")
        return self._reduced("mean", (weights / over,), per_item)

    def sum(self, where: Any = None, per_item: bool = False) -> Target:
        """Their sum, weighted by a mask."""
        return self._reduced("sum", () if where is None else (_mask(where, per_item),), per_item)

    def max(self, where: Any = None, per_item: bool = False) -> Target:
        """The largest, wherever it is; among those where a mask is above 0."""
        return self._reduced("max", () if where is None else (_mask(where, per_item),), per_item)

    def logsumexp(self, where: Any = None, per_item: bool = False) -> Target:
        """A smooth maximum, log of the sum of their exponentials; among those where a mask is above 0."""
        return self._reduced("logsumexp", () if where is None else (_mask(where, per_item),), per_item)

    def peak(self) -> Target:
        """The one that is largest for the untouched item; its place is found once and then held fast."""
        return self._reduced("peak")

    def _reduced(self, function: str, numbers: tuple[Array, ...] = (), per_item: bool = False) -> Target:
        return _formula(function, (self.part,), numbers, per_item=per_item and bool(numbers))


def output(name: str) -> Read:
    """An output of the model, or a layer, by its name; ``[...]`` picks elements of it."""
    return Read(Part(name))


def input() -> Read:  # noqa: A001 - what it is
    """The item itself, as the model is given it."""
    return Read(Part(INPUT))


def similarity(one: Read, other: Any, per_item: bool = False) -> Target:
    """The cosine of the angle between two vectors, -1 to 1.

    Args:
        one: A vector of the model's.
        other: Another of the model's, or a given one of its shape.
        per_item: Whether the given one is ``[N, ...]``, one for each item.

    Raises:
        UsageError: a given vector of length 0, or that is not finite.
    """
    if isinstance(other, Read):
        if other == one:
            raise UsageError(
                f"{one.part.text()} is compared with itself: that is always 1. Compare it with another item's vector."
            )
        return _formula("similarity", (one.part, other.part))
    given = _numbers(other, "A reference")
    axes = tuple(range(int(per_item), given.ndim))
    length = np.sqrt((given * given).sum(axis=axes, keepdims=True))
    if (length == 0).any():
        raise UsageError("A reference is all 0, which has no direction. Give one that is not 0 somewhere.")
    return _formula("similarity", (one.part,), (given / length,), per_item=per_item)


def distance(one: Read, other: Any, per_item: bool = False) -> Target:
    """The squared distance of two tensors, the sum over all elements; ``other`` as in ``similarity``."""
    if isinstance(other, Read):
        return _formula("distance", (one.part, other.part))
    return _formula("distance", (one.part,), (_numbers(other, "A reference"),), per_item=per_item)


def iou(one: Read, box: Any, format: str, per_item: bool = False) -> Target:  # noqa: A002 - the field's word
    """How much four numbers overlap with a box: the shared area by the area of both together, 0 to 1.

    Args:
        one: Four numbers of the model's, such as ``output("boxes")[7]``.
        box: Four numbers in the same format and unit.
        format: ``xyxy`` (two corners), ``xywh`` (a corner and the size) or ``cxcywh`` (the centre and the size).
        per_item: Whether the box is ``[N, 4]``, one for each item.

    Raises:
        UsageError: a format that is not known, or a box that is none.
    """
    if format not in FORMATS:
        raise UsageError(option="format", got=format, accepted=", ".join(FORMATS))
    given = _numbers(box, "A box")
    if given.shape[int(per_item) :] != (4,):
        raise UsageError(f"A box is {list(given.shape)}; give four numbers.")
    return _formula("iou", (one.part,), (given,), (format,), per_item)


def log(target: Target) -> Target:
    """The natural logarithm of a target, which must be above 0."""
    return _of("log", target)


def exp(target: Target) -> Target:
    """The exponential of a target."""
    return _of("exp", target)


def sigmoid(target: Target) -> Target:
    """1 / (1 + exp(-target)): the probability of a logit."""
    return _of("sigmoid", target)


def logit(target: Target) -> Target:
    """log(p / (1 - p)): what a sigmoid made a probability of."""
    return _of("logit", target)


def softmax(read: Read, index: int) -> Target:
    """The share of one element among those of an axis: ``exp(x_k) / sum exp(x)``.

    Args:
        read: A vector, such as ``output("logits")[4]``.
        index: Which, counted among those that are read; below 0 from the last.

    Raises:
        UsageError: several axes are read, or the element is none of those that are.
    """
    place, wide = list(read.part.place), [k for k, cut in enumerate(read.part.place) if not isinstance(cut, int)]
    if len(wide) > 1:
        raise UsageError(
            f"A softmax is over one axis, and {read.part.text()} has several. Pick one place of the others."
        )
    at: Cut = int(index)
    for k in wide:
        at = _within(place.pop(k), int(index), read)  # type: ignore[arg-type]
    place.insert(wide[0] if wide else len(place), at)
    one = Part(read.part.tensor, tuple(place))
    return exp(_formula("first" if isinstance(at, tuple) else "sum", (one,)) - read.logsumexp())


def _within(cut: tuple[int | None, int | None], index: int, read: Read) -> Cut:
    """The place along an axis of element ``index`` of a cut, as far as the ends of the cut say how long it is.

    Where an end that is counted from the last is still to be met, it is what is left of the cut from there on: of that
    the first is read, and nothing is left where the element lies beyond it.
    """
    start, stop = cut[0] or 0, cut[1]
    length = -start if stop is None and start < 0 else None
    if stop is not None and (start < 0) == (stop < 0):
        length = stop - start
    if length is not None and not -length <= index < length:
        raise UsageError(f"{read.part.text()} has {length} elements, and a softmax of number {index} is asked for.")
    if length is None and (start < 0 or (start > 0 > index)):
        raise UsageError(f"How long {read.part.text()} is, is not known here. Count both of its ends from the first.")
    if index >= 0:
        return start + index if stop is None or stop > 0 else (start + index, stop)
    return index if stop is None else stop + index


def _of(function: str, target: Any) -> Target:
    """A function of a target.

    Raises:
        UsageError: it is of a number, or of elements that are no one number yet.
    """
    if isinstance(target, Read):
        raise UsageError(
            f"{function} is of one number, and {target.part.text()} may be many: take its .mean() or .max()."
        )
    if not isinstance(target, Target):
        raise UsageError(f"{function} is of a target, such as label(3); got {target!r:.80}.")
    return _formula(function, (target.terms,))


def scores() -> Read:
    """The scores that the model is explained by."""
    return Read(Part(SCORES))


def _formula(
    function: str, args: Any, numbers: tuple[Array, ...] = (), words: tuple[str, ...] = (), per_item: bool = False
) -> Target:
    return Target(((1.0, Formula(function, tuple(args), numbers, words, per_item)),))


def _cut(key: Any) -> Cut:
    if isinstance(key, slice):
        if key.step not in (None, 1):
            raise UsageError(f"Elements are picked by start:stop, without a step; got a step of {key.step}.")
        return key.start, key.stop
    if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
        raise UsageError(f"Elements are picked by whole numbers and start:stop; got {key!r:.80}.")
    return int(key)


def _mask(given: Any, per_item: bool) -> Array:
    weights = _numbers(given, "A mask")
    if (weights < 0).any():
        raise UsageError("A mask holds negative numbers; give 0 where nothing counts, and 1, or a weight, elsewhere.")
    if weights.ndim == int(per_item):
        raise UsageError("A mask is one number; give one of the shape that it is laid over.")
    return weights


def _numbers(given: Any, what: str) -> Array:
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is {given!r:.80}; give an array of numbers.") from None
    if not numbers.size or not np.isfinite(numbers).all():
        raise UsageError(f"{what} is empty or holds numbers that are not finite. Look at where it comes from.")
    return numbers
