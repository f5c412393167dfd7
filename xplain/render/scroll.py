"""A volume or a video to scroll through, slice by slice, with a style sheet alone: where no script may run."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

import numpy as np

from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.colormap import find
from xplain.render.overlay import Map, Style, limit_of, overlay
from xplain.render.planes import at_scale, volume_of
from xplain.render.shown import Shown, kind_of
from xplain.render.slices import ground_of, slice_name

__all__ = ["MOST", "Slice", "scroller", "slices_of"]

MOST = 48
"""Slices that are held; a page stays small enough to be opened."""

_SIZE = 256


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice or frame.

    Args:
        number: Its place.
        picture: What is drawn of it, as a ``data:`` address.
        caption: Its name, and what it holds.
        main: Whether it is the one that holds most.
    """

    number: int
    picture: str
    caption: str
    main: bool


def slices_of(one: Shown, most: int = MOST) -> list[Slice]:
    """The slices of a result of one volume or video; of many evenly spread ones, and the one that holds most.

    Nothing for other items, and for a volume of one slice.
    """
    if kind_of(one) != "volume":
        return []
    volume = volume_of(one)
    values = volume.drawn.values
    if len(values) < 2:
        return []
    held = np.abs(values).sum(axis=(1, 2))
    best, total = int(held.argmax()), float(held.sum()) or 1.0
    even = np.arange(len(values))
    if len(values) > most:
        even = np.unique(np.append(np.linspace(0, len(values) - 1, most - 1).round().astype(int), best))
    ground, limit, colours = ground_of(one, values.shape), limit_of(values), find(None, one.signed)
    wide = at_scale(values.shape[1:], list(volume.spacing[1:]), _SIZE)
    found = []
    for k in even.tolist():
        under = None if ground is None else ground[k][..., None].repeat(3, axis=2)
        noise = None if volume.drawn.noise is None else volume.drawn.noise[k]
        laid = overlay(Map(values[k], noise, under, one.signed), limit, colours, Style(line=False, hatch=False))
        share = f"{held[k] / total:.0%} of the magnitude"
        found.append(Slice(k, _url(laid, wide), f"{slice_name(one, k, f' of {len(values)}')}: {share}", k == best))
    return found


def _url(laid: Array, wide: tuple[int, int]) -> str:
    buffer = io.BytesIO()
    canvas.image(laid).resize((wide[1], wide[0]), 0).save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def scroller(one: Shown) -> str:
    """The slices as an HTML fragment with styles of its own, for a notebook; empty where there are none."""
    found = slices_of(one)
    if not found:
        return ""
    each = "".join(
        f'<figure style="flex:0 0 100%;scroll-snap-align:start;margin:0;'
        f'{"scroll-initial-target:nearest" if slice_.main else ""}"><img alt="{escape(slice_.caption)}" '
        f'src="{slice_.picture}"><figcaption>{escape(slice_.caption)}</figcaption></figure>'
        for slice_ in found
    )
    style = f"display:flex;overflow-x:auto;scroll-snap-type:x mandatory;width:{_SIZE + 20}px"
    return f'<div style="{style}" tabindex="0">{each}</div>'
