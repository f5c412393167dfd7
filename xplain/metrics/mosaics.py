"""Mosaics of pictures, for ``focus``: four pictures in one, some of the target's class, so that the truth is known."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["mosaic"]


def mosaic(pictures: Array, right: Array) -> tuple[Array, Array]:
    """Every four pictures side by side as one, each at half its size, and the tiles that are of the target's class.

    Args:
        pictures: Items ``[4 N, C, H, W]``, H and W even; four after another become the tiles of one mosaic, by rows.
        right: bool ``[4 N]``: whether each is of the class that the mosaic will be explained for.

    Returns:
        The mosaics ``[N, C, H, W]``, and masks bool ``[N, H, W]`` of the right tiles, as ``focus`` takes them.

    Raises:
        UsageError: other shapes, or a mosaic without a right tile, or with nothing else.

    Source:
        Arias-Duart et al., Focus! Rating XAI Methods and Finding Biases, FUZZ-IEEE 2022.
    """
    pictures, right = np.asarray(pictures), np.asarray(right, bool)
    if (
        pictures.ndim != 4
        or len(pictures) % 4
        or right.shape != pictures.shape[:1]
        or any(extent % 2 for extent in pictures.shape[2:])
    ):
        raise UsageError(
            f"The pictures are {list(pictures.shape)} with {list(right.shape)} marks; accepted: [4 N, C, H, W] of even "
            "height and width, and a mark for each."
        )
    count, channels, height, width = pictures.shape
    marks = right.reshape(-1, 4)
    if not (marks.any(axis=1) & ~marks.all(axis=1)).all():
        raise UsageError("A mosaic needs a tile of the class and one of another; mark some pictures, not all.")
    halves = pictures.reshape(count, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    tiles = halves.reshape(-1, 2, 2, channels, height // 2, width // 2)
    joined = tiles.transpose(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)
    masks = np.repeat(np.repeat(marks.reshape(-1, 2, 2), height // 2, axis=1), width // 2, axis=2)
    return joined.astype(pictures.dtype), masks
