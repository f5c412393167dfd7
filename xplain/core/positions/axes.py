"""What each axis of a tensor runs over, followed from the explained item through whatever is computed of it.

An axis is a row-major product of parts, as in einops: ``[N, C, h, w]`` reshaped to ``[N, C, h*w]`` has a last axis of
the parts h and w, so a token knows its row and column. A part belongs to a base: the items, an axis of the item
(positions), features, extra tokens beside positions (a class token), or something that could not be followed. An axis
that is split has parts of a base with strides, and is whole again where these meet.

The functions here are the algebra; ``xplain.graph.outline.follow`` and ``xplain.models.torch.follow`` apply it to
operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal, TypeAlias

__all__ = [
    "Axes",
    "Axis",
    "Base",
    "Part",
    "concat",
    "contracted",
    "extent_of",
    "features",
    "gathered",
    "merged",
    "mixes",
    "picked",
]
__all__ += [
    "positional",
    "reshaped",
    "resized",
    "shape_of",
    "sliced",
    "start",
    "strided",
    "unfolded",
    "unknown",
    "windowed",
    "with_items",
]

Kind: TypeAlias = Literal["items", "positions", "features", "pieces", "unknown"]
Axes: TypeAlias = "tuple[Axis, ...]"
Axis: TypeAlias = "tuple[Part, ...]"
"""Parts, outermost first; none for an axis of extent 1."""


@dataclass(frozen=True, slots=True)
class Base:
    """What an axis, or a part of one, runs over.

    Args:
        kind: Items, positions along an axis of the item, features, pieces of several kinds one behind the other, or
            what could not be followed.
        extent: How many there are.
        axis: Which axis of the item (0 is behind the batch) positions lie along.
        low: Where positions begin, in units of the item's own axis.
        high: Where they end.
        pieces: The axes that follow each other.
    """

    kind: Kind
    extent: int
    axis: int = -1
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    pieces: tuple[Axis, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Every ``stride``-th element of a base, ``extent`` of them."""

    base: Base
    extent: int
    stride: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all of its base."""
        return self.stride == 1 and self.extent == self.base.extent


def _whole(base: Base) -> Axis:
    return (Part(base, base.extent),) if base.extent != 1 or base.kind == "items" else ()


def features(extent: int) -> Axis:
    """An axis that is no positions."""
    return _whole(Base("features", extent))


def unknown(shape: Sequence[int]) -> Axes:
    """Axes of which nothing is known."""
    return tuple(_whole(Base("unknown", n)) for n in shape)


def start(axes: str, item: Sequence[int]) -> Axes:
    """The axes of the explained item itself, ``C`` being its channels and every other letter positions."""
    found = [_whole(Base("items", 1))]
    for k, (letter, extent) in enumerate(zip(axes[1:], item, strict=True)):
        place = Base("features", extent) if letter == "C" else Base("positions", extent, k, high=Fraction(extent))
        found.append(_whole(place))
    return tuple(found)


def extent_of(axis: Axis) -> int:
    """How many elements an axis has."""
    return math.prod(part.extent for part in axis)


def shape_of(axes: Axes) -> tuple[int, ...]:
    """The extents of all axes."""
    return tuple(map(extent_of, axes))


def positional(axis: Axis) -> bool:
    """Whether an axis runs over positions of the item, alone or beside extra tokens."""
    return bool(axis) and all(part.base.kind in ("positions", "pieces") for part in axis)


def mixes(axis: Axis) -> bool:
    """Whether a softmax along an axis shares out over tokens, or over what could not be followed and may be tokens."""
    return positional(axis) or any(part.base.kind == "unknown" for part in axis)


def _joined(parts: Iterable[Part]) -> Axis:
    """Parts of one base that meet again become one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.base == part.base and last.stride == part.stride * part.extent:
            found[-1] = Part(part.base, last.extent * part.extent, part.stride)
        else:
            found.append(part)
    return tuple(found)


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes after a reshape, which keeps the order of elements; what does not divide is not known."""
    if math.prod(shape) != math.prod(shape_of(axes)):
        return unknown(shape)
    waiting = [(part, k) for k, axis in enumerate(axes) for part in axis][::-1]
    found: list[Axis] = []
    for k, extent in enumerate(shape):
        need = extent
        parts: list[Part] = []
        while waiting and (need > 1 or (_one_item(waiting[-1][0]) and _belongs(axes, waiting, parts, shape[k:]))):
            part, owner = waiting.pop()
            if need % part.extent == 0:
                parts.append(part)
                need //= part.extent
            elif part.extent % need == 0:  # outer elements here, inner ones on the next axis
                inner = part.extent // need
                parts.append(Part(part.base, need, part.stride * inner))
                waiting.append((Part(part.base, inner, part.stride), owner))
                need = 1
            else:
                return (*found, *unknown(shape[k:]))
        if need != 1:
            return (*found, *unknown(shape[k:]))
        found.append(_joined(parts))
    return tuple(found)


def _one_item(part: Part) -> bool:
    return part.base.kind == "items" and part.extent == 1


def _belongs(axes: Axes, waiting: Sequence[tuple[Part, int]], parts: Sequence[Part], shape: Sequence[int]) -> bool:
    """Whether the batch, of one item here, goes to the axis ``shape[0]``, for which ``parts`` were taken already.

    ``[T, N, C]`` is flattened to ``[T * N, C]`` where the axis behind stays as it is, and to ``[T, N * h, d]`` where it
    is split.
    """
    if not parts or len(shape) < 2:
        return True
    behind = waiting[-1][1] + 1
    return shape[1] != 1 and behind < len(axes) and extent_of(axes[behind]) == shape[1]


def merged(inputs: Sequence[Axes], shape: Sequence[int], meet: Callable[[Axis, Axis], Axis] | None = None) -> Axes:
    """The axes of what an element-wise operator makes of tensors that broadcast to ``shape``."""
    rank, meet = len(shape), meet or _meet
    found: list[Axis] = []
    for k, extent in enumerate(shape):
        axis: Axis | None = None
        for axes in inputs:
            place = k - rank + len(axes)
            own = axes[place] if place >= 0 else ()
            if extent_of(own) == extent and own:
                axis = own if axis is None else meet(axis, own)
        found.append(_whole(Base("features", extent)) if axis is None and extent != 1 else axis or ())
    return tuple(found)


_WORTH = {"items": 4, "positions": 3, "pieces": 2, "features": 1, "unknown": 0}


def _meet(a: Axis, b: Axis) -> Axis:
    """One axis of two tensors that are added: what is known of positions wins, as beside a residual path."""
    if a == b:
        return a
    places = [[(p.base.axis, p.extent, p.stride) for p in axis] for axis in (a, b)]
    if positional(a) and positional(b) and places[0] != places[1]:
        return unknown([extent_of(a)])[0]
    return max(a, b, key=lambda axis: min(_WORTH[part.base.kind] for part in axis))


def sliced(axis: Axis, first: int, count: int, step: int = 1) -> Axis:
    """Every ``step``-th element from ``first`` on, ``count`` of them; a negative step turns the order round."""
    extent = extent_of(axis)
    if (first, count, step) == (0, extent, 1):
        return axis
    if count == 1:
        return _one(axis, first) if step == 1 else ()
    if not axis or any(part.base.kind not in ("positions", "pieces") for part in axis):
        return unknown([count])[0] if any(part.base.kind == "unknown" for part in axis) else features(count)
    if len(axis) > 1 or not axis[0].whole:
        inner = math.prod(part.extent for part in axis[1:])
        if first == 0 and step == inner and count == axis[0].extent:
            return axis[:1]  # one of each group, as when patches are merged
        return unknown([count])[0]
    base = axis[0].base
    if base.kind == "pieces":
        return _cut(base.pieces, first, count) if step == 1 else unknown([count])[0]
    width = (base.high - base.low) / base.extent
    if step < 1:
        return unknown([count])[0]
    low = base.low + first * width
    if step > 1:  # a phase of a grid that is made coarser covers the same ground
        low = base.low + (first // step) * step * width
    return _whole(replace(base, extent=count, low=low, high=low + count * step * width))


def _one(axis: Axis, first: int) -> Axis:
    """A single element; one of positions is kept, for it may be put back to its neighbours."""
    if len(axis) == 1 and axis[0].whole and axis[0].base.kind == "positions":
        base = axis[0].base
        width = (base.high - base.low) / base.extent
        low = base.low + first * width
        return (Part(replace(base, extent=1, low=low, high=low + width), 1),)
    if len(axis) == 1 and axis[0].whole and axis[0].base.kind == "pieces":
        return _cut(axis[0].base.pieces, first, 1)
    return ()


def _cut(pieces: Sequence[Axis], first: int, count: int) -> Axis:
    found, at = [], 0
    for piece in pieces:
        extent = extent_of(piece)
        left, right = max(first, at), min(first + count, at + extent)
        if right > left:
            found.append(sliced(piece, left - at, right - left))
        at += extent
    return concat(found, [extent_of(one) for one in found])


def concat(parts: Sequence[Axis | None], extents: Sequence[int]) -> Axis:
    """Axes one behind the other; None for a tensor that does not depend on the item, such as a class token."""
    found: list[Axis] = []
    for part, extent in zip(parts, extents, strict=True):
        one = part if part else features(extent) if extent != 1 else ()
        inner = one[0].base.pieces if len(one) == 1 and one[0].whole and one[0].base.kind == "pieces" else (one,)
        for piece in inner:
            joined = _continued(found[-1], piece) if found else None
            if joined is not None:
                found[-1] = joined
            elif extent:
                found.append(piece)
    total = sum(map(extent_of, found))
    if len(found) == 1:
        return found[0]
    if any(part.base.kind == "unknown" for piece in found for part in piece):
        return unknown([total])[0]
    if not any(positional(piece) for piece in found):
        return features(total)
    return _whole(Base("pieces", total, pieces=tuple(found)))


def _continued(a: Axis, b: Axis) -> Axis | None:
    """One axis of two that follow each other without a gap."""
    plain = [not any(part.base.kind in ("positions", "pieces", "unknown", "items") for part in axis) for axis in (a, b)]
    if all(plain):
        return features(extent_of(a) + extent_of(b))
    if len(a) != 1 or len(b) != 1 or not (a[0].whole and b[0].whole):
        return None
    one, two = a[0].base, b[0].base
    same = one.kind == two.kind == "positions" and one.axis == two.axis and one.high == two.low
    if not same or (one.high - one.low) / one.extent != (two.high - two.low) / two.extent:
        return None
    return _whole(replace(one, extent=one.extent + two.extent, high=two.high))


def resized(axis: Axis, extent: int, *, before: int = 0, after: int = 0) -> Axis:
    """An axis that a pool, a strided convolution or an interpolation gives another extent over the same ground.

    ``before`` and ``after`` are elements that are put around it first; they move its ends.
    """
    if before or after:
        if len(axis) == 1 and axis[0].whole and axis[0].base.kind == "positions":
            base = axis[0].base
            width = (base.high - base.low) / base.extent
            low, high = base.low - before * width, base.high + after * width
            return _whole(replace(base, extent=extent, low=low, high=high))
        pieces = (features(before) if before else None, axis, features(after) if after else None)
        if before >= 0 and after >= 0 and positional(axis):
            kept = [(p, n) for p, n in zip(pieces, (before, extent_of(axis), after), strict=True) if n]
            return concat([p for p, _ in kept], [n for _, n in kept])
    if extent == extent_of(axis):
        return axis
    if extent == 1:
        return ()
    if len(axis) == 1 and axis[0].base.kind == "positions" and axis[0].stride * axis[0].extent == axis[0].base.extent:
        return _whole(replace(axis[0].base, extent=extent))
    if all(part.base.kind == "features" for part in axis):
        return features(extent)
    return unknown([extent])[0]


def windowed(axis: Axis, extent: int) -> Axis:
    """What a window slides over: more elements than before come from padding, as of causal convolutions."""
    more = extent - extent_of(axis)
    single = len(axis) == 1 and axis[0].whole and axis[0].base.kind == "positions"
    if single and 0 < more < extent_of(axis) // 2:
        return resized(axis, extent, before=more // 2, after=more - more // 2)
    return resized(axis, extent)


def gathered(axis: Axis, numbers: Sequence[int]) -> Axis:
    """The elements of an axis that are chosen by their numbers, in that order."""
    extent = extent_of(axis)
    chosen = [n % extent for n in numbers]
    steps = {b - a for a, b in pairwise(chosen)}
    if len(steps) <= 1 and min(steps, default=1) > 0:
        return sliced(axis, chosen[0] if chosen else 0, len(chosen), min(steps, default=1))
    return unknown([len(chosen)])[0] if positional(axis) else features(len(chosen))


def unfolded(axes: Axes) -> Axes:
    """What is folded into the batch axis, such as windows or heads, as an axis of its own behind it."""
    first = axes[0] if axes else ()
    if len(first) < 2 or first[0].base.kind != "items":
        return axes
    return (first[:1], first[1:], *axes[1:])


def with_items(axes: Axes, free: Iterable[int]) -> Axes:
    """The axes of a tensor in which the batch, of one item here, was lost: of those that are free it is the first."""
    if any(part.base.kind == "items" for axis in axes for part in axis):
        return axes
    place = next((k for k in sorted(free) if k < len(axes) and not axes[k]), None)
    return axes if place is None else (*axes[:place], _whole(Base("items", 1)), *axes[place + 1 :])


def strided(axis: Axis, steps: Sequence[Sequence[int]]) -> tuple[Axis, Axis] | None:
    """The two axes that a table of indices ``[a][b]`` into an axis makes; None unless it is regular.

    So ``unfold`` is written: along one axis of the table go windows, which are positions, and along the other the
    elements of a window, which are features.
    """
    table = [list(row) for row in steps]
    if len(table) < 2 or len(table[0]) < 2:
        return None
    down, right = table[1][0] - table[0][0], table[0][1] - table[0][0]
    regular = all(v == table[0][0] + i * down + j * right for i, row in enumerate(table) for j, v in enumerate(row))
    if not regular or down < 1 or right < 1:
        return None
    rows, columns = len(table), len(table[0])
    if down >= right:
        return resized(axis, rows), features(columns)
    return features(rows), resized(axis, columns)


def picked(axes: Axes, drop: Iterable[int]) -> Axes:
    """The axes without some of them."""
    gone = {k % len(axes) for k in drop}
    return tuple(axis for k, axis in enumerate(axes) if k not in gone)


def contracted(a: Axes | None, b: Axes | None, a_shape: Sequence[int], b_shape: Sequence[int]) -> Axes:
    """The axes of a matrix product ``[..., i, k] x [..., k, j]``; None for a factor that is constant."""
    one = a if a is not None else tuple(features(n) for n in a_shape)
    two = b if b is not None else tuple(features(n) for n in b_shape)
    rows = () if len(one) < 2 else (one[-2],)
    columns = () if len(two) < 2 else (two[-1],)
    rank = max(len(one), len(two)) - 2
    batch = [axes[:-2] for axes, given in ((one, a), (two, b)) if given is not None and len(axes) > 2]
    shapes = [shape[:-2] for shape in (a_shape, b_shape) if len(shape) > 2]
    behind = range(-rank, 0)  # as matrix products broadcast: from the last axis before the matrices
    wide = tuple(max((shape[k] for shape in shapes if len(shape) >= -k), default=1) for k in behind)
    return (*merged(batch, wide), *rows, *columns)
