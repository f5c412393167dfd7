"""Where what is known of a picture lies in a map of it: the one place that maps boxes and masks to positions.

pixels of the file -> resize and crop of the model's card -> positions of the map -> True where something is known
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.render.geometry import Box, Frame
from xplain.session.truths.known import Known, unrolled

__all__ = ["around", "placed"]


def placed(known: Known, shape: Sequence[int], card: Card | None, size: tuple[int, int] | None) -> Array:
    """Which positions of a map lie in what is known, bool of its shape; a position counts by its middle.

    Args:
        known: Boxes and a mask, in pixels of the picture.
        shape: The map's extents.
        card: How the picture becomes the model's input; None for a tensor, which is its own map.
        size: Height and width of the picture; None for a tensor.
    """
    found = np.zeros(tuple(shape), bool)
    mask = None if known.runs is None else unrolled(known.shape, known.runs)
    if len(found.shape) != 2:
        return found if mask is None else mask
    seen = (found.shape[0], found.shape[1])
    frame = Frame((1.0, 1.0), (0, 0), seen) if card is None or size is None else Frame.of(card, *size)
    if len(known.boxes):
        found |= frame.inside(known.boxes, seen)
    return found if mask is None else found | frame.sampled(mask, seen)


def around(known: Known) -> list[Box]:
    """Boxes (y0, x0, y1, x1) in whole pixels; around a mask, the one that frames it."""
    rows = [tuple(round(float(edge)) for edge in box) for box in known.boxes]
    if known.runs is not None and len(known.shape) == 2 and not known.empty:
        mask = unrolled(known.shape, known.runs)
        y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        rows.append((int(y[0]), int(x[0]), int(y[-1]) + 1, int(x[-1]) + 1))
    return [(y0, x0, y1, x1) for y0, x0, y1, x1 in rows]
