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

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST", "chosen", "sheet", "slice_size", "told"]

MOST = 16
"""Slices that are drawn."""

_MARK = (255, 210, 0)


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


def sheet(drawn: Map, limit: float, colormap: Colormap, style: Style, word: str) -> Image:
    """The slices of a map ``[D, H, W]`` in rows, each under its number; ``word`` says what a slice is called."""
    which, active = chosen(drawn.values)
    panels = []
    for number in which:
        noise = None if drawn.noise is None else drawn.noise[number]
        one = replace(drawn, values=drawn.values[number], noise=noise, picture=None)
        big = overlay(one, limit, colormap, replace(style, line=False))
        if number in active:
            whole: Box = (0, 0, *one.values.shape)
            border(big, [whole], _MARK, style.zoom)
        body = canvas.image(big)
        panels.append(canvas.column([canvas.words([f"{word} {number}"], max(body.width, 60)), body], gap=0))
    across = math.ceil(math.sqrt(len(panels)))
    rows = [canvas.row(panels[k : k + across], gap=6) for k in range(0, len(panels), across)]
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
