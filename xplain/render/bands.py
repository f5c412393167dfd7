"""Arrays of any number of bands, as satellites and spectrometers give, prepared by a card of mode ``BANDS``."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import PictureError

__all__ = ["prepare_bands"]


def prepare_bands(card: Card, source: Any) -> tuple[Array, Array]:
    """The tensor of an array ``[H, W, bands]``, and its first three bands stretched to be looked at.

    ``tensor = (bands * scale - mean) / std`` after resizing each band and the centre crop, as for pictures.

    Returns:
        float32 ``[bands, h, w]`` or ``[h, w, bands]`` by the card's layout, and uint8 ``[h, w, 3]``.

    Raises:
        PictureError: it is no such array.
    """
    if not isinstance(source, np.ndarray) or source.ndim != 3 or source.shape[2] != card.channels or not source.size:
        got = f"{source.dtype} {list(source.shape)}" if isinstance(source, np.ndarray) else type(source).__name__
        raise PictureError(
            f"The card is for {card.channels} bands, so an item is an array [H, W, {card.channels}]; got {got}. A "
            "floating array in the model's own layout is used as its tensor."
        )
    planes = [source[:, :, k].astype(np.float32) for k in range(source.shape[2])]
    height, width = planes[0].shape
    if card.resize_short:
        ratio = card.resize_short / min(height, width)
        planes = [_resized(one, (round(height * ratio), round(width * ratio)), card) for one in planes]
    if card.resize:
        planes = [_resized(one, card.resize, card) for one in planes]
    bands = _cropped(np.stack(planes, axis=2), card)
    tensor = card.tensor(bands)
    seen = bands[:, :, :3] if bands.shape[2] >= 3 else np.repeat(bands[:, :, :1], 3, axis=2)
    low, high = seen.min(), seen.max()
    shown = np.rint((seen - low) / (high - low if high > low else 1.0) * 255.0).astype(np.uint8)
    return np.ascontiguousarray(tensor if card.layout == "NHWC" else tensor.transpose(2, 0, 1)), shown


def _resized(plane: Array, size: tuple[int, int], card: Card) -> Array:
    from PIL import Image

    if size == plane.shape:
        return plane
    return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling[card.resample.upper()]))


def _cropped(bands: Array, card: Card) -> Array:
    if card.crop is None:
        return bands
    out = np.zeros((*card.crop, bands.shape[2]), np.float32)
    source, place = [], []
    for have, want in zip(bands.shape[:2], card.crop, strict=True):
        extent = min(have, want)
        source.append(slice((have - extent) // 2, (have - extent) // 2 + extent))
        place.append(slice((want - extent) // 2, (want - extent) // 2 + extent))
    out[tuple(place)] = bands[tuple(source)]
    return out
