"""The frames of an animated file, each read as safely as a picture."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np

from xplain.core.card import MOST_PIXELS
from xplain.core.edits import Array
from xplain.core.errors import PictureError
from xplain.render.pictures import MOST_BYTES

__all__ = ["frames_of"]

_FORMATS = ("GIF", "PNG", "WEBP")
_SUFFIXES = (".gif", ".png", ".apng", ".webp")
_MOST = 4 * MOST_PIXELS
"""Pixels that all frames may have together."""


def frames_of(source: str | os.PathLike[str]) -> tuple[Array, ...]:
    """The frames of an animated GIF, PNG or WebP, uint8 ``[H, W, 3]`` each; none for a file of one picture but a GIF.

    Raises:
        PictureError: the file is larger than what is read, or damaged.
    """
    path = Path(source)
    if path.suffix.lower() not in _SUFFIXES or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return ()
    from PIL import Image, ImageSequence

    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as film:
                count = getattr(film, "n_frames", 1)
                if count == 1 and film.format != "GIF":
                    return ()
                if film.width * film.height * count > _MOST:
                    raise PictureError(
                        f"{str(source)!r} has {count} frames of {film.width} x {film.height} pixels; accepted: up to "
                        f"{_MOST:,} in all. Make it smaller, or shorter, first."
                    )
                return tuple(np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film))
    except PictureError:
        raise
    except Exception as error:  # whatever a decoder raises
        raise PictureError(f"{str(source)!r} cannot be read as an animated picture: {error}.") from None
