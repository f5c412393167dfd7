"""What a figure shows of one item, by its kind: a map, bars, lines over time, frequencies, planes and slices, bands.

Each function gives the drawing and the sentences that a reader needs for it; heading and warnings are the figure's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xplain.render import canvas
from xplain.render.band_maps import bands_of
from xplain.render.band_maps import beside as band_panel
from xplain.render.bars import bars, names_of
from xplain.render.colormap import Colormap
from xplain.render.geometry import Box
from xplain.render.legends import legend, scale_bar
from xplain.render.overlay import Map, Style, border, limit_of, map_of, overlay
from xplain.render.planes import described, planes, volume_of
from xplain.render.series import legend as legend_of_series
from xplain.render.series import series
from xplain.render.shown import Shown, kind_of
from xplain.render.slices import sheet, slice_size, told, word_of
from xplain.render.spectra import heard, spectrogram, spectrum_of, under_wave
from xplain.render.tracks import tracks_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Look", "body_of", "map_like", "panel_of", "photo", "scale_of", "zoom_of"]

_BOX_COLOURS = (("yellow", (255, 210, 0)), ("green", (0, 200, 90)), ("pink", (230, 90, 220)))
_BAR = 170  # pixels of a colour bar beside what is taller than it need be
_OVER_TIME = 1.5  # width of what has time across, in sizes


@dataclass(frozen=True, slots=True)
class Look:
    """How an item is drawn; see ``xplain.render.figure.draw`` for the fields."""

    colours: Colormap
    limit: float | None = None
    native_resolution: bool = False
    alpha: float = 0.8
    line: bool = True
    hatch: bool = True
    beside: bool = False
    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    size: int = 360

    def style(self, zoom: int, line: bool = True) -> Style:
        """The same for a map at this zoom."""
        return Style(self.alpha, zoom, self.line and line, self.hatch)


def body_of(one: Shown, look: Look) -> tuple[Image, list[str]]:
    """The drawing of a result of one item, and what must be known to read it.

    Raises:
        UsageError: values that cannot be drawn.
        NonFinite: the values hold NaN or infinity.
    """
    kind = kind_of(one)
    if kind == "series":
        return _over_time(one, look)
    if kind == "spectrogram":
        return _over_frequencies(one, look)
    if one.values.ndim == 2:
        return _bars(one, look)
    return _volume(one, look) if map_of(one, 0).values.ndim == 3 else _picture(one, look)


def scale_of(one: Shown, native_resolution: bool = False) -> float | None:
    """The value at which colours saturate where no limit is given; None for bars, whose length says it."""
    if kind_of(one) in ("series", "spectrogram"):
        return limit_of(map_like(one).values)
    return None if one.values.ndim == 2 else limit_of(map_of(one, 0, native_resolution).values)


def map_like(one: Shown, native_resolution: bool = False) -> Map:
    """What is drawn of a result of one item as a map: ``[C, T]`` of a series, ``[F, T]`` of a spectrogram."""
    kind = kind_of(one)
    if kind == "series":
        return Map(tracks_of(one).values, None, None, one.signed)
    if kind == "spectrogram":
        drawn = spectrum_of(one)
        return Map(drawn.values, drawn.noise, None, one.signed)
    return map_of(one, 0, native_resolution)


def panel_of(one: Shown, drawn: Map, look: Look, limit: float) -> Image:
    """The drawing alone, for a figure of many."""
    kind = kind_of(one)
    if kind == "series":
        return series(tracks_of(one), look.colours, limit, 2 * look.size)
    if kind == "spectrogram":
        return spectrogram(spectrum_of(one), look.colours, limit, look.style(1), look.size)
    style = look.style(zoom_of(drawn, look.size))
    if drawn.values.ndim == 3:
        return sheet(one, drawn, limit, look.colours, style)
    return canvas.image(overlay(drawn, limit, look.colours, style))


def zoom_of(drawn: Map, size: int) -> int:
    """Pixels per position, so that the longer side is ``size`` pixels at least."""
    height, width = drawn.values.shape[-2:]
    size = slice_size(drawn.values, size) if drawn.values.ndim == 3 else size
    return max(1, -(-size // max(int(height), int(width))))


def photo(drawn: Map, zoom: int) -> Image:
    """The picture in its own colours, pixel by pixel as large as the map."""
    return canvas.image(np.asarray(drawn.picture).repeat(zoom, axis=0).repeat(zoom, axis=1))


def _over_time(one: Shown, look: Look) -> tuple[Image, list[str]]:
    tracks = tracks_of(one)
    limit = look.limit or limit_of(tracks.values) or 1.0
    width = round(look.size * _OVER_TIME)
    body = series(tracks, look.colours, limit, width)
    said = legend_of_series(tracks, one.unit)
    wave, rate = tracks.tracks[0].signal, one.coordinates.rate
    if one.coordinates.kind == "waveform" and wave is not None and rate and len(wave) > 1:
        values = tracks.tracks[0].values
        sound = heard(wave, values, rate, one.signed)
        below = under_wave(sound, values, rate, look.colours, limit, width)
        body = canvas.column([body, _ended(below, body.width)], gap=4)
        said.append("Below: its spectrogram, computed for this drawing and tinted by what each moment speaks for.")
    bar = scale_bar(look.colours, limit, one.unit, min(body.height, max(_BAR, 120)))
    return canvas.row([body, bar]), said


def _over_frequencies(one: Shown, look: Look) -> tuple[Image, list[str]]:
    drawn = spectrum_of(one)
    limit = limit_of(drawn.values) if look.limit is None else look.limit
    style = look.style(1)
    body = spectrogram(drawn, look.colours, limit, style, round(look.size * _OVER_TIME))
    bar = scale_bar(look.colours, limit, one.unit, min(body.height, 240))
    flat = Map(drawn.values, drawn.noise, None, drawn.signed)
    said = legend([flat], limit, style, look.limit is None)
    if drawn.grey is not None:
        said.insert(
            0, f"Grey: what the item holds{f', in {drawn.unit}' if drawn.unit else ''}, light where it is loud."
        )
    if drawn.shared:
        said.append("All frequencies of a moment were hidden together, so they share one value.")
    return canvas.row([body, bar]), said


def _bars(one: Shown, look: Look) -> tuple[Image, list[str]]:
    names = names_of(one)
    count = len(names)  # the values beyond a text's own words belong to longer texts
    errors = None if one.error is None else one.error[0, :count]
    what = "words" if one.texts else "columns"
    return bars(one.values[0, :count], errors, names, look.colours, look.limit, what), [f"Bars: {one.unit}."]


def _volume(one: Shown, look: Look) -> tuple[Image, list[str]]:
    drawn = map_of(one, 0, look.native_resolution)
    limit = limit_of(drawn.values) if look.limit is None else look.limit
    style, word = look.style(zoom_of(drawn, look.size), line=False), word_of(one)
    said = [told(drawn, word), *legend([drawn], limit, style, look.limit is None)]
    slices = sheet(one, drawn, limit, look.colours, style)
    if word == "frame":
        return canvas.row([slices, scale_bar(look.colours, limit, one.unit, _BAR)]), said
    volume = volume_of(one, 0, look.native_resolution)
    crossing = planes(volume, limit, look.colours, style, max(120, look.size // 2))
    top = canvas.row([crossing, scale_bar(look.colours, limit, one.unit, _BAR)])
    return canvas.column([top, slices], gap=14), [*described(volume), *said]


def _picture(one: Shown, look: Look) -> tuple[Image, list[str]]:
    drawn = map_of(one, 0, look.native_resolution)
    limit = limit_of(drawn.values) if look.limit is None else look.limit
    style = look.style(zoom_of(drawn, look.size))
    laid = overlay(drawn, limit, look.colours, style)
    named = list(zip(look.boxes.items(), _BOX_COLOURS, strict=False))
    for (_, some), (_, colour) in named:
        border(laid, some, colour, style.zoom)
    parts = [canvas.image(laid)]
    parts.append(scale_bar(look.colours, limit, one.unit, parts[0].height))
    if look.beside and drawn.picture is not None:
        parts.insert(0, photo(drawn, style.zoom))
    said = legend([drawn], limit, style, look.limit is None)
    if named:
        said.append(f"Boxes: {', '.join(f'{colour} {name}' for (name, _), (colour, _) in named)}.")
    if one.resolution is not None:
        shown = "shown as such" if look.native_resolution else "enlarged"
        said.append(f"True resolution: {' x '.join(map(str, one.resolution))} cells, {shown}.")
    bands = bands_of(one)
    if bands is None:
        return canvas.row(parts), [*said, *_colours_of(one)]
    own = limit_of(bands.values) if look.limit is None else look.limit
    panel = band_panel(bands, drawn.picture, own, look.colours)
    said.append(f"Maps of bands: one scale, up to {own:.3g}; the large map is their sum.")
    return canvas.column([canvas.row(parts), panel], gap=12), [*said, *_colours_of(one)]


def _colours_of(one: Shown) -> list[str]:
    """Which bands are shown as colours."""
    rgb = one.coordinates.rgb
    return [f"Shown as red, green and blue: {', '.join(rgb)}."] if rgb and one.pictures is not None else []


def _ended(image: Image, width: int) -> Image:
    """The image at the right end of paper of that width."""
    from PIL import Image

    paper = Image.new("RGB", (max(width, image.width), image.height), canvas.PAPER)
    paper.paste(image, (paper.width - image.width, 0))
    return paper
