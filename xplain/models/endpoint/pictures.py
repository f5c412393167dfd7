"""A tensor of pixels as the file a service takes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["encode_picture"]


def encode_picture(pixels: Array, format: str = "png", quality: int = 95) -> bytes:  # noqa: A002 - the mapping's word
    """Pixels ``[C, H, W]`` in 0..255, C 1 or 3, as PNG or JPEG; equal pixels give equal bytes.

    Values are rounded and cut to 0..255. JPEG loses detail, and with it the sharp edge of what was hidden.

    Raises:
        UsageError: another format, or a shape that is no picture.
    """
    if format not in ("png", "jpeg"):
        raise UsageError(f"The mapping's picture.format is {format!r}; accepted: png, jpeg.")
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise UsageError(f"A picture for the endpoint is [C, H, W] with 1 or 3 channels; got {list(pixels.shape)}.")
    whole = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    image = Image.fromarray(whole[0] if len(whole) == 1 else np.ascontiguousarray(whole.transpose(1, 2, 0)))
    out = io.BytesIO()
    if format == "png":
        image.save(out, "PNG", compress_level=3)
    else:
        image.save(out, "JPEG", quality=int(quality), subsampling=0)
    return out.getvalue()
