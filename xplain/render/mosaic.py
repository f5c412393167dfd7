"""A map of pictures: each at its place, or each in a cell of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.core.lenses.embedding import Colouring
from xplain.render import canvas
from xplain.render.palette import Colours, colours_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownMap", "grid", "map_", "middle_of", "middle_of_group", "share_beside", "share_of"]

_MARGIN = 12
_PURE = 0.9  # share of a group from which its name says what it holds
_MOST = 40_000
"""Pictures that one drawing holds; of more, an evenly spread part is drawn, and it is said."""


class ShownMap(Protocol):
    """A map; ``xplain.results.Atlas`` is one, and says what each field means."""

    places: Array
    cells: Array
    cluster: Array
    cluster_names: tuple[str, ...]
    names: tuple[str, ...]
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    confidence: Array
    thumbnails: Array | None
    colour: Colouring
    says: str
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    def __len__(self) -> int: ...


@renderer("map", draws="atlas")
def map_(atlas: ShownMap, *, size: int = 1100, thumbnail: int | None = None, colour: Colouring | None = None) -> Image:
    """The pictures at their places; later ones lie over earlier ones where they are close.

    Args:
        atlas: What to draw.
        size: Pixels of the map's width; its height is what the places need.
        thumbnail: Pixels of a picture's side; None: so that all together would cover half of the map.
        colour: What their frames are coloured by; None: what the map is meant to be coloured by.

    Raises:
        UsageError: an argument that cannot be used.
    """
    _whole(size=size, thumbnail=thumbnail)
    some = _some(len(atlas))
    side = thumbnail or int(np.clip(size * np.sqrt(0.5 / max(1, len(some))), 4, 56))
    colours = colours_of(atlas, colour or atlas.colour)
    paper = np.full((size, size, 3), 255, np.uint8)
    frame = 0 if colours is None else max(1, side // 12)
    corners = _corners(atlas.places, size, side + 2 * frame)
    for n in some:
        y, x = corners[n]
        _put(paper, atlas, int(n), (int(y), int(x)), side, frame, colours)
    used = slice(int(corners[:, 0].min()), int(corners[:, 0].max()) + side + 2 * frame + 1)
    drawn = canvas.image(paper[used])  # a map that is wider than high leaves no empty paper
    _name_groups(drawn, atlas, corners - [used.start, 0] + side // 2)
    return _framed(
        drawn, atlas, colours, f"{counted(len(atlas), 'item')} by {atlas.facts.get('by', 'place')}", len(some)
    )


@renderer("grid", draws="atlas")
def grid(atlas: ShownMap, *, thumbnail: int | None = None, colour: Colouring | None = None) -> Image:
    """The pictures without overlap: each in the cell nearest to its place that all together allow.

    Args:
        atlas: What to draw.
        thumbnail: Pixels of a picture's side; None: so that the grid has about 1,100 pixels.
        colour: What their frames are coloured by; None: what the map is meant to be coloured by.

    Raises:
        UsageError: an argument that cannot be used.
    """
    _whole(thumbnail=thumbnail)
    rows, columns = (int(k) + 1 for k in atlas.cells.max(axis=0))
    side = thumbnail or int(np.clip(1100 // max(rows, columns), 6, 64))
    if rows * columns * side * side > 2**27:
        raise UsageError(f"A grid of {rows} x {columns} pictures of {side} pixels is too large.", option="thumbnail")
    colours = colours_of(atlas, colour or atlas.colour)
    frame = 0 if colours is None else max(1, side // 12)
    cell = side + 2 * frame
    paper = np.full((rows * cell, columns * cell, 3), 255, np.uint8)
    for n in range(len(atlas)):
        y, x = (int(k) * cell for k in atlas.cells[n])
        _put(paper, atlas, n, (y, x), side, frame, colours)
    title = f"{counted(len(atlas), 'item')}, one cell each, by {atlas.facts.get('by', 'place')}"
    return _framed(canvas.image(paper), atlas, colours, title, len(atlas))


def _whole(**given: int | None) -> None:
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 8192):
            raise UsageError(option=name, got=value, accepted="a whole number from 1 to 8192")


def _some(count: int) -> Array:
    return np.arange(count) if count <= _MOST else np.unique(np.linspace(0, count - 1, _MOST).astype(int))


def _corners(places: Array, size: int, side: int) -> Array:
    """Upper left corners in pixels, ``[N, 2]`` of (y, x), the whole map inside."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    spot = (places - (low + high) / 2) / extent + 0.5
    return np.asarray(np.rint(np.stack([1 - spot[:, 1], spot[:, 0]], axis=1) * (size - side - 1)).astype(int))


def _put(
    paper: Array, atlas: ShownMap, n: int, at: tuple[int, int], side: int, frame: int, colours: Colours | None
) -> None:
    """Paint one item: its picture in its frame, or a dot where there is no picture."""
    y, x = at
    if colours is not None:
        paper[y : y + side + 2 * frame, x : x + side + 2 * frame] = colours.rgb[n]
    if atlas.thumbnails is not None:
        tile = _resized(atlas.thumbnails[n], side)
        paper[y + frame : y + frame + side, x + frame : x + frame + side] = tile
    elif colours is None:
        paper[y : y + max(2, side // 4), x : x + max(2, side // 4)] = (60, 60, 60)


def _resized(tile: Array, side: int) -> Array:
    from PIL.Image import Resampling

    return np.asarray(
        canvas.image(tile).resize((side, side), Resampling.BOX if side < len(tile) else Resampling.BICUBIC)
    )


def _name_groups(drawn: Image, atlas: ShownMap, middles: Array) -> None:
    """Write each group's name over the middle of its items, the largest groups first, none over another."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(drawn)
    taken: list[tuple[int, int, int, int]] = []
    for number, name in enumerate(atlas.cluster_names):
        if not name or not (atlas.cluster == number).any():
            continue
        y, x = (int(k) for k in middle_of_group(atlas, number, middles))
        text = canvas.fitted(name, 150) + share_beside(atlas, number)
        wide = canvas.text_width(text) + 8
        x = min(max(x - wide // 2, 0), drawn.width - wide)
        box = (x, y - 10, x + wide, y + 10)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue
        taken.append(box)
        label = canvas.words([text], wide - 8)
        pen.rectangle(box, fill=canvas.PAPER, outline=canvas.PALE)
        drawn.paste(label.crop((0, 0, wide - 8, 17)), (x + 4, y - 8))


def middle_of(places: Array) -> int:
    """The place nearest to the middle of all: of a group that lies in two parts the middle itself lies in neither."""
    return int(((places - np.median(places, axis=0)) ** 2).sum(axis=1).argmin())


def middle_of_group(atlas: ShownMap, number: int, places: Array) -> Array:
    """The middle of those items of a group that its name is the label of; of all where none bears it."""
    own = atlas.cluster == number
    labels = np.asarray(atlas.truth or atlas.predicted or [""] * len(atlas))
    named = own & (labels == atlas.cluster_names[number])
    some = places[named if named.any() else own]
    return np.asarray(some[middle_of(some)])


def share_of(atlas: ShownMap, number: int) -> float:
    """The share of a group's items that bear its name; 1 where it is not known."""
    told = atlas.facts.get("groups", [])
    return float(told[number].get("share", 1.0)) if number < len(told) else 1.0


def share_beside(atlas: ShownMap, number: int) -> str:
    """What stands behind a group's name: the share that it speaks for, where that is not nearly all."""
    share = share_of(atlas, number)
    return f" {share:.0%}" if share < _PURE else ""


def _framed(drawn: Image, atlas: ShownMap, colours: Colours | None, title: str, shown: int) -> Image:
    """The drawing with its title, what of it is true, and what colours mean."""
    from PIL import Image

    head = canvas.heading(title, 10 * drawn.width + 1000)
    width = max(drawn.width, head.width)  # a grid of few pictures is narrower than what is said of it
    layer = brief_layer(str(atlas.facts.get("layer", "")))
    parts = [
        head,
        canvas.words([f"Layer {layer}"] if layer else [""], width, canvas.PALE),
        drawn,
    ]
    said = [f"What to believe: {atlas.says}."] if atlas.says else []
    if shown < len(atlas):
        said.append(f"{shown} of {len(atlas)} items are drawn.")
    parts.append(canvas.words(said or [""], width))
    if colours is not None:
        parts.append(_legend(colours, width))
    told = sentences(atlas.warnings, list(atlas.names), brief=True)
    if told:
        parts.append(canvas.words(told, width, canvas.ALERT))
    body = canvas.column(parts, 6)
    paper = Image.new("RGB", (body.width + 2 * _MARGIN, body.height + 2 * _MARGIN), canvas.PAPER)
    paper.paste(body, (_MARGIN, _MARGIN))
    return paper


def _legend(colours: Colours, width: int) -> Image:
    """A square and a name for each colour, in as many lines as it takes."""
    from PIL import Image, ImageDraw

    lines: list[list[tuple[int, tuple[int, int, int], str]]] = [[]]
    at = 0
    for rgb, name in colours.legend:
        text = canvas.fitted(name, 220)
        wide = canvas.text_width(text) + 34
        if at + wide > width and lines[-1]:
            lines.append([])
            at = 0
        lines[-1].append((at, rgb, text))
        at += wide
    paper = Image.new("RGB", (width, canvas.LINE * len(lines)), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    for k, line in enumerate(lines):
        for x, rgb, text in line:
            y = k * canvas.LINE
            pen.rectangle((x, y + 3, x + 10, y + 13), fill=rgb)
            paper.paste(canvas.words([text], max(1, canvas.text_width(text))), (x + 16, y))
    return paper
