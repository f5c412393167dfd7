"""Portable anymaps, PGM and PPM, whose header states what is white: grey and colour of 1 to 16 bits, exactly.

Pillow reads those whose white is 255. It takes other depths sample by sample, and gives colour of 16 bits as 8.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import PictureError
from xplain.render.samples import Range

__all__ = ["pnm_samples"]

_BANDS = {b"P2": 1, b"P3": 3, b"P5": 1, b"P6": 3}
_PLAIN = (b"P2", b"P3")
_BYTE, _WORD = 255, 65535


def pnm_samples(picture: Any, what: str, content: bytes | None) -> tuple[Array, Range | None] | None:
    """The samples ``[H, W]`` or ``[H, W, 3]`` of an opened anymap, uint8 or uint16, and their range; None for the rest.

    The range is what the header states. It is None where the header's white is all that the samples' type can hold,
    which cameras and scanners write whatever they measured: then the samples tell (``xplain.render.samples``).

    Args:
        picture: As Pillow opened it, of a size that was looked at; nothing of it is decoded.
        what: Names the picture.
        content: The file; None where there is none.

    Raises:
        PictureError: the file ends too early, or a number in it is none or above what its header states.
    """
    bands = _BANDS.get(content[:2]) if content is not None and picture.format == "PPM" else None
    if bands is None or content is None:
        return None
    tile = picture.tile[0]
    white = tile.args[1] if isinstance(tile.args, tuple) else _WORD if tile.args == "I;16B" else _BYTE
    plain = content[:2] in _PLAIN
    if white == _BYTE and not plain:
        return None
    count = picture.width * picture.height * bands
    found = _written(content[tile.offset :], count) if plain else _packed(content, tile.offset, count, white)
    if len(found) < count:
        raise PictureError(
            f"{what} is damaged or truncated: it holds {len(found):,} of {count:,} numbers. Save it again."
        )
    if plain and not 0 <= int(found.min()) <= int(found.max()) <= white:
        raise PictureError(f"{what} is damaged: it holds numbers that are not in 0 to {white}. Save it again.")
    samples = found.astype(np.uint8 if white <= _BYTE else np.uint16)
    shape = (picture.height, picture.width) + ((bands,) if bands > 1 else ())
    return samples.reshape(shape), None if white in (_BYTE, _WORD) else (0.0, float(white))


def _packed(content: bytes, offset: int, count: int, white: int) -> Array:
    """Numbers of one byte, or of two with the higher first; those that are there."""
    kind = np.dtype(np.uint8 if white <= _BYTE else ">u2")
    return np.frombuffer(content, kind, min(count, (len(content) - offset) // kind.itemsize), offset)


def _written(body: bytes, count: int) -> Array:
    """Numbers as text, with comments up to the end of a line; those up to the first that is none."""
    if len(body) < 2 * count - 1:  # a digit and a space each: nothing is laid out for what cannot be there
        return np.zeros(0, np.int32)
    return np.fromstring(re.sub(rb"#[^\r\n]*", b" ", body).decode("latin-1"), np.int32, sep=" ")[:count]
