"""Where a position of the tensor lies in the picture it was made from: the geometry of a preprocessing card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array

__all__ = ["Box", "Frame"]

Box: TypeAlias = tuple[int, int, int, int]
"""(y0, x0, y1, x1) in pixels, half open."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The map ``seen = picture * scale - offset`` per axis, between a picture's pixels and the tensor's positions.

    Args:
        scale: Rows and columns: positions per pixel.
        offset: Rows and columns: what the crop cuts off at the top and left, in positions; negative where it pads.
        size: Height and width of the picture.
    """

    scale: tuple[float, float]
    offset: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, card: Card, height: int, width: int) -> Frame:
        """The frame of a picture of this size under a card, with the roundings of ``pictures.prepare``."""
        rows, columns = height, width
        if card.resize_short:
            ratio = card.resize_short / min(height, width)
            rows, columns = round(height * ratio), round(width * ratio)
        if card.resize:
            rows, columns = card.resize
        wanted = card.crop or (rows, columns)
        # what is cut off at the front, or padded there, as the centre crop divides it
        front = [
            (have - min(have, want)) // 2 - (want - min(have, want)) // 2
            for have, want in zip((rows, columns), wanted, strict=True)
        ]
        return cls((rows / height, columns / width), (front[0], front[1]), (height, width))

    def to_picture(self, box: Box) -> Box:
        """A box of the tensor in the picture's pixels, as far as the picture reaches."""
        found = [
            min(max(round((edge + self.offset[k % 2]) / self.scale[k % 2]), 0), self.size[k % 2])
            for k, edge in enumerate(box)
        ]
        return found[0], found[1], found[2], found[3]

    def to_seen(self, box: Box) -> Box:
        """A box of the picture in the tensor's positions; what the crop cuts off lies outside the tensor."""
        found = [round(edge * self.scale[k % 2] - self.offset[k % 2]) for k, edge in enumerate(box)]
        return found[0], found[1], found[2], found[3]

    def inside(self, boxes: Array | Sequence[Sequence[float]], seen: tuple[int, int]) -> Array:
        """Which positions of the tensor have their middle in one of the picture's boxes, bool ``[h, w]``.

        Args:
            boxes: (y0, x0, y1, x1) in pixels of the picture, ``[B, 4]``.
            seen: Height and width of the tensor.
        """
        rows, columns = (self._middles(axis, seen[axis]) for axis in (0, 1))
        found = np.zeros(seen, bool)
        for y0, x0, y1, x1 in np.asarray(boxes, np.float64).reshape(-1, 4):
            found |= ((y0 <= rows) & (rows < y1))[:, None] & ((x0 <= columns) & (columns < x1))
        inside = [
            (middles >= 0) & (middles < extent) for middles, extent in zip((rows, columns), self.size, strict=True)
        ]
        return np.asarray(found & inside[0][:, None] & inside[1])

    def sampled(self, mask: Array, seen: tuple[int, int]) -> Array:
        """A mask of the picture as the tensor has it: each position what lies at its middle; nothing where it pads.

        Args:
            mask: bool, of the picture's size.
            seen: Height and width of the tensor.
        """
        places = [np.floor(self._middles(axis, seen[axis])).astype(np.int64) for axis in (0, 1)]
        there = [(one >= 0) & (one < extent) for one, extent in zip(places, self.size, strict=True)]
        rows, columns = (np.clip(one, 0, extent - 1) for one, extent in zip(places, self.size, strict=True))
        return np.asarray(mask[np.ix_(rows, columns)] & there[0][:, None] & there[1])

    def _middles(self, axis: int, count: int) -> Array:
        """Where the middles of positions lie along an axis of the picture, in its pixels."""
        return np.asarray((np.arange(count) + 0.5 + self.offset[axis]) / self.scale[axis])
