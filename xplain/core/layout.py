"""How an item's axes are named, and the plane of positions that they span.

A layout is a word with one letter per axis, batch first: ``NCHW`` and ``NHWC`` pictures, ``NCT`` and ``NTC`` series,
``NT`` token ids, ``NS`` table columns, ``NX...`` anything else. ``N`` is the batch, ``C`` the channels, ``H W T S X``
are positions. Every item is seen as ``C`` channels over a plane ``(height, width)``; the plane of one-dimensional
items is ``(1, length)``, and items without a known layout are one channel over ``(1, size)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xplain.core.errors import UsageError

__all__ = ["Layout", "channels_last"]

_SPATIAL = "HWTSX"


@dataclass(frozen=True)
class Layout:
    """The axes of a batch and the shape of one item.

    Args:
        axes: One letter per axis of the batch, such as ``"NCHW"``.
        item: Shape of one item, without the batch axis.
    """

    axes: str
    item: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.item) + 1 or self.axes[:1] != "N":
            raise UsageError(
                f"Layout {self.axes!r} does not describe items of shape {list(self.item)}; accepted: one letter per "
                "axis with N first, such as NCHW, NHWC, NCT, NS."
            )

    @cached_property
    def is_picture(self) -> bool:
        """True for NCHW and NHWC."""
        return "H" in self.axes and "W" in self.axes

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
        return tuple(k for k, letter in enumerate(self.axes) if letter in _SPATIAL)

    @cached_property
    def plane(self) -> tuple[int, int]:
        """(height, width) of the plane of positions."""
        extents = [self.item[k - 1] for k in self.plane_axes]
        if len(extents) == 2:
            return extents[0], extents[1]
        return 1, math.prod(extents)

    @cached_property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of one attribution map: ``(H, W)`` for pictures, the positions' own shape otherwise."""
        return tuple(self.item[k - 1] for k in self.plane_axes)

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
    def of_layer(cls, shape: tuple[Any, ...], item: tuple[Any, ...]) -> Layout:
        """The likeliest layout of a layer's values, from their shape and that of the model's item.

        Two axes are channels and time where the item is a series, and else tokens and what is known of each: patches of
        a picture, embedded words. Only a layer whose last axis is as long as the item's words has them there.
        """
        if len(shape) == 3:
            return cls("NHWC" if channels_last(shape) else "NCHW", shape)
        if len(shape) == 2 and len(item) != 2:
            words = item[0] if len(item) == 1 else None
            return cls("NCT" if words == shape[1] != shape[0] else "NTC", shape)
        return cls.guess(shape)

    @classmethod
    def guess(cls, shape: tuple[int, ...]) -> Layout:
        """The likeliest layout of an item shape: a channel axis is the one of at most 4 beside two larger ones."""
        rank = len(shape)
        if rank == 3:
            last_is_channel = shape[2] <= 4 < min(shape[0], shape[1]) and shape[0] > 4
            return cls("NHWC" if last_is_channel else "NCHW", shape)
        if rank == 2:
            return cls("NCT", shape)
        if rank == 1:
            return cls("NS", shape)
        return cls("N" + "X" * rank, shape)


def channels_last(shape: Sequence[Any]) -> bool:
    """Whether a layer ``[a, b, c]`` is a grid of tokens, as in Swin: two equal extents, then many channels."""
    first, second, last = shape
    return first is not None and first == second and isinstance(last, int) and last > first and last >= 16
