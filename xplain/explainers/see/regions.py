"""Regions of a picture that may hold a thing, proposed without a model; and those of them that lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency

__all__ = ["Box", "apart", "overlap_of", "proposed"]

Box: TypeAlias = tuple[int, int, int, int]
"""(y0, x0, y1, x1), half open."""

_SHARES = (1 / 2, 1 / 3, 1 / 4)  # sides of the grid's squares, of the picture's shorter side
_SEGMENTS = 24
_LEAST = 0.12  # of the shorter side: smaller regions show nothing once they are enlarged


def proposed(picture: Array, how: str, most: int) -> list[Box]:
    """Regions of a picture uint8 ``[H, W, 3]``, the largest ones first, each once.

    Args:
        picture: The picture.
        how: ``grid``, ``superpixels`` or ``selective-search``.
        most: How many at most.

    Raises:
        MissingDependency: selective search without OpenCV's contrib modules.
    """
    find = {"grid": _grid, "superpixels": _superpixels, "selective-search": _search}[how]
    height, width = picture.shape[:2]
    least = max(2, round(_LEAST * min(height, width)))
    found = {box: None for box in find(picture) if min(box[2] - box[0], box[3] - box[1]) >= least}
    order = sorted(found, key=lambda box: (-(box[2] - box[0]) * (box[3] - box[1]), box))
    spread = order if len(order) <= most else [order[k] for k in np.linspace(0, len(order) - 1, most).astype(int)]
    return spread or [(0, 0, height, width)]


def _grid(picture: Array) -> list[Box]:
    height, width = picture.shape[:2]
    found = []
    for share in _SHARES:
        side = max(2, round(share * min(height, width)))
        rows = np.unique(np.linspace(0, height - side, max(1, round(1.5 * (height / side - 1)) + 1)).astype(int))
        columns = np.unique(np.linspace(0, width - side, max(1, round(1.5 * (width / side - 1)) + 1)).astype(int))
        found += [(int(y), int(x), int(y) + side, int(x) + side) for y in rows for x in columns]
    return found


def _superpixels(picture: Array) -> list[Box]:
    """Boxes of segments, and of neighbours joined."""
    from skimage.segmentation import slic

    labels = slic(picture, n_segments=_SEGMENTS, compactness=20, start_label=0)
    masks = [labels == k for k in range(int(labels.max()) + 1)]
    boxes = [_around(mask) for mask in masks]
    pairs = set()
    for a, b in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        touching = a != b
        pairs |= {(min(p), max(p)) for p in zip(a[touching].tolist(), b[touching].tolist(), strict=True)}
    return [*boxes, *(_joined(boxes[a], boxes[b]) for a, b in sorted(pairs))]


def _search(picture: Array) -> list[Box]:
    try:
        ximgproc: Any = import_module("cv2.ximgproc")
    except ImportError:
        raise MissingDependency(
            "Selective search is in OpenCV's contrib modules. Install opencv-contrib-python-headless, or give ",
            option("proposals", "superpixels"),
            ".",
        ) from None
    search = ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(picture[..., ::-1]))
    search.switchToSelectiveSearchFast()
    return [(int(y), int(x), int(y + h), int(x + w)) for x, y, w, h in search.process()]


def _around(mask: Array) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _joined(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def overlap_of(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    both = max(height, 0) * max(width, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (area - both)


def apart(values: Array, boxes: Sequence[Box], overlap: float) -> list[int]:
    """Non-maximum suppression: the best first, without those that overlap a better one by more than ``overlap``."""
    kept: list[int] = []
    for r in np.argsort(-values, kind="stable").tolist():
        if all(overlap_of(boxes[r], boxes[other]) <= overlap for other in kept):
            kept.append(r)
    return kept
