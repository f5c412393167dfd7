"""Samples of more than 8 bits made the 0..255 that a picture holds, and what was done said.

``pixel = (sample - low) / (high - low) * 255``. The range (low, high) is the one that the card states; else what the
largest sample says: scanners and cameras write fewer bits into 16, and such a file would come in nearly black. Samples
that stop exactly at ``2**bits - 1``, for any depth of 8 to 15 bits, have that depth. Others have the smallest of the
usual depths, 8, 10, 12, 14 and 16 bits, that holds them. Whatever is not the full range is said, with the depths that
fit besides.
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

_USUAL = (8, 10, 12, 14, 16)
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
        bits = _depth(largest)
        if samples.dtype == np.uint16 and bits < 16 and largest > 0:
            limits = (0.0, float(2**bits - 1))
            if told is not None:
                told.append(_reading(what, largest, bits))
        elif samples.dtype == np.uint16:
            return (samples >> 8).astype(np.uint8)
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise PictureError(f"{what} holds samples that are not finite.")
    low, high = limits
    share = (samples.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)


def _depth(largest: int) -> int:
    """Bits per sample that the largest one suggests: its own where it is ``2**bits - 1``, else a usual number."""
    own = max(8, largest.bit_length())
    return own if largest == 2**own - 1 else next((bits for bits in _USUAL if own <= bits), 16)


def _reading(what: str, largest: int, bits: int) -> str:
    """What was done with samples of fewer than 16 bits, and the depth that fits as well, if one does."""
    own = max(8, largest.bit_length())
    other = own if own < bits else None if bits in _USUAL else next(usual for usual in _USUAL if usual > bits)
    other = None if other == 16 else other  # the whole range is named in any case
    also = "" if other is None else f", range = [0, {2**other - 1}] if it has {other} bits, which fits as well"
    return (
        f"{what} has 16 bits per sample, and none is above {largest}: it is read as {bits} bits, so {2**bits - 1} is "
        f"white. State range = [0, {2**bits - 1}] in the card if that is right{also}, or range = [0, 65535] for the "
        "whole range."
    )


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
    if mode == "I" and picture.format in ("PNG", "PPM"):  # older Pillow reads 16-bit PNG so; PGM is spread over 16 bits
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
