"""Small frames of pictures on their way, for recipes that paint by a net of their own, which nobody else can draw."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array

__all__ = ["Film"]

_FRAMES, _SMALL = 24, 112


class Film:
    """At most 24 frames, evenly spread over the way.

    Args:
        steps: Steps of the way.
    """

    def __init__(self, steps: int) -> None:
        self.every = max(1, -(-steps // _FRAMES))
        self._kept: list[Array] = []

    def due(self, step: int) -> bool:
        """Whether a step has a frame."""
        return step % self.every == 0

    def keep(self, pictures: Array) -> None:
        """Pictures ``[N, C, H, W]`` in 0..1 as the next frame."""
        drawn = np.clip(pictures, 0, 1)
        factor = max(1, max(drawn.shape[2:]) // _SMALL)
        small = np.rint(255 * drawn[:, :, ::factor, ::factor]).astype(np.uint8).transpose(0, 2, 3, 1)
        self._kept.append(np.repeat(small, 3, axis=3) if small.shape[3] == 1 else small)

    @property
    def frames(self) -> Array | None:
        """uint8 ``[N, F, h, w, 3]``; None where there is none."""
        return np.stack(self._kept, axis=1) if self._kept else None
