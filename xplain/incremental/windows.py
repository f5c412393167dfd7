"""Geometry of ONNX's sliding and resizing operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.graph.nodes import Node, attributes_of
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
    node: Node, before: tuple[int, int], after: tuple[int, int], scales: Array | None
) -> tuple[Array, Array] | None:
    """Source row of every output row and source column of every output column; None where the node interpolates."""
    given: dict[str, Any] = attributes_of(node)
    if given.get("mode", "nearest") != "nearest":
        return None
    old = node.op_type == "Upsample"
    where = "asymmetric" if old else given.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else given.get("nearest_mode", "round_prefer_floor")
    if where not in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"):
        return None
    picked = []
    for axis in range(2):
        length, wanted = before[axis], after[axis]
        ratio = float(scales[axis + 2]) if scales is not None and len(scales) == 4 else wanted / length
        at = np.arange(wanted, dtype=np.float64)
        if where == "asymmetric":
            source = at / ratio
        elif where == "align_corners":
            source = at * (length - 1) / max(wanted - 1, 1)
        elif where == "pytorch_half_pixel" and wanted == 1:
            source = np.zeros(1)
        else:
            source = (at + 0.5) / ratio - 0.5
        if rounding == "round_prefer_floor":
            source = np.ceil(source - 0.5)
        elif rounding == "round_prefer_ceil":
            source = np.floor(source + 0.5)
        else:
            source = np.floor(source) if rounding == "floor" else np.ceil(source)
        picked.append(np.clip(source, 0, length - 1).astype(np.int64))
    return picked[0], picked[1]
