"""The smallest pictures of pages that hold many: a picture beside its map, and a map as one pixel per cell.

Both are ``data:`` addresses: a pair of 112 pixels takes about 4 KB as WebP, a map of 7 x 7 cells about 150 bytes.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.colormap import find
from xplain.render.tiles import tile_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["cells_url", "drawing_url", "pair_url"]

_LONGER = 112
"""Pixels of a thumbnail's longer side."""
_GAP = 2
_QUALITY = 62
_SHADES = 16
"""Colours of a map of cells, so that it is a palette PNG of 4 bits."""


def pair_url(picture: Array | None, values: Array | None) -> str:
    """A picture, uint8 ``[H, W, 3]``, and beside it its map ``[h, w]`` laid over it; empty where there is neither."""
    tiles = [] if picture is None else [tile_of(picture, None, 0.0, "", _LONGER)]
    if values is not None and values.ndim == 2 and np.isfinite(values).all():
        limit = float(np.abs(values).max(initial=0.0))
        tiles.append(tile_of(picture, values[..., None].astype(np.float64), limit, "", _LONGER))
    if not tiles:
        return ""
    paper = canvas.image(
        np.full((max(t.height for t in tiles), sum(t.width + _GAP for t in tiles) - _GAP, 3), 255, "u1")
    )
    left = 0
    for tile in tiles:
        paper.paste(tile, (left, 0))
        left += tile.width + _GAP
    return _url(paper, "WEBP", quality=_QUALITY, method=4)


def drawing_url(drawing: Array) -> str:
    """A drawing with lines and letters, uint8 ``[H, W, 3]``, so that the letters stay sharp."""
    return _url(canvas.image(drawing), "WEBP", lossless=True, method=4)


def cells_url(values: Array) -> str:
    """A map ``[h, w]`` with a pixel per cell, to be enlarged without smoothing; the largest has the last colour."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(values, np.float64))
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    signed = bool((values < 0).any())
    low = -1.0 if signed else 0.0
    steps = np.linspace(low, 1.0, _SHADES - signed)  # of a signed map an odd number: one of them is zero
    nearest = np.rint((values / limit - low) / (1.0 - low) * (len(steps) - 1)).astype(np.uint8)
    picture = Image.fromarray(nearest, "P")
    picture.putpalette(find(None, signed).paint(steps, 1.0).astype(np.uint8).ravel().tolist())
    return _url(picture, "PNG", optimize=True, bits=4)


def _url(picture: Image, kind: str, **how: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
