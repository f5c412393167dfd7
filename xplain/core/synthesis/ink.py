"""Ink: how a picture in 0..1 becomes the numbers that a model takes. The preprocessing card, without its resizing.

    input[c] = picture[channel c] * gain[c] + shift[c]

so the way back from a gradient to a picture's colours is a factor per channel, and nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.arrays import constant, namespace
from xplain.core.card import Card
from xplain.core.edits import Array

__all__ = ["PLAIN", "Ink"]


@dataclass(frozen=True, slots=True)
class Ink:
    """How colours become a model's input.

    Args:
        gain: Factor on the 0..1 values, one per channel of the input in its own order.
        shift: Added after it.
        turned: The input's channels are blue, green, red.
        last: The input's channels are its last axis.
    """

    gain: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)
    turned: bool = False
    last: bool = False

    @classmethod
    def of(cls, card: Card, last: bool = False) -> Ink:
        """What a card does to colours; ``last``: the model's channels are its last axis."""
        black = np.zeros(card.channels)
        gain = np.broadcast_to(255.0 * card.slope(1), black.shape)
        return cls(tuple(gain.tolist()), tuple(card.tensor(black).tolist()), card.mode == "BGR", last)

    @property
    def channels(self) -> int:
        """Channels of the picture."""
        return len(self.gain)

    def apply(self, pictures: Any) -> Any:
        """Pictures ``[R, C, H, W]`` in 0..1 (RGB, or grey) as the model's input, of any kind of array."""
        xp = namespace(pictures)
        if self.turned:
            pictures = xp.concat([pictures[:, k : k + 1] for k in (2, 1, 0)], axis=1)
        wide, found = (1, self.channels, 1, 1), pictures
        if any(one != 1.0 for one in self.gain):
            found = found * constant(np.reshape(self.gain, wide), pictures)
        if any(self.shift):
            found = found + constant(np.reshape(self.shift, wide), pictures)
        return xp.permute_dims(found, (0, 2, 3, 1)) if self.last else found

    def back(self, slope: Array) -> Array:
        """A gradient by the model's input as one by the colours, ``[R, C, H, W]``."""
        planes = np.moveaxis(slope, -1, 1) if self.last else slope
        planes = planes * np.reshape(self.gain, (1, self.channels, 1, 1))
        return np.ascontiguousarray(planes[:, ::-1] if self.turned else planes)

    def lift(self, x: Array) -> Array:
        """The model's input as pictures ``[R, C, H, W]`` in 0..1; the way back of ``apply``."""
        planes = np.moveaxis(x, -1, 1) if self.last else x
        wide = (1, self.channels, 1, 1)
        pictures = (planes - np.reshape(self.shift, wide)) / np.reshape(self.gain, wide)
        return np.ascontiguousarray(pictures[:, ::-1] if self.turned else pictures, dtype=np.float32)


PLAIN = Ink((1.0,) * 3, (0.0,) * 3)
"""RGB as it is, in 0..1."""
