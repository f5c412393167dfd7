"""Items with their nearest neighbours beside them: in a layer's space at the left, pixel by pixel at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted, in_figures, without_shared_folders
from xplain.render import canvas
from xplain.render.palette import RIGHT, WRONG

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownNeighbours", "strips"]

_MARGIN, _GAP, _NAME = 12, 8, 150
_SAME, _OTHER = RIGHT, WRONG


class ShownNeighbours(Protocol):
    """Neighbours; ``xplain.results.Neighbours`` is one, and says what each field means."""

    names: tuple[str, ...]
    near: Array
    distance: Array
    near_pixels: Array
    pixel_distance: Array
    predicted: tuple[str, ...]
    truth: tuple[str, ...]
    thumbnails: Array | None
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    def __len__(self) -> int: ...


@renderer("strips", draws="neighbours")
def strips(shown: ShownNeighbours, *, items: Sequence[int] | None = None, most: int = 12, tile: int = 80) -> Image:
    """Draw items with their neighbours.

    Args:
        shown: What to draw.
        items: Which items; None: evenly spread ones.
        most: How many, where ``items`` is None.
        tile: Pixels of a picture's side.

    Raises:
        UsageError: an argument that cannot be used, or an item that is not there.
    """
    for name, value in (("most", most), ("tile", tile)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(option=name, got=value, accepted="a whole number of at least 1")
    count = len(shown)
    chosen = list(items) if items is not None else np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    if any(not 0 <= n < count for n in chosen):
        raise UsageError(option="items", got=list(chosen), accepted=f"places of items, 0 to {count - 1}")
    compared = shown.near_pixels.size > 0
    if int(max(shown.near.max(), shown.near_pixels.max(initial=0))) >= count:
        raise UsageError("These are some of the items only, and their neighbours lie among all: draw the whole result.")
    names = without_shared_folders(shown.names)
    lines = [_lines(shown, names, int(n), tile) for n in chosen]
    width = max(one.width for one in lines)
    layer = brief_layer(str(shown.facts.get("layer", "")))
    parts = [canvas.heading(f"Nearest of {counted(count, 'item')}", width)]
    said = [f"At the left: nearest at layer {layer}; at the right: nearest pixel by pixel."]
    if not compared:
        said = [f"Nearest at layer {layer}."]
    metric = shown.facts.get("metric")
    if metric:
        pixels = ", of pixels from 0 to 255 Euclid's at the right" if compared and shown.thumbnails is not None else ""
        said.append(
            f"Below each: its {'distance' if metric == 'euclidean' else 'cosine distance'} at the layer{pixels}."
        )
    if len(chosen) < count:
        spread = ", evenly spread" if items is None else ""
        said.append(f"Drawn: {len(chosen)} of {counted(count, 'item')}{spread}; the numbers are of all.")
    if shown.truth or shown.predicted:
        word = "true" if shown.truth else "predicted"
        said.append(f"Blue: of the same {word} class; orange: of another.")
        both = shown.facts.get(f"of one {word} class")
        if both:
            pixels = f", {both['pixels']:.1%} by pixels" if compared else ""
            said.append(f"Of one class over all items: {both['features']:.1%} at the layer{pixels}.")
    parts += [canvas.words(said, width, canvas.PALE), *lines]
    told = sentences(shown.warnings, list(shown.names), brief=True)
    if told:
        parts.append(canvas.words(told, width, canvas.ALERT))
    return _framed(canvas.column(parts, _GAP))


def _framed(body: Image) -> Image:
    from PIL import Image

    paper = Image.new("RGB", (body.width + 2 * _MARGIN, body.height + 2 * _MARGIN), canvas.PAPER)
    paper.paste(body, (_MARGIN, _MARGIN))
    return paper


def _lines(shown: ShownNeighbours, names: Sequence[str], n: int, tile: int) -> Image:
    """One item, and its neighbours of both kinds in a row."""
    labels = shown.truth or shown.predicted
    name = [canvas.fitted(names[n] if names else str(n), _NAME)]
    name += [canvas.fitted(labels[n], _NAME)] if labels else []
    head = canvas.column([_tile(shown, n, tile, None), canvas.words(name, _NAME, canvas.PALE)], 2)
    rows = []
    kinds = [(shown.near, shown.distance), (shown.near_pixels, shown.pixel_distance)]
    for near, far in kinds if shown.near_pixels.size else kinds[:1]:
        cells = []
        for other, distance in zip(near[n], far[n], strict=True):
            same = None if not labels else labels[int(other)] == labels[n]
            caption = labels[int(other)] if labels else names[int(other)] if names else str(other)
            text = [canvas.fitted(caption, tile), canvas.fitted(in_figures(float(distance)), tile)]
            cells.append(
                canvas.column([_tile(shown, int(other), tile, same), canvas.words(text, tile, canvas.PALE)], 1)
            )
        rows.append(canvas.row(cells, 4))
    return canvas.row([canvas.widened(head, _NAME), canvas.row(rows, 3 * _GAP)], _GAP)


def _tile(shown: ShownNeighbours, n: int, tile: int, same: bool | None) -> Image:
    """A picture, framed by whether it is of the same class; without a picture a plain tile."""
    from PIL import Image, ImageDraw
    from PIL.Image import Resampling

    if shown.thumbnails is None:
        drawn = Image.new("RGB", (tile, tile // 4), (236, 236, 236))
    else:
        drawn = canvas.image(shown.thumbnails[n]).resize((tile, tile), Resampling.BICUBIC)
    if same is not None:
        line = max(2, tile // 28)
        pen = ImageDraw.Draw(drawn)
        pen.rectangle((0, 0, drawn.width - 1, drawn.height - 1), outline=_SAME if same else _OTHER, width=line)
    return drawn
