"""A volume through its most important place: three planes that cross there, and what is largest behind each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.colormap import Colormap
from xplain.render.overlay import Map, Style, map_of, overlay
from xplain.render.shown import Shown
from xplain.render.slices import ground_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Volume", "at_scale", "described", "planes", "projected", "volume_of"]

_NAMES = ("z", "y", "x")
_CROSS = (255, 210, 0)
_LIKE = 0.999  # share of the largest magnitude from which a position counts as the largest too
_LONGEST = 8.0  # times that a position may be longer along one axis than along another, in a drawing


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One volume, ready to be drawn.

    Args:
        drawn: Its values ``[D, H, W]``, noise and sign.
        grey: What the item holds, uint8 ``[D, H, W]``, channels averaged; None where it was not kept.
        place: The most important position (z, y, x): the largest |value|; of several alike the most central one.
        spacing: Extent of a position along z, y and x; 1 where it is not stated.
        length: Unit of it; empty where it is not stated.
    """

    drawn: Map
    grey: Array | None
    place: tuple[int, int, int]
    spacing: tuple[float, float, float]
    length: str

    def at(self, axis: int) -> str:
        """The plane through the place: where it cuts an axis, in positions and in units of length."""
        k = self.place[axis]
        where = f" ({k * self.spacing[axis]:.4g} {self.length})" if self.length else ""
        return f"{_NAMES[axis]} = {k}{where}"


def volume_of(shown: Shown, item: int = 0, native_resolution: bool = False) -> Volume:
    """One item of volumes.

    Raises:
        UsageError: its values are no map.
        NonFinite: they hold NaN or infinity.
    """
    one = shown[item]
    drawn = map_of(one, 0, native_resolution)
    stated = one.coordinates.spacing
    spacing = (stated[0], stated[1], stated[2]) if len(stated) == 3 else (1.0, 1.0, 1.0)
    length = one.coordinates.length if len(stated) == 3 else ""
    return Volume(drawn, ground_of(one, drawn.values.shape), _place(drawn.values), spacing, length)


def _place(values: Array) -> tuple[int, int, int]:
    sizes = np.abs(values)
    alike = np.argwhere(sizes >= _LIKE * sizes.max())
    z, y, x = alike[np.abs(alike - alike.mean(axis=0)).sum(axis=1).argmin()].tolist()
    return z, y, x


def described(volume: Volume) -> list[str]:
    """What a reader must know of the planes."""
    told = [f"Planes cross at the most important place: {', '.join(volume.at(axis) for axis in range(3))}."]
    flat = [name for name, count in zip(_NAMES, volume.drawn.values.shape, strict=True) if count == 1]
    if flat:
        told = [f"There is one position along {' and '.join(flat)}, so other planes and projections show nothing more."]
    elif volume.length:
        spacing = " x ".join(f"{one:.3g}" for one in volume.spacing)
        told.append(f"Positions are {spacing} {volume.length}, and drawn so.")
    return told


def planes(volume: Volume, limit: float, colours: Colormap, style: Style, size: int) -> Image:
    """Three planes in a row, and below them the largest magnitude along each line of sight."""
    columns = []
    deep = volume.drawn.values.shape
    for axis in range(3):
        if any(deep[k] == 1 for k in range(3) if k != axis):
            continue  # a plane one position wide shows nothing
        cut = _plane(volume, axis)
        parts = [_named(volume.at(axis)), _painted(volume, cut, axis, limit, colours, style, size)]
        if deep[axis] > 1:
            through = projected(volume, axis)
            parts.append(_named(f"largest along {_NAMES[axis]}"))
            parts.append(_painted(volume, through, axis, limit, colours, style, size))
        columns.append(canvas.column(parts, gap=2))
    return canvas.row(columns or [canvas.words(["One line of positions has no planes."], 240)], gap=12)


def _named(text: str) -> Image:
    return canvas.words([text], canvas.text_width(text))


def _plane(volume: Volume, axis: int) -> Map:
    """The map of the plane through the place that is square to an axis."""
    k, drawn = volume.place[axis], volume.drawn

    def cut(array: Array | None) -> Array | None:
        return None if array is None else array.take(k, axis=axis)

    return Map(np.asarray(cut(drawn.values)), cut(drawn.noise), _coloured(cut(volume.grey)), drawn.signed)


def projected(volume: Volume, axis: int) -> Map:
    """The value of the largest magnitude along each line parallel to an axis, with its sign."""
    values = volume.drawn.values
    low, high = values.min(axis=axis), values.max(axis=axis)
    behind = None if volume.grey is None else volume.grey.max(axis=axis)
    return Map(np.where(-low > high, low, high), None, _coloured(behind), volume.drawn.signed)


def _coloured(grey: Array | None) -> Array | None:
    return None if grey is None else grey[..., None].repeat(3, axis=-1)


def _painted(volume: Volume, drawn: Map, axis: int, limit: float, colours: Colormap, style: Style, size: int) -> Image:
    """A plane at the scale of its positions, with a line where the other two planes cut it."""
    from PIL import ImageDraw

    rest = [k for k in range(3) if k != axis]
    wide = at_scale(drawn.values.shape, [volume.spacing[k] for k in rest], size)
    index = [np.arange(n) * have // n for n, have in zip(wide, drawn.values.shape, strict=True)]

    def big(array: Array | None) -> Array | None:
        return None if array is None else array[index[0]][:, index[1]]

    values = np.asarray(big(drawn.values))
    laid = Map(values, big(drawn.noise), big(drawn.picture), drawn.signed)
    body = canvas.image(overlay(laid, limit, colours, Style(style.alpha, 1, False, style.hatch)))
    pen = ImageDraw.Draw(body)
    y, x = ((volume.place[k] + 0.5) / n for k, n in zip(rest, drawn.values.shape, strict=True))
    for start, stop in ((0.0, 0.08), (0.92, 1.0)):  # at the edges, so that the place itself stays seen
        pen.line((x * wide[1], start * wide[0], x * wide[1], stop * wide[0]), _CROSS)
        pen.line((start * wide[1], y * wide[0], stop * wide[1], y * wide[0]), _CROSS)
    return body


def at_scale(shape: tuple[int, ...], spacing: list[float], size: int) -> tuple[int, int]:
    """Height and width in pixels, the longer one ``size``, of a plane whose positions have this spacing.

    A plane that would be thinner than an eighth of its length is widened to that, so that it can be seen.
    """
    extent = [n * one for n, one in zip(shape, spacing, strict=True)]
    longest = max(extent)
    wide = [max(one, longest / _LONGEST) / longest * size for one in extent]
    return max(1, round(wide[0])), max(1, round(wide[1]))
