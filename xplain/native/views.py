"""Arrays as the kernels want them: items as ``[N, C, H, W]``, positions as ``[N, H, W]``, without copying."""

from __future__ import annotations

import math

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout

__all__ = ["elements", "planes", "shared", "spread"]


def planes(batch: Array, layout: Layout) -> Array:
    """A batch ``[N, *item]`` seen as channels over a plane, ``[N, C, H, W]``; always a view.

    Raises:
        UsageError: When the batch does not have the layout's item shape or its memory cannot be seen that way.
    """
    if batch.shape[1:] != layout.item:
        raise UsageError(f"Items are {list(batch.shape[1:])}, but the layout {layout.axes} is of {list(layout.item)}.")
    channel = layout.channel_axis
    first = batch[:, None] if channel is None else np.moveaxis(batch, channel, 1)
    wanted = (batch.shape[0], layout.channels, *layout.plane)
    try:
        return np.reshape(first, wanted, copy=False)
    except ValueError as error:
        raise UsageError(
            f"A batch of strides {batch.strides} cannot be seen as [N, C, H, W] without a copy. Pass a C-contiguous "
            "array."
        ) from error


def spread(fill: Array, layout: Layout) -> Array:
    """A fill seen like the items, ``[N, C, H, W]``; copied where it repeats along some axes of the plane alone."""
    try:
        return planes(fill, layout)
    except UsageError:
        return planes(np.ascontiguousarray(fill), layout)


def elements(batch: Array) -> Array:
    """A batch ``[N, *item]`` seen as one channel over all elements, ``[N, 1, 1, size]``; copies only if it must."""
    return batch.reshape(batch.shape[0], 1, 1, math.prod(batch.shape[1:]))


def shared(array: Array, items: slice, count: int, has_items: bool, what: str) -> Array:
    """``array`` with a leading item axis: its own, or one of stride 0 when all items share it.

    Args:
        array: The array, with or without a leading axis of ``count`` items.
        items: The items wanted.
        count: N.
        has_items: Whether the leading axis is there.
        what: Name for the message.
    """
    if not has_items:
        return np.broadcast_to(array, (len(range(count)[items]), *array.shape))
    if array.shape[0] != count:
        raise UsageError(f"{what} is for {array.shape[0]} items, but there are {count}.")
    return array[items]
