"""What a notebook shows for an attribution: figures as embedded pictures and the facts below; no script, no network."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Literal

from xplain.core.declaring.registry import renderer
from xplain.render.figure import draw
from xplain.render.scroll import scroller
from xplain.render.sentence import sentence
from xplain.render.shown import Shown
from xplain.render.text import item_html

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["data_url", "to_html"]

_MOST_ITEMS = 8


def data_url(picture: Image, kind: Literal["PNG", "WEBP"] = "PNG") -> str:
    """An image as a ``data:`` address: exact as PNG, a tenth of that size as WEBP."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@renderer("html")
def to_html(attribution: Shown) -> str:
    """An HTML fragment with the first items drawn; every name in it is escaped, because names come from files."""
    shown = range(min(len(attribution), _MOST_ITEMS))
    figures = "".join(_figure(attribution, item) for item in shown)
    more = len(attribution) - len(shown)
    cost = attribution.cost
    said = "".join(f"<p>{escape(sentence(attribution, item))}</p>" for item in shown)
    facts = [
        f"<b>{escape(attribution.method)}</b> of <b>{escape(attribution.target)}</b>",
        f"values {list(attribution.values.shape)}, {escape(attribution.unit)}",
        f"{cost.asked}, {cost.seconds:.2f} s",
    ]
    if more > 0:
        facts.append(f"{more} more items are not shown")
    warned = "".join(f'<p style="color:#a51e14">Warning: {escape(text)}</p>' for text in attribution.said)
    return f"<div>{figures}{warned}{said}<p>{'; '.join(facts)}.</p></div>"


def _figure(attribution: Shown, item: int) -> str:
    if attribution.texts or attribution.columns is not None:
        return item_html(attribution, item)
    drawn = f'<img alt="" style="vertical-align:top" src="{data_url(draw(attribution, item))}">'
    return drawn + scroller(attribution[item])
