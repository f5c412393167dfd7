"""What positions of a tensor see of the item, and what becomes of it where tensors are joined, mixed or cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from xplain.core.edits import Array
from xplain.core.lenses.fields import Group, Product

__all__ = ["UNIONS", "Seen", "any_of", "cut_out", "grouped", "joined", "mixed", "one_group", "pieces_of", "repacked"]
__all__ += ["slid", "union"]

_MOST = 12
"""Products that a union keeps apart; more become one that holds them all."""
UNIONS = "more than a dozen branches were joined, so the field is that of all of them together"


@dataclass(frozen=True, eq=False)
class Seen:
    """What a tensor's positions see; axes are counted with the batch in front."""

    shape: tuple[int, ...]
    channel: int | None
    places: tuple[int | None, ...]
    groups: tuple[Group, ...]
    why: str = ""

    @property
    def extent(self) -> int:
        """Channels."""
        return 1 if self.channel is None else self.shape[self.channel]

    def by(self, change: Callable[[int, Array], Array], shape: Sequence[int]) -> Seen:
        """The same with what is along each axis changed by ``change(axis of the item, matrix)``."""
        done: dict[tuple[int, int], Array] = {}

        def one(k: int, along: Array) -> Array:
            return done.setdefault((k, id(along)), change(k, along))

        groups = tuple(
            replace(g, products=tuple(tuple(one(k, a) for k, a in enumerate(p)) for p in g.products))
            for g in self.groups
        )
        return replace(self, shape=tuple(shape), groups=groups)


def any_of(along: Array) -> Array:
    """What all positions together see."""
    return np.asarray(along.any(axis=0, keepdims=True))


def union(products: Iterable[Product]) -> tuple[tuple[Product, ...], bool]:
    """Products without those that others hold; whether nothing was added to keep them few."""
    kept: list[Product] = []
    for product in products:
        if any(_within(product, other) for other in kept):
            continue
        kept = [other for other in kept if not _within(other, product)]
        kept.append(product)
    if len(kept) <= _MOST:
        return tuple(kept), True
    rows = max(len(along) for product in kept for along in product)
    whole = tuple(
        np.logical_or.reduce([np.broadcast_to(p[k], (max(len(q[k]) for q in kept), p[k].shape[1])) for p in kept])
        for k in range(len(kept[0]))
    )
    return (whole,), rows < 0


def _within(one: Product, other: Product) -> bool:
    """Whether a product holds all of another."""
    return all(
        a is b or bool(np.all(a <= b)) if len(a) == len(b) or len(b) == 1 or len(a) == 1 else False
        for a, b in zip(one, other, strict=True)
    )


def pieces_of(groups: Sequence[Sequence[Group]]) -> list[tuple[int, int, list[Product]]]:
    """Channels cut wherever one of several partitions is cut, with what all of them see there."""
    edges = sorted({edge for some in groups for one in some for edge in (one.first, one.last)})
    found = []
    for first, last in pairwise(edges):
        over = [one for some in groups for one in some if one.first <= first and one.last >= last]
        found.append((first, last, [product for one in over for product in one.products]))
    return found


def grouped(pieces: Iterable[tuple[int, int, Iterable[Product]]]) -> tuple[tuple[Group, ...], bool]:
    """Groups of neighbours that see alike."""
    found: list[Group] = []
    exact = True
    for first, last, products in pieces:
        some, right = union(products)
        exact = exact and right
        if found and found[-1].last == first and _alike(found[-1].products, some):
            found[-1] = replace(found[-1], last=last)
        else:
            found.append(Group(first, last, some))
    return tuple(found), exact


def _alike(one: Sequence[Product], other: Sequence[Product]) -> bool:
    def same(a: Array, b: Array) -> bool:
        return a is b or (a.shape == b.shape and bool(np.array_equal(a, b)))

    return len(one) == len(other) and all(
        all(same(a, b) for a, b in zip(p, q, strict=True)) for p, q in zip(one, other, strict=True)
    )


def joined(parts: Sequence[Seen], shape: Sequence[int]) -> Seen | None:
    """Inputs that broadcast: every element sees what the elements at its place see."""
    rank = len(shape)
    moved = []
    for part in parts:
        by = rank - len(part.shape)
        channel = None if part.channel is None else part.channel + by
        places = tuple(None if axis is None else axis + by for axis in part.places)
        moved.append(replace(part, channel=channel, places=places))
    channels = {one.channel for one in moved if one.channel is not None and one.extent > 1}
    channel = channels.pop() if len(channels) == 1 else None
    if channels:
        return None
    lies: list[int | None] = []
    for axes in zip(*(one.places for one in moved), strict=True):
        told = {axis for axis in axes if axis is not None and shape[axis] > 1} or {a for a in axes if a is not None}
        if len(told) > 1:
            return None
        lies.append(told.pop() if told else None)
    if channel is None:
        channel = next((one.channel for one in moved if one.channel is not None), None)
    extent = 1 if channel is None else shape[channel]
    spread = [
        one.groups if one.extent == extent and one.channel == channel else one_group(one, extent) for one in moved
    ]
    groups, exact = grouped((a, b, products) for a, b, products in pieces_of(spread))
    why = next((one.why for one in moved if one.why), "") or ("" if exact else UNIONS)
    return Seen(tuple(shape), channel, tuple(lies), groups, why)


def one_group(part: Seen, extent: int) -> tuple[Group, ...]:
    """All channels as one, spread over ``extent`` channels."""
    products, _ = union(p for g in part.groups for p in g.products)
    return (Group(0, extent, products),)


def mixed(part: Seen, axes: Iterable[int], shape: Sequence[int], gone: bool = False) -> Seen:
    """Elements along some axes are mixed: each sees what any of them sees."""
    some = set(axes)
    found = part.by(lambda k, along: any_of(along) if part.places[k] in some else along, shape)
    if gone:
        places = tuple(None if axis in some else axis for axis in found.places)
        found = replace(found, places=places)
    if part.channel in some and part.channel is not None:
        extent = shape[part.channel] if not gone else 1
        found = replace(found, groups=one_group(found, extent), channel=None if gone else part.channel)
    return found


def repacked(part: Seen, shape: Sequence[int]) -> Seen | None:
    """The same elements in another shape: followed where one axis alone is longer than 1, or nothing was moved."""
    if tuple(shape) == part.shape:
        return part
    wide = [axis for axis, extent in enumerate(part.shape) if axis and extent > 1]
    new = [axis for axis, extent in enumerate(shape) if axis and extent > 1]
    if [part.shape[axis] for axis in wide] != [shape[axis] for axis in new]:
        return None
    at = dict(zip(wide, new, strict=True))
    alone = next((axis for axis, extent in enumerate(shape) if axis and extent == 1), None)
    channel = at.get(part.channel, alone) if part.channel is not None else None
    places = tuple(at.get(axis) if axis is not None else None for axis in part.places)
    return replace(part, shape=tuple(shape), channel=channel, places=places)


def cut_out(part: Seen, axis: int, picked: Array, shape: Sequence[int]) -> Seen:
    """Some elements along one axis, in order."""
    if axis == part.channel:
        pieces = [
            (n, n + 1, next(g for g in part.groups if g.first <= c < g.last).products) for n, c in enumerate(picked)
        ]
        groups, _ = grouped(pieces)
        return replace(part, shape=tuple(shape), groups=groups)
    return part.by(lambda k, seen: seen[picked] if part.places[k] == axis and len(seen) > 1 else seen, shape)


def slid(along: Array, kernel: int, stride: int, dilation: int, before: int, count: int) -> Array:
    """What windows along one axis see."""
    found = np.zeros((count, along.shape[1]), bool)
    first = np.arange(count) * stride - before
    for k in range(kernel):
        at = first + k * dilation
        inside = (at >= 0) & (at < len(along))
        found[inside] |= along[at[inside]]
    return found
