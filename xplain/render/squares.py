"""Items as small squares, for maps and neighbours: what tells an item from another at a glance.

    picture          itself, smaller
    series           a line for each channel, of many those that move most, each from its least to its largest value
    recorded sound   its spectrogram: time to the right, low frequencies below, the loudest white
    spectrogram      the same
    volume, video    its middle slice
    table row        what its first columns hold, as it was written
    other numbers    a bar for each, upwards where it is above zero
    text             its first words
    several inputs   the first picture among them

Each is drawn from its item alone, so neither other items nor the part that it is read in change a pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xplain.core.arrays import shades
from xplain.core.edits import Array
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.core.segments import INPUTS
from xplain.render import canvas
from xplain.render.shown import Kind, kind_by
from xplain.render.slices import grey_slices
from xplain.render.spectra import heard, upright

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["squares"]

_LINES = 6
"""Channels of a series that have a line."""
_FRAME = (205, 205, 205)
_EDGE = 2  # pixels between the frame and what is drawn in it


def squares(items: Items, side: int) -> Array | None:
    """Items as squares, uint8 ``[N, side, side, 3]``; None where nothing says what their axes are."""
    layout = items.layout
    if INPUTS in items.facts:  # rows that hold several inputs: the first picture among these
        pictures = next((one for one in items.each.values() if np.ndim(one) == 4), None)
        return None if pictures is None else np.stack([_fitted(np.asarray(one), side) for one in pictures])
    if not isinstance(layout, Layout):
        return None
    told = items.columns is not None and bool(items.columns.values)
    kind = kind_by(layout.axes, items.coordinates, bool(items.texts), told, items.x.ndim)
    return np.stack([_square(items, n, kind, layout, side) for n in range(len(items))])


def _square(items: Items, n: int, kind: Kind, layout: Layout, side: int) -> Array:
    """One item."""
    if kind == "text":
        return _words([items.texts[n].text], side)
    if kind == "row":
        if items.columns is not None and items.columns.values:
            return _words(list(items.columns.values[n]), side, apart=True)
        return _framed(_bars(np.asarray(items.x[n], np.float64).reshape(-1), side - 2 * _EDGE), side)
    if kind == "spectrogram" and items.pictures is not None:
        letters = [letter for letter in layout.axes[1:] if letter in "TDHW" or letter == items.coordinates.frequency]
        grey = upright(np.asarray(items.pictures[n])[..., 0], letters, items.coordinates)[::-1]
        return _fitted(np.repeat(grey[..., None], 3, axis=2), side)
    if items.pictures is not None:
        return _fitted(np.asarray(items.pictures[n]), side)
    channel = layout.channel_axis
    x = np.asarray(items.x[n], np.float64)
    if kind == "series":
        table = x.reshape(1, -1) if channel is None else np.moveaxis(x, channel - 1, 0)
        if items.coordinates.kind == "waveform" and items.coordinates.rate:
            sound = table.mean(axis=0)
            grey = np.asarray(heard(sound, np.zeros(len(sound)), items.coordinates.rate, False).grey)[::-1]
            return _fitted(np.repeat(np.rint(grey * 255)[..., None], 3, axis=2).astype(np.uint8), side)
        return _framed(_lines(table, side - 2 * _EDGE), side)
    if kind == "volume":
        slices = grey_slices(x, layout.axes)
        return _fitted(np.repeat(slices[len(slices) // 2][..., None], 3, axis=2), side)
    x = x[..., None] if channel is None else np.moveaxis(x, channel - 1, -1)
    seen = shades(x if x.shape[-1] in (1, 3) else x.mean(axis=-1, keepdims=True))
    return _fitted(np.broadcast_to(seen, (*seen.shape[:-1], 3)), side)


def _fitted(picture: Array, side: int) -> Array:
    from PIL.Image import Resampling

    return np.asarray(canvas.image(picture).resize((side, side), Resampling.BILINEAR))


def _framed(ink: Array, side: int) -> Array:
    """What is drawn, bool ``[h, w]``, on paper with a frame around it."""
    paper = np.full((side, side, 3), canvas.PAPER, np.uint8)
    paper[[0, -1]] = paper[:, [0, -1]] = _FRAME
    paper[_EDGE : _EDGE + len(ink), _EDGE : _EDGE + ink.shape[1]][ink] = canvas.INK
    return paper


def _lines(table: Array, side: int) -> Array:
    """Channels ``[C, T]`` one below the other, bool ``[side, side]``."""
    if len(table) > _LINES:
        table = table[np.sort(np.argsort(-table.std(axis=1), kind="stable")[:_LINES])]
    edges = np.linspace(0, side, len(table) + 1).round().astype(int)
    parts = [_line(one, int(high), side) for one, high in zip(table, np.diff(edges), strict=True)]
    return np.concatenate(parts)


def _line(signal: Array, high: int, wide: int) -> Array:
    """One line, bool ``[high, wide]``; of several moments in a pixel their range."""
    low, top = float(signal.min()), float(signal.max())
    level = (signal - low) / (top - low) if top > low else np.full(len(signal), 0.5)
    down = (1 - level) * max(0, high - 2)  # a row stays free below, so that lines do not touch
    if len(down) > wide:
        starts = np.arange(wide) * len(down) // wide
        least, most = np.minimum.reduceat(down, starts), np.maximum.reduceat(down, starts)
    else:
        moments = (np.arange(wide) + 0.5) / wide * len(down) - 0.5
        least = most = np.interp(moments, np.arange(len(down)), down)
    # each pixel's range reaches to the one before it, so that a steep line has no gaps
    upper = np.minimum(least, np.concatenate([most[:1], most[:-1]]))
    lower = np.maximum(most, np.concatenate([least[:1], least[:-1]]))
    rows = np.arange(high)[:, None]
    return np.asarray((rows >= np.floor(upper + 0.5)) & (rows <= np.floor(lower + 0.5)))


def _bars(values: Array, side: int) -> Array:
    """A bar for each number from a line at zero, bool ``[side, side]``; of several in a pixel the largest magnitude."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    if len(values) > side:
        starts = np.arange(side) * len(values) // side
        low, top = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        values = np.where(-low > top, low, top)
    wide = side // len(values)
    lowest, highest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (side - 1) / (highest - lowest) if highest > lowest else 0.0
    zero, ends = round(highest * scale), np.rint((highest - values) * scale)
    rows = np.arange(side)[:, None]
    inside = (rows >= np.minimum(zero, ends)) & (rows <= np.maximum(zero, ends))
    drawn = np.zeros((side, side), bool)
    gap = 1 if wide > 2 else 0
    for k in range(len(values)):
        drawn[:, k * wide : (k + 1) * wide - gap] = inside[:, k : k + 1]
    drawn[zero] = True
    return drawn


def _words(lines: list[str], side: int, apart: bool = False) -> Array:
    """The first of some words, as many as a square holds; ``apart``: each text on a line of its own, cut to it."""
    inner = max(1, side - 2 * _EDGE)
    most = max(1, inner // canvas.LINE)
    lines = [canvas.fitted(one, inner) for one in lines[:most]] if apart else [one[: 8 * inner] for one in lines]
    written: Image = canvas.words(lines, inner)
    ink = np.asarray(written.crop((0, 0, inner, min(inner, most * canvas.LINE, written.height))))
    paper = _framed(np.zeros((1, 1), bool), side)
    paper[_EDGE : _EDGE + len(ink), _EDGE : _EDGE + inner] = ink
    return paper
