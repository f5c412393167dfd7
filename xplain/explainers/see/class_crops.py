"""The pictures of one class, and crops of each as a layer sees them; any of them can be read once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.scene import Again, More, Some, handle
from xplain.core.positions.layout import Layout
from xplain.core.query import Peek
from xplain.core.target import SCORES
from xplain.core.target import label as score_of
from xplain.explainers.see.banks import Bottleneck, bottleneck
from xplain.explainers.see.crops import alone
from xplain.explainers.see.regions import Box
from xplain.explainers.see.vectors import best, called, class_asked, named_outline, true_class

__all__ = ["OfClass", "Wanted", "of_class"]

_AT_ONCE = 16
_SIDE = 2 / 7
"""Of a picture's side: the side of a crop, as 64 pixels of 224 in the paper."""
_STEP = 0.8
"""Of a crop's side: from one to the next, as in the paper."""

Wanted = tuple[int, Box | None]
"""A picture's number, and the part of it that is meant; None for all of it."""


@dataclass(eq=False)
class OfClass:
    """The pictures of a class, and the crops of each.

    Args:
        neck: The layer that crops are read at.
        label: The class's name.
        item: The shape of one picture as the model takes it.
        names: What pictures are called.
        given: What reads each once more.
        each: Where the crops of a picture lie; the same in all.
        pooled: Mean activations of each picture's crops, ``[R, C]`` each.
    """

    neck: Bottleneck
    label: str
    item: tuple[int, ...]
    each: list[Box]
    names: list[str] = field(default_factory=list)
    given: list[Any] = field(default_factory=list)
    pooled: list[Array] = field(default_factory=list)

    @property
    def boxes(self) -> Array:
        """int64 ``[crops, 4]``: where each crop lies, those of a picture one after another."""
        return np.tile(np.array(self.each, np.int64), (len(self.names), 1))

    @property
    def pictures(self) -> Array:
        """int64 ``[crops]``: the picture of each crop."""
        return np.repeat(np.arange(len(self.names)), len(self.each))

    def crop(self, n: int) -> Wanted:
        """A crop's picture, and where it lies there."""
        return n // len(self.each), self.each[n % len(self.each)]

    def again(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Again, list[tuple[int, int]]]]:
        """What reads the pictures of ``wanted`` once more, a few at a time, and which entries each of them is for.

        Entries are pairs: the picture's place among those that are read together, and the place in ``wanted``.
        """
        items = sorted({item for item, _ in wanted})
        for first in range(0, len(items), _AT_ONCE):
            some = items[first : first + _AT_ONCE]
            jobs = [(some.index(item), place) for place, (item, _) in enumerate(wanted) if item in some]
            yield Again(tuple(self.given[item] for item in some)), jobs


def of_class(
    label: str, of: str, layer: str, patch: Any, stride: Any, concepts: int = 1
) -> Generator[Any, Any, OfClass]:
    """The pictures of a class, one part after another, and what a layer makes of their crops.

    Args:
        label: The class, by name or number.
        of: Which pictures are its: ``predicted``, ``folder`` or ``all``.
        layer: As for ``bottleneck``.
        patch: Side of crops in pixels, or (height, width); None chooses.
        stride: From one crop to the next; None chooses.
        concepts: Concepts that the layer is to be taken apart into, as many as it has channels at most.

    Raises:
        UsageError: no picture is of the class, the items are no pictures of one size, or as ``bottleneck``.
    """
    found: OfClass | None = None
    others = Counter[str]()
    while (part := (yield More())) is not None:
        if not part.view.layout.is_picture:
            raise UsageError(f"Crops are of pictures; the items are of layout {part.view.layout.axes}.")
        item = tuple(part.view.x.shape[1:])
        if found is None:
            index, name = class_asked(part, label)
            each = _places(part.view.layout, patch, stride)
            neck = yield from bottleneck(part.view, layer, score_of(index, name), concepts)
            found = OfClass(neck, name, item, each)
        if item != found.item:
            raise UsageError(f"Pictures are {list(found.item)} and {list(item)}; crops are of pictures of one size.")
        classes = yield from _classes(part, of)
        others.update(one for one in classes if one)
        for n in range(len(part)):
            if of != "all" and classes[n] != found.label:
                continue
            values = yield from found.neck.values(alone(part.view, n, found.each))
            found.pooled.append(found.neck.rows(values).mean(axis=1, dtype=np.float32))
            found.names.append(called(part)[n])
            found.given.append(handle(part, n))
    assert found is not None  # there are items
    if not found.names:
        known = ", ".join(f"{name} ({count})" for name, count in others.most_common(5)) or "of none that is known"
        raise UsageError(
            f"No picture is of class {found.label!r}; by what is {of} they are {known}. Name one of these by ",
            option("label"),
            ", or take all pictures: ",
            option("of", "all"),
            ".",
        )
    return found


def _places(layout: Layout, patch: Any, stride: Any) -> list[Box]:
    """Where the crops of a picture lie; the last of a row or column ends at the border."""
    plane = [layout.item[axis - 1] for axis in layout.plane_axes]
    sides = _two(patch, [max(1, round(_SIDE * min(plane)))] * 2)
    steps = _two(stride, [max(1, int(_STEP * side)) for side in sides])
    if any(side > extent for side, extent in zip(sides, plane, strict=True)):
        raise UsageError(option="patch", got=patch, accepted=f"at most {plane[0]} x {plane[1]} pixels, the picture's")
    rows, columns = (
        sorted({*range(0, extent - side + 1, step), extent - side})
        for extent, side, step in zip(plane, sides, steps, strict=True)
    )
    return [(y, x, y + sides[0], x + sides[1]) for y in rows for x in columns]


def _two(given: Any, otherwise: list[int]) -> list[int]:
    if given is None:
        return otherwise
    two = [given] * 2 if isinstance(given, int) else list(given)
    if len(two) != 2:
        raise UsageError(f"A crop has rows and columns; got {len(two)} numbers.")
    return two


def _classes(part: Some, of: str) -> Generator[Any, Any, list[str]]:
    """The class of each picture, by its folder or as it is predicted."""
    if of == "all":
        return [""] * len(part)
    outline = named_outline(part)
    if of == "folder":
        return [true_class(one, outline)[0] for one in part.given]
    answer = yield Peek(part.view.x, (SCORES,))
    return best(answer[SCORES], outline)[0]
