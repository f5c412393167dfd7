"""Geometry of ONNX's sliding and resizing operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.graph.nodes import Model, Node, attributes_of
from xplain.graph.resampled import resamplings
from xplain.graph.windows import windows_of
from xplain.native.delta import Kernel

__all__ = ["kernel_of", "resize_indices"]


def kernel_of(node: Node, extent: tuple[int, int], size: tuple[int, ...]) -> Kernel:
    """The sliding kernel of a Conv or a pool over a plane of ``extent``."""
    found = windows_of(attributes_of(node), size, extent)
    assert found is not None  # extents are known here
    (ky, kx), (sy, sx), (dy, dx) = found.kernel, found.strides, found.dilations
    return Kernel((ky, kx), (sy, sx), (found.before[0], found.before[1]), (dy, dx), (found.after[0], found.after[1]))


def resize_indices(
    node: Node, before: tuple[int, int], after: tuple[int, int], scales: Array | None, like: Model
) -> tuple[Array, Array] | None:
    """Source row of every output row and source column of every output column; None where the node interpolates.

    Args:
        node: A Resize or Upsample of the plane.
        before: Height and width.
        after: What they become.
        scales: What the node states for each axis of ``[N, C, H, W]``; None where it states sizes.
        like: Whose operator sets are used.
    """
    given: dict[str, Any] = attributes_of(node)
    if given.get("mode", "nearest") != "nearest":
        return None
    stated = None if scales is None else scales.ravel().tolist(), None
    found = resamplings(node.op_type, given, stated, ((None, None, *before), (None, None, *after)), like)
    if found is None:
        return None
    picked = []
    for axis in range(2):
        taken = found.get(axis + 2, np.eye(before[axis]))
        if not np.array_equal(taken, taken == 1.0) or np.any(taken.sum(1) != 1.0):
            return None
        picked.append(taken.argmax(1).astype(np.int64))
    return picked[0], picked[1]
