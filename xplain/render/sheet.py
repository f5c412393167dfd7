"""A sheet: the cells of a gallery on a grid, or a row for each unit, with their words.

Nothing is scaled before it comes here. Maps are drawn on a scale of their own, or on one for all (``contrast``), and
the sheet says which; grey, or white, is exactly zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.cells import Contrast
from xplain.render import canvas
from xplain.render.tiles import framed, limits_of, tile_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownCells", "legend", "sheet", "unit_name"]

_MARGIN, _GAP = 12, 8
_HEAD = 170  # pixels of the column that names a row's unit
_WIDEST = 1180
_NUMBERED = re.compile(r"\[(\d+)\]$")
_LOOKS = {
    "grey": "grey is zero, white positive, black negative",
    "colour": "grey is zero, a colour is more of it, its complement less",
    "signed": "white is zero, red positive, blue negative",
    "line": "the line is drawn from its smallest value to its largest",
}
_SCALES = {
    "cell": "each tile on its own scale",
    "unit": "the tiles of a unit on one scale",
    "shared": "all tiles on one scale",
}


class ShownCells(Protocol):
    """Cells to be shown; ``xplain.results.Gallery`` is one, and says what each field means."""

    @property
    def title(self) -> str:
        """What stands above them."""

    @property
    def unit(self) -> str:
        """What one unit of ``values`` means."""

    @property
    def units(self) -> tuple[str, ...]:
        """What each cell shows."""

    @property
    def values(self) -> Array:
        """How strongly, ``[N]``."""

    @property
    def captions(self) -> tuple[str, ...]:
        """What stands below each."""

    @property
    def sections(self) -> tuple[str, ...]:
        """The heading above each."""

    @property
    def boxes(self) -> Array:
        """``[N, 4]``, on the pictures."""

    @property
    def map_names(self) -> tuple[str, ...]:
        """What the maps of a cell are called."""

    @property
    def form(self) -> str:
        """``grid`` or ``rows``."""

    @property
    def look(self) -> str:
        """How maps are drawn."""

    @property
    def overlaid(self) -> bool:
        """Whether maps are laid over the pictures."""

    @property
    def contrast(self) -> Contrast:
        """The scale that it is meant to be drawn on."""

    @property
    def boxed(self) -> bool:
        """Whether boxes are drawn."""

    @property
    def about(self) -> Mapping[str, str]:
        """What stands beside a unit."""

    @property
    def warnings(self) -> Sequence[Caveat]:
        """What must be known before they are believed."""

    @property
    def method(self) -> str:
        """Name of the lens."""

    def picture(self, cell: int, /) -> Array | None:
        """The photograph of a cell."""

    def map(self, cell: int, name: str = "", /) -> Array | None:
        """Raw numbers of a cell."""

    def __len__(self) -> int: ...


@renderer("sheet", draws="gallery")
def sheet(
    gallery: ShownCells,
    *,
    tile: int | None = None,
    columns: int | None = None,
    contrast: Contrast | None = None,
    most: int = 1024,
) -> Image:
    """Draw all cells of a gallery.

    Args:
        gallery: What to draw.
        tile: Pixels of a tile's longer side; small maps are enlarged by a whole number. None chooses.
        columns: Tiles side by side; None takes as many as fit a slide.
        contrast: Whether the largest magnitude that is drawn is each ``cell``'s own, its ``unit``'s, or ``shared``;
            None for what the gallery is meant to be drawn with.
        most: Cells that are drawn, of several sections as many of each; the sheet says how many are not.

    Raises:
        UsageError: an argument that cannot be used, or a gallery without cells.
    """
    contrast = contrast or gallery.contrast
    if contrast not in _SCALES:
        raise UsageError(f"The contrast of a sheet is {contrast!r}; accepted: {', '.join(_SCALES)}.")
    if not len(gallery):
        raise UsageError(f"There is nothing to draw: {gallery.title} has no cells.")
    for name, value in (("tile", tile), ("columns", columns), ("most", most)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"A sheet's {name} is {value!r}; accepted: a whole number of at least 1.")
    size = tile or _size(gallery)
    limits = limits_of(gallery, contrast)
    shown = 0
    parts = [canvas.heading(gallery.title, _WIDEST)]
    for section, some in _parts(gallery, most):
        shown += len(some)
        if section:
            parts.append(canvas.words([section], _WIDEST))
        draw = _rows if gallery.form == "rows" else _grid
        parts.append(draw(gallery, some, size, columns, limits))
    parts.append(canvas.words(legend(gallery, contrast, shown), _WIDEST, canvas.PALE))
    told = sentences(gallery.warnings, [""] * len(gallery), brief=True)
    if told:
        parts.append(canvas.words(told, _WIDEST, canvas.ALERT))
    return framed(canvas.column(parts, _GAP), _MARGIN)


def _parts(gallery: ShownCells, most: int) -> list[tuple[str, list[int]]]:
    """The sections and their cells; of more than are drawn the first ones of each section."""
    found = groupby(range(len(gallery)), lambda n: gallery.sections[n] if gallery.sections else "")
    parts = [(section, list(members)) for section, members in found]
    if len(gallery) <= most:
        return parts
    each = max(1, most // len(parts))
    return [(section, some[:each]) for section, some in parts[:most]]


def _size(gallery: ShownCells) -> int:
    """Pixels of a tile: small enough that many fit, large enough to be seen."""
    if gallery.form == "rows":
        return 96 if gallery.picture(0) is not None else 40
    size = 224 if len(gallery) <= 4 else 112 if gallery.picture(0) is not None or len(gallery) <= 24 else 72
    first = gallery.map(0) if gallery.map_names and gallery.picture(0) is None and gallery.look != "line" else None
    if first is None or min(first.shape[:2]) < 2:
        return size
    long, short = int(max(first.shape[:2])), int(min(first.shape[:2]))
    return min(size * max(1, long // (2 * short)), 4 * size, _WIDEST // 3)  # slices side by side are wide


def _grid(gallery: ShownCells, some: Sequence[int], size: int, columns: int | None, limits: Array) -> Image:
    """Cells one after another; what stands below a tile is cut to its width."""
    tiles = [_cell(gallery, n, size, limits[n], stacked=False) for n in some]
    width = max(one.width for one in tiles)
    wide = columns or max(1, min(len(tiles), (_WIDEST + _GAP) // (width + _GAP)))
    lines = []
    for first in range(0, len(tiles), wide):
        lines.append(canvas.row([canvas.widened(one, width) for one in tiles[first : first + wide]], _GAP))
    return canvas.column(lines, _GAP)


def _rows(gallery: ShownCells, some: Sequence[int], size: int, columns: int | None, limits: Array) -> Image:
    """A row per unit: what it is at the left, its cells beside it; more than fit go below."""
    lines = []
    for unit, members in groupby(some, lambda n: gallery.units[n]):
        tiles = [_cell(gallery, n, size, limits[n], stacked=not gallery.overlaid) for n in members]
        text = [unit_name(gallery, unit), *(line for line in gallery.about.get(unit, "").split("\n") if line)]
        width = max(one.width for one in tiles)
        wide = columns or max(1, (_WIDEST - _HEAD) // (width + _GAP))
        below = []
        for first in range(0, len(tiles), wide):
            below.append(canvas.row([canvas.widened(one, width) for one in tiles[first : first + wide]], _GAP))
        lines.append(canvas.row([canvas.words(text, _HEAD), canvas.column(below, 2)], _GAP))
    return canvas.column(lines, _GAP)


def _cell(gallery: ShownCells, n: int, size: int, limit: Array, stacked: bool) -> Image:
    """One cell: its photograph, its maps below it or laid over it, and its caption."""
    picture = gallery.picture(n)
    box = gallery.boxes[n] if gallery.boxed else None
    maps = [(gallery.map(n, name), limit[k]) for k, name in enumerate(gallery.map_names)]
    drawn = [(one, top) for one, top in maps if one is not None]
    if not drawn:
        parts = [tile_of(picture, None, 0.0, gallery.look, size, box)]
    elif picture is None or not stacked:
        parts = [tile_of(picture, one, top, gallery.look, size, box) for one, top in drawn]
    else:
        parts = [tile_of(picture, None, 0.0, gallery.look, size, box)]
        parts += [tile_of(None, one, top, gallery.look, size) for one, top in drawn]
    caption = gallery.captions[n] if gallery.captions else ""
    if caption:
        width = max(*(one.width for one in parts), min(size, 64))
        lines = caption.split("\n")
        if gallery.form == "grid" and len(lines) > 1:  # a name and figures, which tell nothing where they are cut
            width = max(width, min(2 * size, max(canvas.text_width(line) for line in lines)))
        parts += [canvas.words([line], width, canvas.PALE) for line in lines]  # whole: a name's end says most
    return canvas.column(parts, 2)


def _look(gallery: ShownCells) -> str:
    """What the colours of the maps mean."""
    if gallery.look != "heat":
        return _LOOKS[gallery.look]
    over = gallery.picture(0) is not None and (gallery.form == "grid" or gallery.overlaid)
    zero, large = ("laid over the photograph, grey is zero", "coloured") if over else ("white is zero", "dark")
    maps = (gallery.map(n, name) for n in range(len(gallery)) for name in gallery.map_names)
    below = any(one is not None and bool((one < 0).any()) for one in maps)
    return f"{zero}, {large} is large" + ("; where there are values below zero, blue is these and red is above" * below)


def unit_name(gallery: ShownCells, unit: str) -> str:
    """What a row's unit is called: its number, where a heading has named the layer."""
    numbered = _NUMBERED.search(unit) if gallery.sections and any(gallery.sections) else None
    return f"unit {numbered[1]}" if numbered else unit


def legend(gallery: ShownCells, contrast: Contrast, shown: int) -> list[str]:
    """What maps, their colours and the numbers mean, and how many of the cells are drawn."""
    lines = []
    if gallery.map_names:
        told = " and ".join(gallery.map_names)
        photographs = gallery.form == "rows" and gallery.picture(0) is not None and not gallery.overlaid
        where = f"Below each photograph, downwards: {told}. Maps" if photographs else f"Shown: {told}"
        scale = _SCALES["cell" if contrast == "unit" and gallery.form == "grid" else contrast]
        lines.append(f"{where}: {_look(gallery)}; {scale}.")
    if np.isfinite(gallery.values).any():
        lines.append(f"Numbers below tiles: {gallery.unit}.")
    if shown < len(gallery):
        lines.append(f"{shown} of {counted(len(gallery), 'cell')} are drawn; most={len(gallery)} draws all.")
    return lines
