"""Pillow's small part: text that is never cut off or drawn as boxes, and images side by side."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.edits import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "ALERT",
    "INK",
    "LINE",
    "PALE",
    "PAPER",
    "column",
    "fitted",
    "font",
    "heading",
    "image",
    "plain",
    "row",
    "sideways",
    "text_width",
]
__all__ += ["widened", "words"]

INK, PALE, PAPER, ALERT = (25, 25, 25), (105, 105, 105), (255, 255, 255), (165, 30, 20)
LINE = 17
_SIZE, _TITLE = 13, 19
_PARTS = re.compile(r"[^/_;-]*[/_;-]|[^/_;-]+")  # of a path or a name, each with the bar or hyphen behind it
_LONGEST = 300  # characters of one line before it is cut: names come from files
_DRAWABLE = "±·…×µ°"  # what Pillow's own font has beyond ASCII, and stands in figures
_STAND_INS = str.maketrans({"Δ": "delta ", "σ": "sigma", "−": "-", "–": "-", "—": "-", "’": "'", "×": "x"})


def image(array: Array) -> Image:
    """A uint8 array ``[H, W, 3]`` as an image."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array))


def plain(text: str) -> str:
    """Text that Pillow's own font can draw: accents are taken off, other letters become ``?``, long text is cut."""
    folded = unicodedata.normalize("NFKD", text.translate(_STAND_INS))
    kept = [c if " " <= c <= "~" or c in _DRAWABLE else "?" for c in folded if not unicodedata.combining(c)]
    return "".join(kept) if len(kept) <= _LONGEST else "".join(kept[: _LONGEST - 1]) + "…"


def text_width(text: str) -> int:
    """Width of a line of plain text in pixels."""
    return int(np.ceil(font().getlength(text)))


def fitted(text: str, width: int) -> str:
    """As much of a text as one line of that width holds."""
    kept = plain(text)
    if text_width(kept) <= width:
        return kept
    while kept and text_width(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def words(lines: Sequence[str], width: int, colour: tuple[int, int, int] = INK) -> Image:
    """Lines of text, wrapped at ``width`` pixels, on paper of that width."""
    from PIL import Image, ImageDraw

    wrapped = [piece for line in lines for piece in _wrapped(plain(line), width)]
    paper = Image.new("RGB", (width, max(1, LINE * len(wrapped))), PAPER)
    pen = ImageDraw.Draw(paper)
    for k, line in enumerate(wrapped):
        pen.text((0, k * LINE), line, colour, font=font())
    return paper


def heading(text: str, width: int) -> Image:
    """A title in larger letters, on one line, cut to its width."""
    from PIL import Image, ImageDraw

    large, said = font(_TITLE), plain(text)
    while said and large.getlength(said) > width:
        said = f"{said[:-2]}…"
    paper = Image.new("RGB", (int(large.getlength(said)) + 1, _TITLE + 8), PAPER)
    ImageDraw.Draw(paper).text((0, 0), said, INK, font=large)
    return paper


def sideways(text: str, height: int) -> Image:
    """Text that reads upwards, wrapped at ``height`` pixels."""
    from PIL import Image

    return words([text], min(height, text_width(plain(text))), PALE).transpose(Image.Transpose.ROTATE_90)


def row(images: Sequence[Image], gap: int = 18) -> Image:
    """Images side by side, upper edges in line."""
    return _joined(images, gap, along=0)


def column(images: Sequence[Image], gap: int = 6) -> Image:
    """Images one below the other, left edges in line."""
    return _joined(images, gap, along=1)


def widened(one: Image, width: int) -> Image:
    """The image on paper of that width, at its left."""
    from PIL import Image

    paper = Image.new("RGB", (max(width, one.width), one.height), PAPER)
    paper.paste(one, (0, 0))
    return paper


def _joined(images: Sequence[Image], gap: int, along: int) -> Image:
    from PIL import Image

    extent = [0, 0]
    extent[along] = sum(i.size[along] for i in images) + gap * (len(images) - 1)
    extent[1 - along] = max(i.size[1 - along] for i in images)
    paper = Image.new("RGB", (extent[0], extent[1]), PAPER)
    at = 0
    for one in images:
        paper.paste(one, (at, 0) if along == 0 else (0, at))
        at += one.size[along] + gap
    return paper


def _wrapped(line: str, width: int) -> list[str]:
    out = [""]
    for word in line.split(" "):
        longer = f"{out[-1]} {word}" if out[-1] else word
        if text_width(longer) <= width:
            out[-1] = longer
            continue
        if out[-1]:
            out.append("")
        for part in _PARTS.findall(word) if text_width(word) > width else [word]:  # a path, behind its bars
            if out[-1] and text_width(out[-1] + part) > width:
                out.append("")
            for letter in part:  # what is wider than the paper even so is broken anywhere
                if out[-1] and text_width(out[-1] + letter) > width:
                    out.append("")
                out[-1] += letter
    return out


@cache
def font(size: int = _SIZE) -> Any:
    """Pillow's own font."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
