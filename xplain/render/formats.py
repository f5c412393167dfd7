"""Formats of picture files: which are read, how a file is opened, and what is said of one that is not.

The list is short, and an opened file's size and frames are known before anything is decoded.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xplain.core.card import MOST_PIXELS
from xplain.core.errors import MissingDependency, PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

__all__ = ["ACCEPTED", "SUFFIXES", "decoding", "one_frame", "opened", "too_large"]

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm", ".pnm", ".pbm", ".dcm")
"""How names of pictures end, in folders."""
ACCEPTED = "accepted: PNG, JPEG, WebP, BMP, PGM and PPM, GIF of one frame, one-page TIFF and one-frame DICOM"
# what people hand over by mistake, by its first bytes, so that the message can name it
_OTHER_FORMATS = {
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"<svg": "an SVG drawing",
    b"<?xm": "an XML file",
    b"<htm": "a web page",
    b"<!DO": "a web page",
    b"PK\x03\x04": "a ZIP archive",
}


def opened(content: bytes, what: str) -> Image:
    """A picture file opened, nothing of it decoded.

    Args:
        content: The file's bytes.
        what: Names the picture in messages.

    Raises:
        PictureError: it is of no format that is read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        kind = next((name for start, name in _OTHER_FORMATS.items() if content.startswith(start)), None)
        if content[4:8] == b"ftyp":
            kind = "an HEIC, AVIF or video file"
        found = f"is {kind}" if kind else "is no picture that can be read, or its beginning is damaged"
        raise PictureError(f"{what} {found}; {ACCEPTED}. Convert it first.") from None


def one_frame(picture: Image, what: str) -> None:
    """Refuse a file of several pictures: nobody says which is meant.

    Raises:
        PictureError: it has several frames or pages.
    """
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # MPO: a phone's JPEG with a preview behind the picture
        kind = "pages" if picture.format == "TIFF" else "frames"
        raise PictureError(f"{what} has {frames} {kind}; accepted: one. Export the one you mean.")


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into one error that names the picture."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is common, and no reason to refuse good pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (PictureError, MissingDependency, KeyboardInterrupt):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PictureError(too_large(what, "too many")) from None
    except MemoryError:
        raise PictureError(f"{what} does not fit into memory. Make it smaller first.") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error ...
        raise PictureError(f"{what} is damaged or truncated: {error}. Save it again; {ACCEPTED}.") from None


def too_large(what: str, pixels: str) -> str:
    """What is said of a picture of too many pixels."""
    return f"{what} has {pixels} pixels; accepted: up to {MOST_PIXELS:,}. Make it smaller first."
