"""Views of a canvas: where each of several pictures lies on it, and how it is turned. Drawn by a counter, per item.

Pixel ``i`` of a view of S pixels along an axis lies on the canvas, which has K of its own, at

    p(i) = (K - 1) / 2 + (i - (S - 1) / 2) * step + offset

so jitter is an offset, a crop or a change of scale is a step, and both are exact: a canvas that is a function of real
positions (``Cosines``) is evaluated there, one of pixels is interpolated between the nearest two along each axis.
A turn by an angle is a bilinear reading of the view at turned places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.arrays import constant, namespace
from xplain.core.edits import Array

__all__ = ["Transforms", "Views", "positions", "tents", "turned"]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """V views of each of N canvases.

    Args:
        where: ``[N, V, 3]``: offset of rows and of columns in pixels of the canvas, and pixels of the canvas per pixel
            of the view; ``[N, V, 4]`` with an angle in radians behind them.
        noise: Added to the painted pictures, ``[N, V, C, H, W]``; None for nothing.
    """

    where: Array
    noise: Array | None = None

    @property
    def count(self) -> int:
        """V, views of each canvas."""
        return int(self.where.shape[1])

    def take(self, items: Array) -> Views:
        """The views of some of the canvases."""
        return replace(self, where=self.where[items], noise=None if self.noise is None else self.noise[items])


@dataclass(frozen=True, slots=True)
class Transforms:
    """How views are drawn, anew for every step.

    Args:
        count: Views of each canvas in one step.
        side: Least and greatest side of a view, as shares of the canvas; a view may lie anywhere on it.
        jitter: Further offset along each axis, at most, in pixels of the canvas.
        rotate: Greatest angle to either side, in degrees.
        noise: Standard deviation of noise on the picture, whose values are 0..1.
        centre: Share of the room for a view's place that is used: 1 anywhere, 0 the middle alone.
    """

    count: int = 1
    side: tuple[float, float] = (1.0, 1.0)
    jitter: float = 0.0
    rotate: float = 0.0
    noise: float = 0.0
    centre: float = 1.0

    @property
    def still(self) -> bool:
        """Whether the one view is the canvas as it is."""
        return self == Transforms(centre=self.centre)

    def draw(
        self, rngs: Sequence[np.random.Generator], canvas: tuple[int, int], size: tuple[int, int], channels: int = 3
    ) -> Views | None:
        """Views of N canvases, one generator for each; None where nothing is transformed.

        Args:
            rngs: A generator for each canvas.
            canvas: Height and width of the canvas, in its own pixels.
            size: Height and width of a view.
            channels: Channels of the picture.
        """
        if self.still:
            return None
        where, noise = [], []
        for rng in rngs:
            side = rng.uniform(*self.side, self.count)
            room = (1.0 - np.minimum(side, 1.0)) / 2 * self.centre
            shift = rng.uniform(-1.0, 1.0, (self.count, 2)) * room[:, None] * np.asarray(canvas)
            shift += rng.uniform(-self.jitter, self.jitter, (self.count, 2))
            step = side * min(k / s for k, s in zip(canvas, size, strict=True))
            angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate, self.count))
            where.append(np.column_stack([shift, step, angle] if self.rotate else [shift, step]))
            if self.noise:
                drawn = rng.standard_normal((self.count, channels, *size), np.float32)  # half the time of doubles
                noise.append(np.float32(self.noise) * drawn)
        return Views(np.stack(where).astype(np.float32), np.stack(noise) if noise else None)


def positions(where: Any, axis: int, pixels: int, canvas: int) -> Any:
    """Where the pixels of views lie along one axis of the canvas, ``[N, V, pixels]``."""
    steps = constant(np.arange(pixels)[None, None] - (pixels - 1) / 2, where)
    return steps * where[:, :, 2:3] + where[:, :, axis : axis + 1] + (canvas - 1) / 2


def tents(at: Any, extent: int, inside: bool = True) -> Any:
    """Linear interpolation as a matrix: ``at [..., S]`` to ``[..., S, extent]``.

    ``inside``: places beyond the border read the border; else what lies beyond is 0, fading over one pixel.
    """
    xp = namespace(at)
    if inside:
        at = xp.clip(at, 0.0, float(extent - 1))
    apart = xp.abs(xp.expand_dims(at, axis=-1) - constant(np.arange(extent), at))
    return xp.maximum(1.0 - apart, constant(np.zeros(()), at))


def turned(pictures: Any, angles: Any, inside: bool = True) -> Any:
    """Pictures ``[R, C, H, W]``, each turned about its centre by an angle ``[R]``, read bilinearly.

    ``inside``: places beyond the border read the border; else they are 0.
    """
    xp = namespace(pictures)
    rows, channels, height, width = pictures.shape
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    y, x = (constant(v.reshape(1, -1), pictures) for v in (y, x))
    cosine, sine = (xp.expand_dims(v, axis=1) for v in (xp.cos(angles), xp.sin(angles)))
    free_y, free_x = cosine * y - sine * x + (height - 1) / 2, sine * y + cosine * x + (width - 1) / 2
    at_y, at_x = xp.clip(free_y, 0.0, float(height - 1)), xp.clip(free_x, 0.0, float(width - 1))
    low_y = xp.clip(xp.floor(at_y), 0.0, float(max(height - 2, 0)))
    low_x = xp.clip(xp.floor(at_x), 0.0, float(max(width - 2, 0)))
    share_y, share_x = (xp.expand_dims(v, axis=1) for v in (at_y - low_y, at_x - low_x))
    flat = xp.reshape(pictures, (rows, channels, height * width))

    def read(down: int, right: int) -> Any:
        place = (low_y + float(min(down, height - 1))) * float(width) + low_x + float(min(right, width - 1))
        index = xp.broadcast_to(xp.expand_dims(xp.astype(place, xp.int64), axis=1), flat.shape)
        return xp.take_along_axis(flat, index, axis=2)

    top = read(0, 0) * (1.0 - share_x) + read(0, 1) * share_x
    bottom = read(1, 0) * (1.0 - share_x) + read(1, 1) * share_x
    found = top * (1.0 - share_y) + bottom * share_y
    if not inside:
        beyond = xp.abs(free_y - at_y) + xp.abs(free_x - at_x)
        found = found * xp.expand_dims(xp.astype(beyond <= 0.5, pictures.dtype), axis=1)
    return xp.reshape(found, (rows, channels, height, width))
