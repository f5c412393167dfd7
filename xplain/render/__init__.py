"""Pictures in and out: reading and preparing them, drawing attributions. Arrays in, arrays out; Pillow lives here.

draw(attribution, item)     one map over its picture, with colour bar and unit
montage([a, b, c])          items by methods, on one scale
to_html(attribution)        what a notebook shows
to_text(attribution)        words and tables for a terminal
read(picture)               any safe picture as uint8 [H, W, 3]
prepare(card, picture)      the model's tensor, and the same pixels for a person
"""

from __future__ import annotations

from xplain.render.figure import draw, montage, target_of
from xplain.render.notebook import to_html
from xplain.render.pictures import collect, prepare, read
from xplain.render.text import to_text

__all__ = ["collect", "draw", "montage", "prepare", "read", "target_of", "to_html", "to_text"]
