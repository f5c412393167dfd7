"""Samples of more than 8 bits made the 0..255 that a picture holds, and what was done said.

``pixel = (sample - low) / (high - low) * 255``. The range (low, high) is the one that the card states; else the full
range of the samples' type, unless no sample of a 16-bit file reaches a quarter of it: scanners and cameras write 8, 10,
12 or 14 bits into 16, and such a file would come in nearly black. Then the smallest of these that holds all samples is
taken, and said.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import PictureError

__all__ = ["Range", "deep_samples", "eight_bits"]

Range = tuple[float, float]

_DEPTHS = (8, 10, 12, 14)
_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_OTHER = "B" if sys.byteorder == "little" else "L"
_SWAPPED = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _OTHER))
}


def eight_bits(samples: Array, limits: Range | None, what: str, told: list[str] | None = None) -> Array:
    """Samples as uint8.

    Args:
        samples: Integers or floats of any shape.
        limits: (low, high) in the samples' own numbers, or None for what the samples suggest.
        what: Names the picture.
        told: Gets a sentence where the range was not stated and not the whole type's.

    Raises:
        PictureError: the type has no range of its own, and none is stated; or samples are not finite.
    """
    if limits is None:
        if samples.dtype.kind == "f" or samples.dtype.itemsize > 2 or samples.dtype.kind == "i":
            low, high = (float(samples.min()), float(samples.max())) if samples.size else (0.0, 0.0)
            kind = "signed" if samples.dtype.kind == "i" else f"{8 * samples.dtype.itemsize}-bit"
            raise PictureError(
                f"{what} holds {kind} samples from {low:g} to {high:g}, whose range is not known; accepted: 8 or 16 "
                f"bits per sample, or a range in the preprocessing card, such as range = [{low:g}, {high:g}]. Or give "
                "a floating array, which is used as the model's tensor."
            )
        limits = (0.0, float(np.iinfo(samples.dtype).max))
        largest = int(samples.max(initial=0))
        bits = next((bits for bits in _DEPTHS if largest < 2**bits), 16)
        if samples.dtype == np.uint16 and bits < 16 and largest > 0:
            limits = (0.0, float(2**bits - 1))
            if told is not None:
                told.append(
                    f"{what} has 16 bits per sample, and none is above {largest}: it is read as {bits} bits, so "
                    f"{2**bits - 1} is white. State range = [0, {2**bits - 1}] in the card if that is right, or "
                    "range = [0, 65535] for the whole range."
                )
        elif samples.dtype == np.uint16:
            return (samples >> 8).astype(np.uint8)
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise PictureError(f"{what} holds samples that are not finite.")
    low, high = limits
    share = (samples.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)


def deep_samples(picture: Any, content: bytes | None) -> Array | None:
    """The samples of a picture that hold more than 8 bits: ``[H, W]``, or ``[H, W, 3 or 4]``; None for any other.

    Pillow reads colour of 16 bits as its upper bytes alone. The lower ones are read by opening the file again with the
    bytes of each sample exchanged.

    Args:
        picture: The opened picture; it is loaded here.
        content: The file that it comes from, if it is one.
    """
    from PIL import Image

    kind = _raw_mode(picture)
    swapped = _SWAPPED.get(kind) if content is not None else None
    picture.load()
    mode = picture.mode
    if mode in _GREY:
        return np.asarray(picture).astype(np.uint16)
    if mode == "I" and picture.format == "PNG":  # older Pillow reads 16-bit PNG as "I"
        return np.asarray(picture).astype(np.uint16)
    if mode == "I":
        return np.asarray(picture).astype(np.int32)
    if mode == "F":
        return np.asarray(picture).astype(np.float32)
    if swapped is None or content is None:
        return None
    with Image.open(BytesIO(content), formats=[picture.format or ""]) as again:
        again.tile = [tile._replace(args=_exchanged(tile.args, swapped)) for tile in again.tile]
        again.load()
        low = np.asarray(again).astype(np.uint16)
    return (np.asarray(picture).astype(np.uint16) << 8) | low


def _raw_mode(picture: Any) -> str:
    args: Any = picture.tile[0].args if getattr(picture, "tile", None) else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _exchanged(args: Any, mode: str) -> Any:
    return (mode, *args[1:]) if isinstance(args, tuple) else mode
