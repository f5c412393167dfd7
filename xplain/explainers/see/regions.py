"""Regions of a picture that may hold a thing, proposed without a model; and those of them that lie apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.keeping.files import read_text

__all__ = ["Box", "Regions", "apart", "overlap_of", "proposed", "told_of"]

Box: TypeAlias = tuple[int, int, int, int]
"""(y0, x0, y1, x1), half open."""

Told: TypeAlias = Mapping[str | int, tuple[Box, ...]]
"""Regions that a caller names, by the item's name or its place."""


@dataclass(frozen=True)
class RegionsOf:
    """Boxes ``(y0, x0, y1, x1)`` of each item: a list in the items' order, a mapping from names, or a JSON file."""

    accepts: str = "boxes [y0, x0, y1, x1] for each item, in order or by the item's name, or a JSON file of them"
    invalid: tuple[Any, ...] = (3, "no-such-file.json", (((1, 2, 3),),), (((4, 0, 2, 2),),))
    names_files: bool = True

    def read(self, value: Any) -> Told:
        """The boxes. Raises ValueError when refused."""
        if isinstance(value, (str, Path)):
            try:
                value = json.loads(read_text(value, UsageError, f"Boxes {value}"))
            except (UsageError, RecursionError) as error:
                raise ValueError from error
        if not isinstance(value, (Mapping, list, tuple)) or not value:
            raise ValueError
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        try:
            return {name: tuple(map(_box, boxes)) for name, boxes in named}
        except TypeError as error:
            raise ValueError from error


def _box(given: Any) -> Box:
    y0, x0, y1, x1 = given
    if not all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) for one in (y0, x0, y1, x1)):
        raise ValueError
    if not 0 <= y0 < y1 or not 0 <= x0 < x1:
        raise ValueError
    return int(y0), int(x0), int(y1), int(x1)


Regions: TypeAlias = Annotated[Any, RegionsOf()]


def told_of(boxes: Told, item: tuple[str, int], plane: tuple[int, int]) -> list[Box]:
    """The regions that a caller names of an item; none where it names none.

    Raises:
        UsageError: one reaches beyond the picture.
    """
    found = list(boxes.get(item[0], boxes.get(item[1], ())))
    for one in found:
        if one[2] > plane[0] or one[3] > plane[1]:
            accepted = f"inside {plane[0]} x {plane[1]} pixels, as the model sees {item[0]!r}"
            raise UsageError(option="boxes", got=list(one), accepted=accepted)
    return found


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
            "Selective search is in OpenCV's contrib modules. Install opencv-contrib-python-headless, in place of any "
            "other OpenCV, or give ",
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
