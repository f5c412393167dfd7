"""Geometry of ONNX's sliding and resizing operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

from xplain.core.edits import Array
from xplain.native.delta import Kernel

__all__ = ["kernel_of", "resize_indices"]


def kernel_of(node: NodeProto, extent: tuple[int, int], size: tuple[int, ...]) -> tuple[Kernel, tuple[int, int]]:
    """The sliding kernel of a Conv or a pool over a plane of ``extent``, and its pads at the bottom and the right."""
    given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    ky, kx = (int(v) for v in size)
    sy, sx = (int(v) for v in given.get("strides", (1, 1)))
    dy, dx = (int(v) for v in given.get("dilations", (1, 1)))
    pads = [int(v) for v in given.get("pads", (0, 0, 0, 0))]
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis, (k, s, d) in enumerate(((ky, sy, dy), (kx, sx, dx))):
            outputs = -(-extent[axis] // s)
            total = max(0, (outputs - 1) * s + (k - 1) * d + 1 - extent[axis])
            near = total // 2 if auto == "SAME_UPPER" else total - total // 2
            pads[axis], pads[axis + 2] = near, total - near
    elif auto == "VALID":
        pads = [0, 0, 0, 0]
    return Kernel((ky, kx), (sy, sx), (pads[0], pads[1]), (dy, dx)), (pads[2], pads[3])


def resize_indices(
    node: NodeProto, before: tuple[int, int], after: tuple[int, int], scales: Array | None
) -> tuple[Array, Array] | None:
    """Source row of every output row and source column of every output column; None where the node interpolates."""
    given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if given.get("mode", b"nearest") != b"nearest":
        return None
    old = node.op_type == "Upsample"
    where = b"asymmetric" if old else given.get("coordinate_transformation_mode", b"half_pixel")
    rounding = b"floor" if old else given.get("nearest_mode", b"round_prefer_floor")
    if where not in (b"asymmetric", b"half_pixel", b"align_corners", b"pytorch_half_pixel"):
        return None
    picked = []
    for axis in range(2):
        length, wanted = before[axis], after[axis]
        ratio = float(scales[axis + 2]) if scales is not None and len(scales) == 4 else wanted / length
        at = np.arange(wanted, dtype=np.float64)
        if where == b"asymmetric":
            source = at / ratio
        elif where == b"align_corners":
            source = at * (length - 1) / max(wanted - 1, 1)
        elif where == b"pytorch_half_pixel" and wanted == 1:
            source = np.zeros(1)
        else:
            source = (at + 0.5) / ratio - 0.5
        if rounding == b"round_prefer_floor":
            source = np.ceil(source - 0.5)
        elif rounding == b"round_prefer_ceil":
            source = np.floor(source + 0.5)
        else:
            source = np.floor(source) if rounding == b"floor" else np.ceil(source)
        picked.append(np.clip(source, 0, length - 1).astype(np.int64))
    return picked[0], picked[1]
