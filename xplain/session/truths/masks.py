"""Masks of files and arrays: which numbers, colours and transparencies are inside. Where two readings fit, it is asked.

| what the mask holds | inside |
|---|---|
| truth values, or 0 and one other number | what is not 0 |
| several numbers above 0 | what is not 0: each is a thing of its own |
| 255 beside other numbers, 254 not among them | asked: in label maps 255 stands for "not judged" |
| numbers below 0 | asked |
| colours of a palette | what is not black; index 255 beside others is the border that Pascal VOC draws, outside |
| other colours | what is not black |
| transparency | what is neither black nor wholly transparent |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import PictureError, UsageError
from xplain.session.truths.known import Known, rolled

__all__ = ["mask_of", "masked"]

_MOST_MASK = 2**28
_VOID = 255
_TURNED = 0x0112
"""EXIF's orientation, which a mask is not expected to have: then it is read by its colours alone."""


def masked(mask: Any, what: str = "A mask") -> Known:
    """A mask of numbers as what is known of an item; see the table above.

    Raises:
        UsageError: it is no array of numbers, holds NaN, or may be read in two ways.
    """
    found = np.asarray(mask)
    if found.ndim == 0 or found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        raise UsageError(option="truth", got=f"{found.dtype} {list(found.shape)}", accepted="masks of 0 and 1")
    if found.dtype.kind == "b" or not found.size:
        return rolled(found)
    if found.min() < 0:
        raise UsageError(
            f"{what} holds {found.min():g}, and it is not known whether that is inside. Write 0 where nothing is and 1 "
            "where something is: (mask > 0).",
            option="truth",
        )
    others = found[(found != 0) & (found != _VOID)]
    if found.max() == _VOID and others.size and not (others == _VOID - 1).any():
        raise UsageError(
            f"{what} holds {_VOID} beside {others.max():g}, and two readings fit: {_VOID} may be inside, as in a grey "
            'mask, or stand for "not judged", as in label maps. Write 0 where nothing is and 1 where something is: '
            f"(mask >= 128), or ((mask > 0) & (mask < {_VOID})).",
            option="truth",
        )
    return rolled(found != 0)


def mask_of(path: Path) -> Known:
    """The mask of a file, ``.npy`` or a picture.

    Raises:
        UsageError: it cannot be read, or may be read in two ways.
    """
    what = f"The mask {path}"
    return masked(_array(path), what) if path.suffix.lower() == ".npy" else _of_picture(path, what)


def _of_picture(path: Path, what: str) -> Known:
    from xplain.render import formats, pictures

    try:
        # of more than 8 bits too, 1 is inside; sizes are checked here
        coloured = np.asarray(pictures.read(path, (0.0, 1.0)).any(axis=2))
        with formats.decoding(what), formats.opened(path.read_bytes(), what) as picture:
            turned, mode = picture.getexif().get(_TURNED, 1) != 1, picture.mode
            mode = "RGBA" if picture.has_transparency_data else mode
            layers = np.asarray(picture.convert("RGBA") if mode == "RGBA" else picture)
    except (PictureError, OSError) as error:
        raise UsageError(f"{what} cannot be read: {error}") from None
    if turned or mode not in ("RGBA", "P", "L"):
        return rolled(coloured)
    if mode == "L":
        return masked(layers, what)
    return rolled(_opaque(layers, what) if mode == "RGBA" else _of_palette(layers, coloured))


def _opaque(layers: Array, what: str) -> Array:
    """What is neither black nor wholly transparent, bool ``[H, W]``."""
    coloured, covered = layers[..., :3].any(axis=2), layers[..., 3] > 0
    if covered.any() and not covered.all() and not (coloured & covered).any():
        raise UsageError(
            f"{what} is black wherever it is not transparent, and two readings fit: what is drawn may be inside, or "
            "nothing may be. Save it without transparency, white where something is.",
            option="truth",
        )
    return coloured & covered


def _of_palette(indices: Array, coloured: Array) -> Array:
    """What is not black, without the border that Pascal VOC draws around things, bool ``[H, W]``.

    Source:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit, section 3: void is 255.
    """
    inside: Array = coloured & (indices != _VOID)
    return inside if inside.any() else coloured


def _array(path: Path) -> Array:
    try:
        if path.stat().st_size > _MOST_MASK:
            raise UsageError(f"The mask {path} has {path.stat().st_size:,} bytes; accepted: up to {_MOST_MASK:,}.")
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"The mask {path} cannot be read: {str(error)[:200]}.") from None
