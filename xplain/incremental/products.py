"""A matrix product with a whole plane, such as VGG's first: each mask multiplies the pixels that changed alone.

Its weights are many and each is used once per mask, so masks go through it by the group, pixel after pixel of the
plane: ``sums[m] += W[pixel] delta[m, pixel]`` over the masks whose window has that pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.incremental import weights
from xplain.incremental.steps import Conv
from xplain.native import delta
from xplain.native.delta import LANE, PANEL, Deltas, Kernel, Packed

__all__ = ["Product", "kept"]


def kept(tensor: Deltas) -> Deltas:
    """A copy of deltas in float32, as short as their windows."""
    at = tensor.windows
    end = int(np.where(at[:, 2] > 0, at[:, 4] + at[:, 2] * at[:, 5], 0).max(initial=0))
    data = tensor.data[:end]
    wide = data.copy() if data.dtype == np.float32 else (data.astype(np.uint32) << 16).view(np.float32)
    return Deltas(at, wide, tensor.step)


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """``weight @ plane + bias``: a convolution whose kernel is the whole plane, and its bias ``[O]``."""

    conv: Conv
    bias: Array

    @property
    def source(self) -> str:
        """The plane."""
        return self.conv.source

    def whole(self, planes: Array) -> Array:
        """The product of planes ``[N, C, H, W]`` by BLAS, float32 ``[N, O]``: nothing here is known of deltas."""
        matrix = self.conv.weight.reshape(len(self.bias), -1)
        return np.asarray(weights.product(matrix, planes.reshape(len(planes), -1).T).T + self.bias)

    def changed(self, packed: Packed, parts: Sequence[Deltas], base: Array, threads: int = 0) -> Array:
        """The values under every mask.

        Args:
            packed: The weights, as ``weights.direct`` packs them.
            parts: Changes of the plane, by batch.
            base: The product of the unmasked plane.
            threads: At most so many; 0 means all.

        Returns:
            float32 ``[masks of all parts, O]``.
        """
        conv = self.conv
        windows, step = np.concatenate([part.windows for part in parts]), parts[0].step
        sizes = [len(part.data) for part in parts]
        windows[:, 4] += np.repeat(np.cumsum(sizes) - sizes, [len(part.windows) for part in parts])
        data = delta.aligned(sum(sizes))
        np.concatenate([part.data for part in parts], out=data)
        # as in ``places.width``: a multiple of 1 KiB would crowd a few sets of the cache
        pitch = packed.channels[1] + LANE
        sums = delta.aligned((len(windows), pitch))
        sums.fill(0)
        y, x, height, width, offset, row = windows.T
        for number, (py, px) in enumerate(np.ndindex(*conv.kernel.size)):
            masks = np.flatnonzero((y <= py) & (py < y + height) & (x <= px) & (px < x + width))
            if not len(masks):
                continue
            pixel = offset[masks] + (py - y[masks]) * row[masks] + (px - x[masks]) * step
            out = Deltas(_pixels(masks * pitch), sums.reshape(-1), pitch)
            here = packed.panels + np.array([0, 0, number * conv.inputs * PANEL])  # each panel's weights of the pixel
            one = packed._replace(panels=here, kernel=Kernel((1, 1)))
            delta.conv(Deltas(_pixels(pixel), data, step), out, one, residual=out, threads=threads)
        return np.asarray(base[: len(conv.weight)] + sums[:, : len(conv.weight)])


def _pixels(offsets: Array) -> Array:
    """Windows of one pixel each."""
    windows = np.zeros((len(offsets), 6), np.int64)
    windows[:, 2:4] = 1
    windows[:, 4] = offsets
    return windows
