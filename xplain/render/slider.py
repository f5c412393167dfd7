"""Two drawings of one picture on top of each other, with an edge to drag: no script, so that pages may hold it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.errors import UsageError
from xplain.render import canvas
from xplain.render.colormap import find
from xplain.render.notebook import data_url
from xplain.render.overlay import Style, limit_of, map_of, overlay
from xplain.render.shown import Shown, kind_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Slider", "slider"]


class Slider:
    """A fragment of HTML that shows itself in a notebook."""

    def __init__(self, html: str) -> None:
        self.html = html

    def __repr__(self) -> str:
        return f"<Slider: {len(self.html)} characters of HTML; str() gives them>"

    def __str__(self) -> str:
        return self.html

    def _repr_html_(self) -> str:
        return self.html


@renderer("slider")
def slider(attribution: Shown, other: Shown | None = None, *, item: int = 0, size: int = 360) -> Slider:
    """A map over its picture, and beneath it the picture itself or another map: drag the corner to see what is behind.

    Args:
        attribution: Of pictures; in front.
        other: What lies behind: another attribution of the same picture; None for the picture.
        item: Which item.
        size: The longer side in pixels, at least.

    Raises:
        UsageError: the items are no pictures, or the two are not of the same size.
    """
    if kind_of(attribution) != "picture" or (other is not None and kind_of(other) != "picture"):
        raise UsageError("A slider shows pictures; these items are none. a.plot() draws rows, texts and series.")
    front, back = _laid(attribution, item, size), _laid(attribution if other is None else other, item, size)
    if other is None:
        drawn = map_of(attribution, item)
        if drawn.picture is None:
            raise UsageError("The picture was not kept, so nothing lies behind the map; give another attribution.")
        zoom = front.width // drawn.picture.shape[1]
        back = canvas.image(np.repeat(np.repeat(drawn.picture, zoom, axis=0), zoom, axis=1))
    if front.size != back.size:
        raise UsageError(
            f"The maps are {front.size} and {back.size} pixels wide and high: they do not lie on each other."
        )
    name, behind = attribution.method, "the picture" if other is None else other.method
    width, height = front.size
    fixed = f"display:block;width:{width}px;height:{height}px;max-width:none;border:0"
    return Slider(
        f'<figure style="margin:0"><div style="position:relative;width:{width}px;height:{height}px">'
        f'<img alt="{escape(behind)}" style="{fixed};position:absolute" src="{data_url(back)}">'
        f'<div style="position:absolute;width:50%;max-width:100%;min-width:16px;height:{height}px;overflow:hidden;'
        'resize:horizontal;border-right:2px solid #fff;box-shadow:1px 0 0 #000">'
        f'<img alt="{escape(name)}" style="{fixed}" src="{data_url(front)}"></div></div>'
        f"<figcaption>{escape(name)} over {escape(behind)}: drag the lower right corner of the front.</figcaption>"
        "</figure>"
    )


def _laid(attribution: Shown, item: int, size: int) -> Image:
    drawn = map_of(attribution, item)
    zoom = max(1, -(-size // max(drawn.values.shape)))
    return canvas.image(overlay(drawn, limit_of(drawn.values), find(None, drawn.signed), Style(zoom=zoom)))
