"""Arrays of any number of bands, as satellites and spectrometers give, prepared by a card of mode ``BANDS``."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import PictureError

__all__ = ["false_colours", "grey", "prepare_bands"]

_ENDS = (2.0, 98.0)
"""Percentiles of a band that become black and white in false colours, so that one bright cloud hides nothing."""


def prepare_bands(card: Card, source: Any) -> tuple[Array, Array]:
    """The tensor of an array ``[H, W, bands]``, and three bands stretched to be looked at.

    Shown are the bands that the card states as ``rgb``, each stretched for itself; else the first three, together.

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
    which = card.coordinates.colours(bands.shape[2])
    if which is not None:
        return _laid(tensor, card), false_colours(bands[None][..., list(which)])[0]
    seen = bands[:, :, :3] if bands.shape[2] >= 3 else np.repeat(bands[:, :, :1], 3, axis=2)
    low, high = seen.min(), seen.max()
    shown = np.rint((seen - low) / (high - low if high > low else 1.0) * 255.0).astype(np.uint8)
    return _laid(tensor, card), shown


def false_colours(bands: Array) -> Array:
    """Three bands ``[N, H, W, 3]`` as pictures, uint8, each stretched from its 2nd to its 98th percentile, per item."""
    low, high = np.percentile(bands.astype(np.float64), _ENDS, axis=(1, 2), keepdims=True)
    wide = np.where(high > low, high - low, 1.0)
    return np.asarray(np.rint(np.clip((bands - low) / wide, 0.0, 1.0) * 255.0).astype(np.uint8))


def grey(planes: Array) -> Array:
    """Planes ``[N, H, W]`` of any numbers as grey pictures, uint8 ``[N, H, W, 3]``, from the least to the largest."""
    x = planes.astype(np.float64)
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    levels = np.rint((x - low) / np.where(high > low, high - low, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _laid(tensor: Array, card: Card) -> Array:
    return np.ascontiguousarray(tensor if card.layout == "NHWC" else tensor.transpose(2, 0, 1))


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
