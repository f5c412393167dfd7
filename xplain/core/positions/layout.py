"""How an item's axes are named, and the grid of positions that they span.

A layout is a word with one letter per axis, batch first: ``NCHW`` and ``NHWC`` pictures, ``NHW`` pictures without a
channel axis, ``NCT`` and ``NTC`` series, ``NCDHW`` and ``NDHWC`` volumes, ``NCTHW``, ``NTHWC`` and ``NTCHW`` video,
``NT`` token ids, ``NS`` table columns, ``NX...`` anything else. ``N`` is the batch, ``C`` the channels, ``D H W T S X``
are positions. Every item is seen as ``C`` channels over a grid of positions: ``(height, width)``, ``(1, length)`` for
one-dimensional items, ``(depth, height, width)`` for volumes and ``(1, size)`` for elements without a name.

A layout is resolved once, when items are read (``Outline.layout_of``), and carried from there by the view and by every
question. What decides, best first: what a person states (``layout=``, ``--layout``), what the model's operators do
with the input, or what its axes are called, what a preprocessing card states, the only extent that a model fixes, and
last the sizes of an item, by the rule of ``by_sizes``. Where two readings fit equally, the answer is a ``Doubt``, which
says how to state one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError

__all__ = ["KNOWN", "Axes", "Doubt", "Layout", "by_free", "by_sizes", "stated"]

_POSITIONS = "DHWTSX"
_ALIASES = {"F": "C", "L": "T", "1": "C"}
KNOWN = "NCHW, NHWC, NHW, NCT, NTC, NCDHW, NDHWC, NCTHW, NTHWC, NTCHW, NT, NS, or NX.. for elements without a place"
"""The layouts that most items have, for messages."""

_READINGS = {1: ("NS",), 2: ("NCT", "NTC", "NHW"), 3: ("NCHW", "NHWC", "NDHW"), 4: ("NCDHW", "NDHWC", "NTCHW")}
_WORDS = {2: {0: "NCT", 1: "NTC"}, 3: {0: "NCHW", 2: "NHWC"}, 4: {0: "NCDHW", 3: "NDHWC", 1: "NTCHW"}}
"""Layouts by the number of an item's axes, and by which of them is the channels."""


@dataclass(frozen=True)
class Axes:
    """The names of a batch's axes, and how they are known.

    Args:
        letters: One letter per axis, such as ``"NCHW"``.
        why: What they follow from, for a person, such as ``"stated by layout="``.
    """

    letters: str
    why: str = field(default="", compare=False)

    def of(self, item: Sequence[int]) -> Layout:
        """The layout of items of this shape."""
        return Layout(self.letters, tuple(item), self.why)


@dataclass(frozen=True)
class Layout:
    """The axes of a batch and the shape of one item.

    Args:
        axes: One letter per axis of the batch, such as ``"NCHW"``.
        item: Shape of one item, without the batch axis.
        why: How the axes are known; no part of what a layout is.
    """

    axes: str
    item: tuple[int, ...]
    why: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.item) + 1 or self.axes[:1] != "N":
            raise UsageError(
                f"Layout {self.axes!r} does not describe items of shape {list(self.item)}; accepted: one letter per "
                "axis with N first, such as NCHW, NHWC, NCT, NS."
            )

    def __str__(self) -> str:
        return f"{self.axes} ({self.why})" if self.why else self.axes

    @cached_property
    def is_picture(self) -> bool:
        """True where the positions are rows and columns: NCHW, NHWC, NHW."""
        return "".join(self.axes[k] for k in self.plane_axes) == "HW"

    @cached_property
    def is_volume(self) -> bool:
        """True where positions have three named axes: depth or time, height and width."""
        return len(self.plane_axes) == 3 and "X" not in self.axes

    @cached_property
    def channel_axis(self) -> int | None:
        """Position of ``C`` in the batch's axes, or None."""
        found = self.axes.find("C")
        return found if found > 0 else None

    @cached_property
    def channels(self) -> int:
        """Number of channels, 1 where the layout names none."""
        return 1 if self.channel_axis is None else self.item[self.channel_axis - 1]

    @cached_property
    def plane_axes(self) -> tuple[int, ...]:
        """Axes of the batch that are positions, in order."""
        return tuple(k for k, letter in enumerate(self.axes) if letter in _POSITIONS)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Extents of the grid of positions: (height, width), (1, length), or (depth, height, width)."""
        extents = tuple(self.item[k - 1] for k in self.plane_axes)
        return extents if self.is_volume else self.plane

    @cached_property
    def plane(self) -> tuple[int, int]:
        """(height, width) of the plane of positions; a volume's is flat, ``(1, depth * height * width)``."""
        extents = [self.item[k - 1] for k in self.plane_axes]
        if len(extents) == 2:
            return extents[0], extents[1]
        return 1, math.prod(extents)

    @cached_property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of one attribution map: ``(H, W)`` for pictures, the positions' own shape otherwise."""
        return tuple(self.item[k - 1] for k in self.plane_axes)

    @cached_property
    def folds(self) -> bool:
        """Whether memory can be walked as channels over the plane: no channel axis lies between three positions."""
        first, last = min(self.plane_axes, default=0), max(self.plane_axes, default=0)
        return len(self.plane_axes) <= 2 or last - first == len(self.plane_axes) - 1

    @cached_property
    def strides(self) -> tuple[int, int, int]:
        """Element strides of (channel, row, column) inside one C-contiguous item; 0 for an axis that is not there."""
        step, strides = 1, [0] * len(self.axes)
        for k in range(len(self.item), 0, -1):
            strides[k] = step
            step *= self.item[k - 1]
        channel = strides[self.channel_axis] if self.channel_axis is not None else 0
        if len(self.plane_axes) == 2:
            return channel, strides[self.plane_axes[0]], strides[self.plane_axes[1]]
        # more than two position axes are adjacent, so the last one's stride walks the flattened plane
        return channel, 0, strides[self.plane_axes[-1]] if self.plane_axes else 0

    @classmethod
    def flat(cls, item: Sequence[int]) -> Layout:
        """Every element a position of its own: for edits that go by element, whatever the axes mean."""
        return cls("N" + "X" * len(item), tuple(item), "each element for itself")


@dataclass(frozen=True)
class Doubt:
    """Items whose axes nothing decides.

    Args:
        item: Shape of one item.
        readings: Layouts that fit equally.
    """

    item: tuple[int, ...]
    readings: tuple[str, ...]

    def question(self) -> UsageError:
        """What to ask a person."""
        fits = ", or ".join(f"{axes} ({_spelt(axes, self.item)})" for axes in self.readings)
        first = self.readings[0]
        return UsageError(
            f"Items of {list(self.item)} can be read in more than one way: {fits}. It decides what is hidden and drawn "
            f"together, and nothing in the model or its card tells. State it: ",
            option("layout", first, of="explain"),
            ".",
        )


def stated(word: Any, why: str = "stated by layout=") -> Axes:
    """The axes that a person states: a word such as ``"NHWC"``; features (F) are channels, a length (L) is time.

    Raises:
        UsageError: it is no such word.
    """
    letters = str(word).strip().upper() if isinstance(word, str) else ""
    if "C" not in letters and sum(letters.count(alias) for alias in "F1") == 1:
        letters = letters.replace("F", "C").replace("1", "C")
    letters = letters.replace("L", "T") if "T" not in letters else letters
    places = [letter for letter in letters[1:] if letter in _POSITIONS]
    known = letters[:1] == "N" and len(letters) > 1 and not set(letters[1:]) - set(_POSITIONS + "C")
    once = all(letters.count(letter) == 1 for letter in set(letters) - {"X"})
    named = [letter for letter in places if letter != "X"]
    ordered = not {"H", "W"} <= set(named) or letters.index("H") < letters.index("W")
    countable = len(named) <= 3 and ("X" not in places or not named)
    if not (known and once and ordered and places and countable):
        raise UsageError(
            option="layout",
            got=word,
            accepted="one letter per axis, N (batch) first, then C (channels) and up to three positions of D (depth), "
            f"T (time), H (height), W (width), S (columns): {KNOWN}",
        )
    return Axes(letters, why)


def by_free(item: tuple[int | None, ...]) -> Axes | None:
    """What it says of axes that a model leaves all but one extent of its items free: that one is the channels.

    None where another number of extents is fixed, or one in a place where no channels stand.
    """
    fixed = [k for k, n in enumerate(item) if n is not None]
    word = _WORDS.get(len(item), {}).get(fixed[0], "") if len(fixed) == 1 else ""
    return Axes(word, f"the only extent that the model fixes is {item[fixed[0]]}") if word else None


def by_sizes(item: tuple[int, ...]) -> Layout | Doubt:
    """What the sizes of an item alone say of its axes; nothing else in the house reads them.

    An item of one axis is a row of columns (NS). For others, one axis may be the channels: the first or the last, and
    of four also the second (frames of pictures, NTCHW). An axis is taken for the channels where

    - its extent is 1 to 4 and every other one is above 4 (a series ``[a, b]``: where it is 1 and the other is not), or
    - the others are all equal, as a square picture's height and width are, differ from it, and are above 4 unless it
      is at most 4 itself.

    If that holds for exactly one axis, it is the channels. If it holds for none or for several, the sizes say nothing,
    and a person is asked. A first axis of 1 stays one channel where at most one other extent is above 1, as in
    ``[1, 1, 64]`` and ``[1, 100]``, and before a second axis of 1, as in ``[1, 1, 32, 32]``.
    """
    rank = len(item)
    if rank <= 1:
        return Layout("NS" if rank else "N", item, "items of one axis are rows of columns")
    if rank > 4:
        return Doubt(item, ("N" + "X" * rank,))
    words = _WORDS[rank]
    if rank == 2:
        found = [k for k in words if item[k] == 1]
    else:
        found = [k for k in words if _small(item, k)] or [k for k in words if _beside_equals(item, k)]
        if len(found) == 1 and any(_beside_equals(item, k) for k in words if k != found[0]):
            found = []  # a small extent speaks for one axis, equal ones for another
    if len(found) != 1 and item[0] == 1 and (sum(n > 1 for n in item) <= 1 or (rank == 4 and item[1] == 1)):
        found = [0]
    if len(found) != 1:
        return Doubt(item, _READINGS[rank])
    other = " x ".join(str(n) for k, n in enumerate(item) if k != found[0])
    return Layout(words[found[0]], item, f"by its sizes: {item[found[0]]} channels beside {other}")


def _small(item: tuple[int, ...], axis: int) -> bool:
    return item[axis] <= 4 and all(n > 4 for k, n in enumerate(item) if k != axis)


def _beside_equals(item: tuple[int, ...], axis: int) -> bool:
    others = {n for k, n in enumerate(item) if k != axis}
    equal = len(others) == 1 and item[axis] not in others and (max(others) > 4 or item[axis] <= 4)
    return equal and (max(others) > 1 or axis == 0)  # a plane of one position says nothing of a last axis


def _spelt(axes: str, item: tuple[int, ...]) -> str:
    names = {"C": "channels", "H": "rows", "W": "columns", "D": "slices", "T": "steps of time", "S": "columns"}
    return " x ".join(f"{n} {names.get(letter, 'elements')}" for letter, n in zip(axes[1:], item, strict=True))
