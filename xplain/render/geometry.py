"""Where a position of the tensor lies in the picture it was made from: the geometry of a preprocessing card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xplain.core.card import Card

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
