"""A volume or a video drawn as its slices or frames, side by side on one scale, the most active ones marked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.colormap import Colormap
from xplain.render.geometry import Box
from xplain.render.overlay import Map, Style, border, overlay
from xplain.render.shown import Shown, axes_of
from xplain.render.tracks import seconds

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST", "chosen", "grey_slices", "ground_of", "sheet", "slice_name", "slice_size", "told", "word_of"]

MOST = 16
"""Slices that are drawn."""

_MARK = (255, 210, 0)
_ENDS = (0.5, 99.5)  # percentiles of what the item holds that become black and white


def word_of(one: Shown) -> str:
    """What a volume's first position axis is made of."""
    return "frame" if "T" in axes_of(one) else "slice"


def slice_name(one: Shown, number: int, of: str = "") -> str:
    """What a slice or frame is called: its number and, where the card says how far or long a step is, its place."""
    told, word = one.coordinates, word_of(one)
    if word == "frame":
        return f"{word} {number}{of}" + ("" if told.step is None else f", {seconds(number * told.step, told.step)} s")
    where = f", {number * told.spacing[0]:.4g} {told.length}" if len(told.spacing) == 3 else ""
    return f"{word} {number}{of}{where}"


def ground_of(one: Shown, shape: tuple[int, ...]) -> Array | None:
    """What the item holds, channels averaged, uint8 ``[D, H, W]``; None where it was not kept or has another size."""
    axes = axes_of(one)
    if one.signals is None:
        return None
    held = grey_slices(np.asarray(one.signals[0], np.float64), axes)
    return held if held.shape == shape else None


def grey_slices(held: Array, axes: str) -> Array:
    """A volume or video in grey, uint8 ``[D, H, W]``: channels averaged, half a per cent cut off at both ends."""
    if "C" in axes and held.ndim == len(axes) - 1:
        held = held.mean(axis=axes.index("C") - 1)
    low, high = np.percentile(held, _ENDS)
    wide = high - low if high > low else 1.0
    return np.asarray(np.rint(np.clip((held - low) / wide, 0, 1) * 255.0).astype(np.uint8))


def chosen(values: Array) -> tuple[Array, Array]:
    """Which slices of ``[D, H, W]`` are drawn, in order, and which of them are the most active.

    All where there are few; else every so many of them, and the most active, by the largest sums of magnitudes.
    """
    activity = np.abs(values).sum(axis=(1, 2))
    order = np.argsort(-activity, kind="stable")
    active = np.sort(order[: max(1, min(4, len(values) // 4))])
    active = active[activity[active] > 0]
    if len(values) <= MOST:
        return np.arange(len(values)), active
    even = np.linspace(0, len(values) - 1, MOST - len(active)).round().astype(int)
    return np.unique(np.concatenate([even, active])), active


def sheet(one: Shown, drawn: Map, limit: float, colormap: Colormap, style: Style) -> Image:
    """The slices of a map ``[D, H, W]`` of a result of one item in rows, over what it holds, each under its name."""
    which, active = chosen(drawn.values)
    ground = ground_of(one, drawn.values.shape)
    panels = []
    for number in which:
        noise = None if drawn.noise is None else drawn.noise[number]
        picture = None if ground is None else ground[number][..., None].repeat(3, axis=2)
        cut = replace(drawn, values=drawn.values[number], noise=noise, picture=picture)
        big = overlay(cut, limit, colormap, replace(style, line=False))
        if number in active:
            whole: Box = (0, 0, *cut.values.shape)
            border(big, [whole], _MARK, style.zoom)
        body = canvas.image(big)
        panels.append((slice_name(one, int(number)), body))
    wide = max(60, *(max(canvas.text_width(name), body.width) for name, body in panels))
    tiles = [canvas.column([canvas.words([name], wide), body], gap=0) for name, body in panels]
    across = math.ceil(math.sqrt(len(tiles)))
    rows = [canvas.row(tiles[k : k + across], gap=6) for k in range(0, len(tiles), across)]
    return canvas.column(rows)


def slice_size(values: Array, size: int) -> int:
    """The longer side of each slice in pixels, where all of them are to be about ``size`` wide, but can be seen."""
    return max(48, size // math.ceil(math.sqrt(min(len(values), MOST))))


def told(drawn: Map, word: str) -> str:
    """What a reader must know of the slices."""
    which, active = chosen(drawn.values)
    total = float(np.abs(drawn.values).sum())
    share = float(np.abs(drawn.values[active]).sum()) / total if total > 0 else 0.0
    marked = ", ".join(map(str, active))
    return (
        f"{len(which)} of {len(drawn.values)} {word}s; {marked or 'none'} (yellow) hold {share:.0%} of the magnitude."
    )
