"""The smallest drawings: an item as it is, and what a method says of it, without any word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xplain.render import canvas
from xplain.render.colormap import find
from xplain.render.overlay import Map, Style, limit_of, map_of, overlay
from xplain.render.planes import at_scale, projected, volume_of
from xplain.render.series import columns_of, lines
from xplain.render.shown import Shown, kind_of
from xplain.render.slices import ground_of
from xplain.render.spectra import spectrum_of
from xplain.render.tracks import tracks_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["item_small", "map_small"]

_FEW = 4  # channels of a series
_GAP = 2


def item_small(one: Shown, size: int) -> Image | None:
    """The item of a result of one, at most ``size`` pixels wide and high: its picture, most active line, or middle.

    None for what was not kept, and for what has no shape: rows and texts.
    """
    if one.pictures is not None and np.ndim(one.pictures[0]) == 3:
        return _within(canvas.image(np.asarray(one.pictures[0])), size)
    kind = kind_of(one)
    if kind == "series":
        track = tracks_of(one, most=1).tracks[0]
        if track.signal is None:
            return None
        quiet = np.zeros(len(track.values))
        return canvas.image(lines(track.signal, quiet, find(None, True), 1.0, size, size // 2))
    if kind == "volume":
        ground = ground_of(one, map_of(one, 0).values.shape)
        return (
            None
            if ground is None
            else _within(canvas.image(ground[len(ground) // 2][..., None].repeat(3, axis=2)), size)
        )
    return None


def map_small(one: Shown, size: int) -> Image | None:
    """What a method says of the item of a result of one; None for rows and texts, which are words.

    A series is its most active channels, a volume the largest magnitude along z (of a video: over time).
    """
    kind = kind_of(one)
    if kind in ("row", "text"):
        return None
    if kind == "series":
        return _lines(one, size)
    if kind == "spectrogram":
        drawn = spectrum_of(one)
        values = drawn.values[::-1]
        picture = None if drawn.grey is None else np.rint(drawn.grey[::-1] * 255.0).astype(np.uint8)[..., None]
        seen = None if picture is None else picture.repeat(3, axis=2)
        laid = overlay(Map(values, None, seen, one.signed), limit_of(values), find(None, one.signed), Style(line=False))
        return canvas.image(laid).resize((size, max(1, size * 2 // 3)))
    drawn_map = map_of(one, 0)
    if drawn_map.values.ndim == 3:
        volume = volume_of(one)
        drawn_map = projected(volume, 0)
        wide = at_scale(drawn_map.values.shape, list(volume.spacing[1:]), size)
        laid = overlay(drawn_map, limit_of(drawn_map.values), find(None, one.signed), Style(line=False))
        return canvas.image(laid).resize((wide[1], wide[0]), 0)
    zoom = max(1, -(-size // max(drawn_map.values.shape)))
    laid = overlay(drawn_map, limit_of(drawn_map.values), find(None, drawn_map.signed), Style(zoom=zoom))
    return _within(canvas.image(laid), size)


def _lines(one: Shown, size: int) -> Image:
    tracks = tracks_of(one, most=_FEW)
    limit, colours = limit_of(tracks.values) or 1.0, find(None, one.signed)
    height = max(12, (size * 2 // 3) // len(tracks.tracks))
    rows = []
    for track in tracks.tracks:
        if track.signal is not None:
            rows.append(canvas.image(lines(track.signal, track.values, colours, limit, size, height)))
        else:
            strip = colours.paint(columns_of(track.values, size), limit)
            rows.append(canvas.image(np.repeat(strip[None], height, axis=0)))
    return canvas.column(rows, gap=_GAP)


def _within(picture: Image, size: int) -> Image:
    picture.thumbnail((size, size))
    return picture
