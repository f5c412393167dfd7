"""A series over time: a row per channel, its line coloured by what each moment speaks for, and the values below it.

What was hidden together is marked under the line; where the method samples, the values carry their 95 % interval as a
band. Time runs to the right: moment k of T fills the pixels from ``k / T`` to ``(k + 1) / T`` of the plot's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.axis import across, down, number
from xplain.render.colormap import Colormap
from xplain.render.tracks import Track, Tracks, seconds

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["columns_of", "legend", "lines", "series", "shades"]

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_LINE, _VALUES, _SHARED, _MARKS, _GAP = 74, 50, 92, 5, 8  # heights in pixels
_EDGE = 5  # pixels between a line and its panel's edges
_NAME = 120  # pixels of a channel's name, at most
_GROUND = 0.30  # opacity of the colours behind a line
_THIN, _THICK = 2, 4
_QUIET = np.array([150.0, 150.0, 150.0])  # a line where nothing is said of it
_BAND = 0.45  # opacity of an interval
_NOTHING = 1e-3  # share of a full bar below which a value has none


def series(tracks: Tracks, colours: Colormap, limit: float, width: int) -> Image:
    """One item over time.

    Args:
        tracks: What is drawn.
        colours: For the values.
        limit: Value of the last colour.
        width: Pixels of the plot, without names and labels.
    """
    panels = [_row(one, tracks, colours, limit, width) for one in tracks.tracks]
    if tracks.shared:
        first = tracks.tracks[0]
        plot = _values(first, colours, _full(tracks), width, _SHARED)
        panels.append((["all channels", "together"], plot, _scale(_full(tracks), colours.signed, _SHARED)))
    if tracks.step is None:
        foot = across(width, 0, tracks.moments, "moment")
    else:
        foot = across(width, 0.0, tracks.moments * tracks.step, "s")
    name = min(_NAME, max(1, *(canvas.text_width(canvas.plain(line)) for heads, _, _ in panels for line in heads)))
    side = max(scale.width for _, _, scale in panels)
    rows = []
    for heads, plot, scale in panels:
        told = canvas.words([canvas.fitted(line, name) for line in heads], name)
        rows.append(canvas.row([told, _right(scale, side), canvas.image(plot)], gap=4))
    rows.append(canvas.row([_blank(name, 1), _blank(side, 1), foot], gap=4))
    return canvas.column(rows, gap=_GAP)


def legend(tracks: Tracks, unit: str) -> list[str]:
    """What a person must know to read it."""
    told = []
    if any(one.signal is not None for one in tracks.tracks):
        told.append("Lines: what the item holds, coloured by what each moment speaks for.")
    told.append(f"Bars below: {unit}{', one for all channels' if tracks.shared else ''}.")
    if any(one.error is not None for one in tracks.tracks):
        told.append("Grey band: the 95 % interval.")
    if tracks.window is not None:
        size, step = tracks.window
        length = _length(size, tracks.step)
        told.append(
            f"Hidden: windows of {length}, one every {_length(step, tracks.step)}; the black bar is one window."
        )
    elif any(one.cells for one in tracks.tracks):
        told.append("Black bars: stretches that were hidden together.")
    if tracks.others:
        told.append(_others(tracks))
    return told


def _others(tracks: Tracks) -> str:
    count = len(tracks.tracks) + tracks.others
    if tracks.shared:
        return f"Drawn: the {len(tracks.tracks)} of {count} channels that move most; {tracks.others} are not shown."
    return (
        f"Drawn: the {len(tracks.tracks)} most active of {count} channels; {tracks.others} are not shown, which hold "
        f"{tracks.rest:.0%} of the magnitude."
    )


def _length(moments: int, step: float | None) -> str:
    if step is None:
        return "1 moment" if moments == 1 else f"{moments} moments"
    return f"{seconds(moments * step, step)} s"


def _row(one: Track, tracks: Tracks, colours: Colormap, limit: float, width: int) -> tuple[list[str], Array, Image]:
    """One channel: its name, its panels, and the labels of their scales."""
    heads = [one.name] if one.share is None or len(tracks.tracks) == 1 else [one.name, f"{one.share:.0%}"]
    heads = [""] if tracks.alone else heads
    parts: list[Array] = []
    scales: list[Image] = []
    if one.signal is not None:
        parts.append(lines(one.signal, one.values, colours, limit, width))
        low, high = float(np.min(one.signal)), float(np.max(one.signal))
        inner = _EDGE / _LINE
        marks = (
            [(inner, number(_short(high))), (1 - inner, number(_short(low)))] if high > low else [(0.5, number(low))]
        )
        scales.append(down(_LINE, marks, tracks.unit))
    parts.append(_marks(one, tracks, width))
    scales.append(_blank(1, _MARKS))
    if not tracks.shared:
        full = _full(tracks)
        parts.append(_values(one, colours, full, width, _VALUES))
        scales.append(_scale(full, colours.signed, _VALUES))
    side = max(scale.width for scale in scales)
    return heads, np.concatenate(parts), canvas.column([_right(scale, side) for scale in scales], gap=0)


def lines(signal: Array, values: Array, colours: Colormap, limit: float, width: int, height: int = _LINE) -> Array:
    """A line over a ground of its colours, uint8 ``[height, width, 3]``; several moments in a pixel as their range."""
    from PIL import Image, ImageDraw

    ground = (1 - _GROUND) * 255.0 + _GROUND * colours.paint(columns_of(values, width), limit).astype(np.float64)
    paper = Image.fromarray(np.repeat(np.rint(ground).astype(np.uint8)[None], height, axis=0))
    pen = ImageDraw.Draw(paper)
    low, high = float(np.min(signal)), float(np.max(signal))
    level = (np.asarray(signal, np.float64) - low) / (high - low) if high > low else np.full(len(signal), 0.5)
    down_to = height - 1 - _EDGE - level * (height - 1 - 2 * _EDGE)
    count = len(values)
    ink, thick = shades(values, colours, limit)
    if count > width:
        edges = np.arange(width) * count // width
        tops, bottoms = np.minimum.reduceat(down_to, edges), np.maximum.reduceat(down_to, edges)
        ink, thick = shades(columns_of(values, width), colours, limit)
        # each range reaches to the one before it, so that a steep line has no gaps
        before = np.concatenate([down_to[:1], down_to[edges[1:] - 1]])
        for x in range(width):
            top, bottom = min(tops[x], before[x]), max(bottoms[x], before[x])
            pen.line((x, round(top), x, round(bottom) + int(thick[x]) - 1), tuple(ink[x].tolist()))
        return np.asarray(paper)
    middle = (np.arange(count) + 0.5) * width / count
    between_x, between_y = (middle[:-1] + middle[1:]) / 2, (down_to[:-1] + down_to[1:]) / 2
    for k in range(count):
        path = [(between_x[k - 1], between_y[k - 1])] if k else []
        path.append((middle[k], down_to[k]))
        path += [(between_x[k], between_y[k])] if k < count - 1 else []
        if len(path) == 1:
            path = [(0.0, down_to[k]), (width - 1.0, down_to[k])]
        pen.line(path, tuple(ink[k].tolist()), int(thick[k]), joint="curve")
    return np.asarray(paper)


def shades(values: Array, colours: Colormap, limit: float) -> tuple[Array, Array]:
    """The colour of a line at each value, uint8 ``[T, 3]``, and its thickness: grey and thin where nothing is said."""
    strength = np.clip(np.abs(values) / limit, 0, 1) if limit > 0 else np.zeros(np.shape(values))
    weight = strength[:, None] ** 0.7  # so that what is weak can be told from nothing
    # the colour map's weak end is almost white, and a line of it would be lost on paper
    painted = colours.paint(np.sign(values) * np.maximum(strength, 0.45), 1.0).astype(np.float64)
    mixed = (1 - weight) * _QUIET + weight * painted
    thick = np.where(strength > 0.5, _THICK, np.where(strength > 0.1, 3, _THIN))
    return np.rint(mixed).astype(np.uint8), thick


def columns_of(values: Array, width: int) -> Array:
    """The value of each pixel column: its moment's; of several moments the one of the largest magnitude."""
    count = len(values)
    if count <= width:
        return np.asarray(values)[np.arange(width) * count // width]
    edges = np.arange(width) * count // width
    low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    return np.where(-low > high, low, high)


def _values(one: Track, colours: Colormap, full: float, width: int, height: int) -> Array:
    """Values as bars from the zero line, with their 95 % interval as a band; uint8 ``[height, width, 3]``."""
    panel = np.full((height, width, 3), 255.0)
    zero = (height - 1) // 2 if colours.signed else height - 1
    reach = zero
    value = columns_of(one.values, width)
    rows = np.arange(height)[:, None]
    tip = zero - np.clip(value / full, -1, 1) * reach
    tip = np.rint(tip)
    # a value has one row of pixels at least, but for what rounding leaves of a zero
    some = np.abs(value) > _NOTHING * full
    bar = (rows >= np.minimum(tip, zero)) & (rows <= np.maximum(tip, zero)) & some
    panel[bar] = np.broadcast_to(colours.paint(0.75 * np.sign(value), 1.0).astype(np.float64), panel.shape)[bar]
    if one.error is not None:
        spread = _TWO_SIDED * columns_of(one.error, width)
        ends = [zero - np.clip((value + sign * spread) / full, -1, 1) * reach for sign in (1, -1)]
        inside = (rows >= np.rint(ends[0])) & (rows <= np.rint(ends[1])) & (spread > 0)
        panel[inside] = (1 - _BAND) * panel[inside] + _BAND * 90.0
    panel[zero] = np.where((panel[zero] == 255).all(axis=1)[:, None], 170.0, panel[zero])
    return np.asarray(np.rint(panel).astype(np.uint8))


def _marks(one: Track, tracks: Tracks, width: int) -> Array:
    """What was hidden together: a black bar per stretch, or one window."""
    strip = np.full((_MARKS, width, 3), 255, np.uint8)
    if tracks.window is not None:
        stop = max(1, round(tracks.window[0] / tracks.moments * width))
        strip[1:3, :stop] = 30
        return strip
    for start, stop in one.cells:
        low, high = (round(edge / tracks.moments * width) for edge in (start, stop))
        gap = 1 if high - low > 3 else 0
        strip[1:3, low + gap : high - gap] = 30
    return strip


def _full(tracks: Tracks) -> float:
    """Value of a full bar: the largest magnitude with its interval."""
    reached = [np.abs(one.values) + (0.0 if one.error is None else _TWO_SIDED * one.error) for one in tracks.tracks]
    return max((float(np.max(values)) for values in reached), default=0.0) or 1.0


def _scale(full: float, signed: bool, height: int) -> Image:
    top, bottom = f"{_short(full):+.3g}", f"{-_short(full):.3g}" if signed else "0"
    return down(height, [(0.0, top), (1.0, bottom)])


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _right(image: Image, width: int) -> Image:
    """The image at the right end of paper of that width."""
    from PIL import Image

    paper = Image.new("RGB", (max(width, image.width), image.height), canvas.PAPER)
    paper.paste(image, (paper.width - image.width, 0))
    return paper


def _blank(width: int, height: int) -> Image:
    from PIL import Image

    return Image.new("RGB", (max(1, width), height), canvas.PAPER)
