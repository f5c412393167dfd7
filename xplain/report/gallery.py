"""One self-contained HTML page for a gallery: a part per layer that opens when it is clicked, a tile per cell."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.render.notebook import data_url
from xplain.render.sheet import legend, unit_name
from xplain.render.tiles import limits_of, tile_of
from xplain.report.template import facts_of, framed, plain_fact
from xplain.results.gallery import Gallery

__all__ = ["gallery_page"]

_TILE, _SMALL, _STRIP = 104, 64, 12
_MANY = 64
"""Cells of a section from which on its tiles are small."""
_VERY_MANY = 512
"""Cells of a page from which on maps are not drawn to the last bit."""


@dataclass(frozen=True, slots=True)
class _Cell:
    images: Sequence[Markup]
    caption: Sequence[str]
    title: str


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    about: Sequence[str]
    cells: Sequence[_Cell]


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    count: str
    strip: Sequence[Markup]
    units: Sequence[_Unit]
    open: bool


def gallery_page(gallery: Gallery, command: str = "") -> str:
    """The page as text.

    Args:
        gallery: What to show.
        command: The command line that made it; printed under "To repeat this".
    """
    limits = limits_of(gallery, gallery.contrast)
    parts = groupby(range(len(gallery)), lambda n: gallery.sections[n] if gallery.sections else "")
    found = [(name, list(members)) for name, members in parts]
    short = {name: fact for name, fact in gallery.facts.items() if isinstance(fact, (str, int, float))}
    return framed(
        "gallery.html",
        gallery,
        "gallery",
        title=gallery.title,
        rows=gallery.form == "rows",
        lead=f"{gallery.provenance.source or 'a model'}, through the lens {gallery.method}.",
        legend=legend(gallery, gallery.contrast, len(gallery)),
        sections=[_section(gallery, name, some, limits, len(found) == 1) for name, some in found],
        command=command,
        facts=[*facts_of(gallery), *((name, plain_fact(fact)) for name, fact in short.items())],
    )


def _section(gallery: Gallery, name: str, some: Sequence[int], limits: Array, alone: bool) -> _Section:
    size = _SMALL if len(some) > _MANY and gallery.form == "grid" else _TILE
    units = []
    for unit, members in groupby(some, lambda n: gallery.units[n]):
        about = [line for line in gallery.about.get(unit, "").split("\n") if line]
        units.append(_Unit(unit_name(gallery, unit), about, [_cell(gallery, n, limits[n], size) for n in members]))
    count = counted(len(some), "cell")
    strip = [] if alone else [_images(gallery, n, limits[n], 36)[0] for n in some[:_STRIP]]
    return _Section(name or gallery.title, count, strip, units, alone)


def _cell(gallery: Gallery, n: int, limit: Array, size: int) -> _Cell:
    caption = gallery.captions[n].split("\n") if gallery.captions and gallery.captions[n] else []
    y0, x0, y1, x1 = (int(edge) for edge in gallery.boxes[n])
    place = f", y {y0} to {y1}, x {x0} to {x1}" if y1 > y0 else ""
    title = f"{gallery.units[n]}{': ' if gallery.names[n] else ''}{gallery.names[n]}{place}"
    return _Cell(_images(gallery, n, limit, size), caption, title)


def _images(gallery: Gallery, n: int, limit: Array, size: int) -> list[Markup]:
    picture = gallery.picture(n)
    box = gallery.boxes[n] if gallery.boxed else None
    maps = [(gallery.map(n, name), limit[k]) for k, name in enumerate(gallery.map_names)]
    drawn = [(one, top) for one, top in maps if one is not None]
    small, photograph = len(gallery) > _VERY_MANY, picture is not None
    if not drawn:
        return [_url(tile_of(picture, None, 0.0, gallery.look, size, box), photograph, small)]
    if not photograph or gallery.form == "grid" or gallery.overlaid:
        return [_url(tile_of(picture, one, top, gallery.look, size, box), photograph, small) for one, top in drawn]
    below = [_url(tile_of(None, one, top, gallery.look, size), False, small) for one, top in drawn]
    return [_url(tile_of(picture, None, 0.0, gallery.look, size, box), True, small), *below]


def _url(tile: Any, photograph: bool, small: bool) -> Markup:
    """An image as a ``data:`` address, letters of base64 alone, longer than text from outside may be.

    A photograph is JPEG, and a map of very many WEBP, which take a tenth of the bytes.
    """
    if not photograph:
        return Markup(data_url(tile, "WEBP" if small else "PNG"))
    buffer = io.BytesIO()
    tile.save(buffer, "JPEG", quality=85)
    return Markup("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode())
