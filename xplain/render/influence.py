"""Training items that speak for and against a score, labels to look at first, and how many wrong ones are found so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.render import canvas
from xplain.render.palette import AGAINST, FOR, RIGHT, WRONG
from xplain.render.tiles import framed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownInfluence", "influence"]

_MARGIN, _GAP, _NAME = 12, 8, 130
_CHANCE = (170, 170, 170)
_WIDE, _HIGH = 420, 200
_LEAST = 560


class ShownInfluence(Protocol):
    """Influence of training items; ``xplain.results.Influence`` is one, and says what each field means."""

    names: tuple[str, ...]
    given: tuple[str, ...]
    predicted: tuple[str, ...]
    worth: Array
    influence: Array
    asked: tuple[str, ...]
    classes: tuple[str, ...]
    inspected: Array
    discovered: Array
    shown: Array
    thumbnails: Array | None
    asked_thumbnails: Array | None
    unit: str
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    def name_of(self, item: int, /) -> str:
        """What an item is called."""

    def speak(self, asked: int = 0, count: int = 5, /) -> tuple[list[int], list[int]]:
        """Places of the items that speak most for an item, and against it."""

    def doubtful(self, count: int = 10, /) -> list[int]:
        """Places of the items whose labels are to be looked at first."""

    def __len__(self) -> int: ...


@renderer("influence", draws="influence")
def influence(shown: ShownInfluence, *, k: int = 5, doubtful: int = 18, most: int = 12, tile: int = 72) -> Image:
    """Draw what speaks for and against, and the labels to look at first.

    Args:
        shown: What to draw.
        k: Items for, and as many against.
        doubtful: Labels to look at first.
        most: Items asked about that are drawn.
        tile: Pixels of a picture's side.

    Raises:
        UsageError: an argument that cannot be used.
    """
    for name, value in (("k", k), ("doubtful", doubtful), ("most", most), ("tile", tile)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 8192:
            raise UsageError(option=name, got=value, accepted="a whole number from 1 to 8192")
    layer = brief_layer(str(shown.facts.get("layer", "")))
    rows = [_asked(shown, n, k, tile) for n in range(min(len(shown.asked), most))]
    labels = _doubtful(shown, shown.doubtful(doubtful), tile)
    width = max(_LEAST, labels.width, *(one.width for one in rows))
    parts = [canvas.heading(f"What {counted(len(shown), 'training item')} say, by the layer behind {layer}", width)]
    if rows:
        said = f"Numbers: {shown.unit}. Red speaks for the class, blue against it; below each its label."
        parts += [canvas.words([said], width, canvas.PALE), *rows]
    if len(rows) < len(shown.asked):
        parts.append(
            canvas.words([f"{len(rows)} of {counted(len(shown.asked), 'item')} are drawn."], width, canvas.PALE)
        )
    parts += [canvas.words(["Labels to look at first: the label, and what the layer says."], width), labels]
    if len(shown.inspected):
        parts.append(_curve(shown))
    told = sentences(shown.warnings, list(shown.names), brief=True)
    if told:
        parts.append(canvas.words(told, width, canvas.ALERT))
    return framed(canvas.column(parts, _GAP), _MARGIN)


def _asked(shown: ShownInfluence, n: int, k: int, tile: int) -> Image:
    """One item that is asked about, and the training items that speak most."""
    picture = None if shown.asked_thumbnails is None else shown.asked_thumbnails[n]
    text = [canvas.fitted(shown.asked[n], _NAME), shown.classes[n]]
    head = canvas.column([_tile(picture, tile, None), canvas.words(text, _NAME, canvas.PALE)], 2)
    sides = []
    for places, colour in zip(shown.speak(n, k), (FOR, AGAINST), strict=True):
        cells = [_cell(shown, p, tile, colour, f"{shown.influence[p, n]:+.3g}", shown.given[p]) for p in places]
        sides.append(canvas.row(cells, 4) if cells else canvas.words(["none"], tile, canvas.PALE))
    return canvas.row([canvas.widened(head, _NAME), canvas.row(sides, 3 * _GAP)], _GAP)


def _doubtful(shown: ShownInfluence, places: Sequence[int], tile: int) -> Image:
    wide = max(1, (_LEAST + 4 * _GAP) // (tile + 4))
    cells = []
    for place in places:
        agree = shown.given[place] == shown.predicted[place]
        colour = RIGHT if agree else WRONG
        cells.append(_cell(shown, place, tile, colour, shown.given[place], f"said {shown.predicted[place]}"))
    return canvas.column([canvas.row(cells[n : n + wide], 4) for n in range(0, len(cells), wide)], 4)


def _cell(shown: ShownInfluence, place: int, tile: int, colour: tuple[int, int, int], *lines: str) -> Image:
    found = np.flatnonzero(shown.shown == place)
    picture = shown.thumbnails[found[0]] if shown.thumbnails is not None and len(found) else None
    text = [canvas.fitted(shown.name_of(place).rpartition("/")[2], tile), *lines]
    return canvas.column([_tile(picture, tile, colour), canvas.words(text, tile, canvas.PALE)], 1)


def _tile(picture: Array | None, tile: int, colour: tuple[int, int, int] | None) -> Image:
    """A picture in its frame; without a picture a plain tile."""
    from PIL import Image, ImageDraw
    from PIL.Image import Resampling

    if picture is None:
        drawn = Image.new("RGB", (tile, tile // 4), (236, 236, 236))
    else:
        drawn = canvas.image(picture).resize((tile, tile), Resampling.BICUBIC)
    if colour is not None:
        line = max(2, tile // 28)
        ImageDraw.Draw(drawn).rectangle((0, 0, drawn.width - 1, drawn.height - 1), outline=colour, width=line)
    return drawn


def _curve(shown: ShownInfluence) -> Image:
    """The share of planted wrong labels that is found, by the share that is inspected; grey is chance."""
    from PIL import Image, ImageDraw

    paper = Image.new("RGB", (_WIDE, _HIGH), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    left, bottom, right = 40, _HIGH - 22, _WIDE - 30

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * (right - left), bottom - y * (bottom - 10)

    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        pen.line([at(0, tick), at(1, tick)], (228, 228, 228))
        text = f"{tick:.0%}"
        paper.paste(canvas.words([text], canvas.text_width(text), canvas.PALE), (4, int(at(0, tick)[1]) - 9))
        paper.paste(canvas.words([text], canvas.text_width(text), canvas.PALE), (int(at(tick, 0)[0]) - 10, bottom + 4))
    pen.line([at(0, 0), at(1, 1)], _CHANCE, 1)
    pen.line([at(float(x), float(y)) for x, y in zip(shown.inspected, shown.discovered, strict=True)], RIGHT, 2)
    planted = counted(int(shown.facts.get("planted wrong labels", 0)), "label")
    said = f"Of {planted} exchanged on purpose: share found (upwards) by share of items inspected."
    return canvas.column([canvas.words([said], _LEAST, canvas.PALE), paper], 2)
