"""How large a picture is, from its header: nothing is decoded."""

from __future__ import annotations

import io

import numpy as np

from xplain.core.edits import Array
from xplain.render import pictures
from xplain.render.dicom import is_dicom

__all__ = ["extent_of"]

_ORIENTATION_TAG, _LYING = 0x0112, (5, 6, 7, 8)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")


def extent_of(content: bytes | Array) -> tuple[int, int]:
    """Height and width of a picture as ``pictures.read`` gives it, that is, turned as its EXIF orientation says.

    Raises:
        PictureError: it is none.
    """
    if isinstance(content, np.ndarray):
        return int(content.shape[0]), int(content.shape[1])
    if not is_dicom(content):
        from PIL import Image

        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
                width, height = picture.size
                lying = picture.getexif().get(_ORIENTATION_TAG, 1) in _LYING
                return (width, height) if lying else (height, width)
        except Exception:
            pass
    height, width = pictures.read(content).shape[:2]
    return height, width
