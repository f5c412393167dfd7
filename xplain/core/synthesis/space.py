"""Where an attacked item lives: the 8-bit picture behind a card's tensor, or the tensor itself in its own units.

A picture that only exists in floating point fools nobody: it is saved, sent and shown in whole numbers of 0..255. So
the values of a picture are whole numbers here, one per channel and position, and every candidate is rounded before
anybody judges it. The picture is the one that the model sees, after the card's resize and crop; what a card does to the
geometry is outside of what is attacked.

A tensor, a series or a row of a table has no such numbers: its values are its own, and nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.items import Items
from xplain.core.positions.layout import Layout

__all__ = ["Space"]

WHITE = 255.0


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Values that an item may take, and how they become the model's tensor.

    Args:
        layout: The axes of the items.
        card: How a picture's values become the tensor; None where values are the tensor's own.
        low: The smallest value that is allowed; minus infinity for none.
        high: The largest.
    """

    layout: Layout
    card: Card | None = None
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of(cls, items: Items, layout: Layout, low: float | None = None, high: float | None = None) -> Space:
        """The space of items that were read: pictures have whole numbers of 0..255, anything else its own.

        Arrays of bands (a card of mode ``BANDS``) are no 8-bit pictures, and have their own.
        """
        if items.card is not None and items.card.mode != "BANDS":
            return cls(layout, items.card, 0.0, WHITE)
        return cls(layout, None, -np.inf if low is None else low, np.inf if high is None else high)

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return self.card is not None

    @property
    def unit(self) -> float:
        """How much of a value one unit of epsilon is: 255 for pictures, whose epsilon counts from black to white."""
        return WHITE if self.whole else 1.0

    @property
    def _channels(self) -> int:
        """The axis of the channels, counted from the end, for any array of items or of one."""
        axis = self.layout.channel_axis
        return -1 if axis is None else axis - len(self.layout.axes)

    def values(self, x: Array) -> Array:
        """The values of tensors, float64: of pictures the whole numbers that they were made of."""
        if self.card is None:
            return np.asarray(x, np.float64)
        return np.clip(np.rint(self.card.samples(x, self._channels)), self.low, self.high)

    def tensor(self, values: Array) -> Array:
        """The model's tensor, float32, with the bits that the card gives."""
        if self.card is None:
            return np.ascontiguousarray(values, np.float32)
        return np.ascontiguousarray(self.card.tensor(values, self._channels))

    def slope(self, gradient: Array) -> Array:
        """A gradient by the tensor as one by the values."""
        if self.card is None:
            return gradient
        return gradient * self.card.slope(gradient.ndim, self._channels)

    def rounded(self, values: Array) -> Array:
        """The nearest values that are allowed."""
        inside = np.clip(values, self.low, self.high)
        return np.rint(inside) if self.whole else inside

    def valued(self, pictures: Array) -> Array:
        """The values, float64, of pictures uint8 ``[N, H, W, 3]``; the way back of ``pictures``."""
        axis = self.layout.channel_axis
        card = self.card
        seen = pictures[..., ::-1] if card is not None and card.mode == "BGR" else pictures
        if axis is None:
            return np.asarray(seen[..., 0], np.float64)
        seen = seen[..., :1] if card is not None and card.channels == 1 else seen
        return np.ascontiguousarray(np.moveaxis(seen, -1, axis), np.float64)

    def pictures(self, values: Array) -> Array | None:
        """The pictures for a person, uint8 ``[N, H, W, 3]`` in RGB; None where values are no picture's."""
        if self.card is None or not self.layout.is_picture:
            return None
        axis = self.layout.channel_axis
        seen = np.rint(values).astype(np.uint8)
        seen = seen[..., None] if axis is None else np.moveaxis(seen, axis, -1)
        seen = np.repeat(seen, 3, axis=-1) if seen.shape[-1] == 1 else seen
        return np.ascontiguousarray(seen[..., ::-1] if self.card.mode == "BGR" else seen)
