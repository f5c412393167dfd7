"""Many bands: how much of the attribution each holds, as bars, and one small map per band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.render import canvas
from xplain.render.bars import bars
from xplain.render.colormap import Colormap, find
from xplain.render.overlay import Map, Style, overlay
from xplain.render.shown import Shown, axes_of, kind_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST", "Bands", "bands_of", "beside"]

MOST = 12
"""Bands that have a map of their own."""

_COLOURS = 4  # channels up to which items are pictures, whose channels nobody looks at one by one
_TILE, _ACROSS = 112, 4


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """What each band of one item speaks for, in the order of the item.

    Args:
        names: What they are called.
        values: ``[C, H, W]``.
        shares: Share of the magnitude of all bands that each holds, ``[C]``.
        sums: Sum of each band's values, ``[C]``.
    """

    names: tuple[str, ...]
    values: Array
    shares: Array
    sums: Array

    @property
    def order(self) -> Array:
        """Bands by what they hold, the most active first."""
        return np.argsort(-self.shares, kind="stable")


def bands_of(shown: Shown, item: int = 0) -> Bands | None:
    """The bands of one item; None where it has none with values of their own, or is a picture in colours.

    Bands are the channels of planes that a card names, and those of items with more than four.

    Raises:
        NonFinite: the values hold NaN or infinity.
    """
    one = shown[item]
    axes, values = axes_of(one), np.asarray(one.values[0], np.float64)
    if kind_of(one) != "picture" or "C" not in axes or values.ndim != 3 or len(axes) != 4:
        return None
    table = np.moveaxis(values, axes.index("C") - 1, 0)
    told = one.coordinates
    if len(table) <= _COLOURS and len(told.channels) != len(table):
        return None
    if not np.isfinite(table).all():
        raise NonFinite("Values that are not all finite are not drawn by band.")
    sizes = np.abs(table).sum(axis=(1, 2))
    total = float(sizes.sum()) or 1.0
    return Bands(tuple(told.names(len(table), "band")), table, sizes / total, table.sum(axis=(1, 2)))


def beside(found: Bands, picture: Array | None, limit: float, colours: Colormap) -> Image:
    """Shares as bars, and below them small maps on one scale, the most active bands first."""
    names = [(name, "") for name in found.names]
    parts = [
        canvas.words(["Share of the magnitude, by band"], 420),
        bars(found.shares, None, names, find(None, False), what="bands"),
    ]
    tiles = []
    for k in found.order[:MOST]:
        zoom = max(1, -(-_TILE // max(found.values.shape[1:])))
        drawn = Map(found.values[k], None, picture, colours.signed)
        tile = canvas.image(overlay(drawn, limit, colours, Style(0.8, zoom, False, False)))
        tile.thumbnail((_TILE, _TILE))
        head = canvas.words([canvas.fitted(found.names[k], _TILE), f"{found.shares[k]:.0%}"], _TILE)
        tiles.append(canvas.column([head, tile], gap=0))
    rows = [canvas.row(tiles[k : k + _ACROSS], gap=8) for k in range(0, len(tiles), _ACROSS)]
    parts += rows
    if len(found.names) > MOST:
        rest = float(found.shares[found.order[MOST:]].sum())
        parts.append(
            canvas.words([f"{len(found.names) - MOST} more bands, {rest:.0%} of the magnitude, have no map here."], 420)
        )
    return canvas.column(parts)
