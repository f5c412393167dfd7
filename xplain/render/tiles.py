"""One tile of a sheet: a photograph, raw numbers as colours, or these laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.edits import Array
from xplain.core.lenses.cells import Contrast
from xplain.render import canvas
from xplain.render.colormap import find

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Mapped", "coloured", "framed", "limits_of", "outlined", "tile_of"]

_BOX = (255, 60, 30)
_SMALL = 24  # pixels of a photograph up to which its pixels are kept apart
_MANY = 512  # numbers of a map from which on a few may be drawn in the last colour
_OPACITY = 0.75  # of the strongest colour over a photograph


class Mapped(Protocol):
    """Cells with maps."""

    @property
    def units(self) -> tuple[str, ...]:
        """What each cell shows."""

    @property
    def map_names(self) -> tuple[str, ...]:
        """What the maps of a cell are called."""

    def map(self, cell: int, name: str = "", /) -> Array | None:
        """Raw numbers of a cell."""

    def __len__(self) -> int: ...


def limits_of(gallery: Mapped, contrast: Contrast) -> Array:
    """The magnitude that is drawn in the last colour, of each cell and map, float64 ``[N, M]``; see ``_limit``."""
    largest = np.zeros((len(gallery), len(gallery.map_names)))
    for n in range(len(gallery)):
        for k, name in enumerate(gallery.map_names):
            values = gallery.map(n, name)
            largest[n, k] = 0.0 if values is None or not values.size else _limit(np.abs(values))
    if contrast == "shared" and len(largest):
        largest[:] = largest.max(axis=0)
    if contrast == "unit":
        for unit in dict.fromkeys(gallery.units):
            members = [n for n, one in enumerate(gallery.units) if one == unit]
            largest[members] = largest[members].max(axis=0)
    return largest


def _limit(sizes: Array) -> float:
    """The largest of some magnitudes; of many the 99.5th percentile, or one pixel would leave the others grey."""
    if sizes.size < _MANY:
        return float(sizes.max())
    some = sizes[sizes > 0]
    return float(np.quantile(some, 0.995)) if some.size else 0.0


def coloured(values: Array, limit: float, look: str) -> Array:
    """Raw numbers ``[h, w, d]`` as colours, uint8 ``[h, w, 3]``; zeros alone are drawn as zero."""
    share = np.clip(values / limit, -1.0, 1.0) if limit > 0 else np.zeros(values.shape)
    if look in ("grey", "colour"):
        shades = np.rint(127.5 + 127.5 * share).astype(np.uint8)
        return shades if shades.shape[2] == 3 else np.repeat(shades, 3, axis=2)
    flat = share.sum(axis=2) if share.shape[2] > 1 else share[..., 0]
    signed = look == "signed" or bool((flat < 0).any())
    return find(None, signed).paint(flat, 1.0)


def tile_of(
    picture: Array | None, values: Array | None, limit: float, look: str, size: int, box: Array | None = None
) -> Image:
    """A tile whose longer side is about ``size`` pixels.

    Args:
        picture: A photograph, uint8 ``[H, W, 3]``, or None.
        values: Raw numbers ``[h, w, d]``, or None; over a photograph where both are there.
        limit: Magnitude of the last colour.
        look: As ``Gallery.look``.
        size: Pixels.
        box: Drawn on the photograph; None for none.
    """
    if values is not None and look == "line":
        return _line(values[0, :, 0] if values.shape[0] == 1 else values[..., 0].mean(axis=0), size)
    if picture is None:
        blank = np.full((1, 1, 3), 255, np.uint8)
        return _sized(blank if values is None else coloured(values, limit, look), size, True)
    if values is None:
        return _sized(picture if box is None else outlined(picture, box), size, max(picture.shape[:2]) <= _SMALL)
    maps = enlarge(values[..., 0].astype(np.float32), picture.shape[:2])
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    share = np.clip(np.abs(maps) / limit, 0, 1)[..., None] * _OPACITY if limit > 0 else 0.0
    laid = grey * (1 - share) + coloured(maps[..., None], limit, look) * share
    done = np.rint(laid).astype(np.uint8)
    return _sized(done if box is None else outlined(done, box), size, False)


def _sized(colours: Array, size: int, crisp: bool) -> Image:
    """Colours enlarged by a whole number, at least twice, where that keeps single values apart, else resized."""
    from PIL.Image import Resampling

    longer = max(colours.shape[:2])
    if 1 in colours.shape[:2] and longer > 5:  # a series: a line of one pixel is nothing to look at
        colours = colours.repeat(longer // 5, axis=colours.shape[:2].index(1))
    if crisp and (2 * longer <= size or longer == size):
        zoom = max(1, size // longer)
        return canvas.image(colours.repeat(zoom, axis=0).repeat(zoom, axis=1))
    height, width = (max(1, round(extent * size / longer)) for extent in colours.shape[:2])
    way = Resampling.BICUBIC if longer <= size else Resampling.LANCZOS
    return canvas.image(colours).resize((width, height), way)


def _line(values: Array, size: int) -> Image:
    """A series as a line from its smallest value to its largest, twice as wide as it is high."""
    from PIL import Image, ImageDraw

    paper = Image.new("RGB", (2 * size, size), (248, 248, 248))
    low, high = float(values.min()), float(values.max())
    rows = (size - 5) * (1 - (values - low) / (high - low)) + 2 if high > low else np.full(len(values), size / 2)
    columns = np.linspace(2, 2 * size - 3, len(values))
    ImageDraw.Draw(paper).line([(float(x), float(y)) for x, y in zip(columns, rows, strict=True)], canvas.INK, 1)
    return paper


def outlined(picture: Array, box: Array) -> Array:
    """A photograph with a box (y0, x0, y1, x1), half open, drawn into it; of an empty box nothing."""
    drawn = picture.copy()
    height, width = drawn.shape[:2]
    y0, x0, y1, x1 = (int(edge) for edge in box)
    y0, y1, x0, x1 = max(y0, 0), min(y1, height), max(x0, 0), min(x1, width)
    if y0 >= y1 or x0 >= x1:
        return drawn
    line = max(1, round(max(height, width) / 112))
    for rows, columns in (
        (slice(y0, y0 + line), slice(x0, x1)),
        (slice(max(y1 - line, y0), y1), slice(x0, x1)),
        (slice(y0, y1), slice(x0, x0 + line)),
        (slice(y0, y1), slice(max(x1 - line, x0), x1)),
    ):
        drawn[rows, columns] = _BOX
    return drawn


def framed(body: Image, margin: int) -> Image:
    """An image with a white margin."""
    from PIL import Image

    paper = Image.new("RGB", (body.width + 2 * margin, body.height + 2 * margin), canvas.PAPER)
    paper.paste(body, (margin, margin))
    return paper
