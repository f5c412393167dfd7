"""What a unit inside a model can see of an item: its receptive field, exact where the graph could be followed.

A field is a set of positions. Along each axis of the item, for each position of a layer, ``Product`` says which input
positions reach it; a set is a union of products of these, so that holes of dilated kernels and crosses of branches are
kept. Channels of one layer may see differently: a concat joins units of 7 pixels and of 15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["Field", "Group", "Product"]

Product: TypeAlias = tuple[Array, ...]
"""Per axis of the item's positions bool ``[n, extent]``: which input positions the layer's n positions see; n is 1
where all see the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Channels ``first .. last`` (half open) that see alike.

    Args:
        first: The first one.
        last: One behind the last one.
        products: What they see is the union of these.
    """

    first: int
    last: int
    products: tuple[Product, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What the units of one layer see.

    Args:
        shape: The layer's shape, batch left out.
        channel: Its axis of channels, counted so; None where it has none.
        places: For each axis of the item's positions the layer's axis along it, None where it has none.
        groups: Channels that see alike, in order; together all of them.
        why: Why the field is no more than an upper bound; empty where it is exact.
    """

    shape: tuple[int, ...]
    channel: int | None
    places: tuple[int | None, ...]
    groups: tuple[Group, ...]
    why: str = ""

    @property
    def exact(self) -> bool:
        """Whether every position of the field reaches the unit, and no other does."""
        return not self.why

    @property
    def plane(self) -> tuple[int, ...]:
        """The item's positions along each axis."""
        return tuple(int(one.shape[1]) for one in self.groups[0].products[0])

    def group(self, channel: int) -> Group:
        """The group of a channel; where the layer's channels could not be told apart, that of all."""
        if self.channel is None:
            return self.groups[0]
        return next(one for one in self.groups if one.first <= channel < one.last)

    def at(self, place: int) -> tuple[int, ...]:
        """The position along the layer's axes, batch and channels left out, that ``Top.places`` counts as ``place``."""
        rest = [extent for axis, extent in enumerate(self.shape) if axis != self.channel]
        found = np.unravel_index(place, rest) if rest else ()
        return tuple(int(n) for n in found)

    def mask(self, channel: int, place: Sequence[int]) -> Array:
        """Which positions of the item the unit of a channel at a place sees, bool ``[*plane]``.

        Args:
            channel: The channel; 0 where the layer has none.
            place: The position along the layer's axes, batch and channels left out.
        """
        seen = np.zeros(self.plane, bool)
        for product in self.group(channel).products:
            one = np.ones((1,) * len(product), bool)
            for k, (along, axis) in enumerate(zip(product, self.places, strict=True)):
                n = (
                    0
                    if axis is None or len(along) == 1
                    else place[axis - (self.channel is not None and axis > self.channel)]
                )
                shape = [1] * len(product)
                shape[k] = along.shape[1]
                one = one & along[n].reshape(shape)
            seen |= one
        return seen

    def box(self, channel: int, place: Sequence[int]) -> tuple[int, ...]:
        """The smallest box around ``mask``: first positions along each axis, then those behind the last; or zeros."""
        seen = self.mask(channel, place)
        if not seen.any():
            return (0,) * (2 * seen.ndim)
        lines = [np.flatnonzero(seen.any(axis=tuple(m for m in range(seen.ndim) if m != k))) for k in range(seen.ndim)]
        return (*(int(one[0]) for one in lines), *(int(one[-1]) + 1 for one in lines))

    def size(self, group: Group) -> tuple[int, ...]:
        """Positions from the first to the last along each axis, of the unit of a group that sees most."""
        largest = [0] * len(self.plane)
        for product in group.products:
            for k, along in enumerate(product):
                some = along[along.any(axis=1)]
                if len(some):
                    reach = some.shape[1] - some[:, ::-1].argmax(axis=1) - some.argmax(axis=1)
                    largest[k] = max(largest[k], int(reach.max()))
        return tuple(largest)

    @property
    def whole(self) -> bool:
        """Whether every unit sees every position, as behind a pool over all of them."""
        full = math.prod(self.plane)
        return all(
            len(group.products) == 1 and math.prod(int(one.sum(axis=1).min()) for one in group.products[0]) == full
            for group in self.groups
        )
