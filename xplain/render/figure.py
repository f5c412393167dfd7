"""Finished figures: a map with its colour bar and its words, bars for a table, and many maps on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.caveat import sentences
from xplain.core.declaring.registry import renderer
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.render import canvas
from xplain.render.bodies import Look, body_of, map_like, panel_of, photo, zoom_of
from xplain.render.colormap import find
from xplain.render.geometry import Box
from xplain.render.legends import legend, scale_bar
from xplain.render.overlay import Style, limit_of
from xplain.render.shown import Shown

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw", "montage", "side_by_side", "target_of"]

_MARGIN = 10
_LEAST_WIDTH = 240  # narrower figures could not hold their words


@renderer("figure")
def draw(
    attribution: Shown,
    item: int = 0,
    *,
    limit: float | None = None,
    native_resolution: bool = False,
    alpha: float = 0.8,
    colormap: str | None = None,
    line: bool = True,
    hatch: bool = True,
    beside: bool = False,
    boxes: Mapping[str, Sequence[Box]] | None = None,
    size: int = 360,
) -> Image:
    """Draw one item: the map over its grey picture, the colour bar with its unit, and what must be known to read it.

    Colours saturate at ``limit``; a signed map shows zero in the neutral colour and both signs on one scale. Channels
    are summed. A table is drawn as bars, longest first. A series has a row per channel, its line coloured by what each
    moment speaks for; a spectrogram has axes in hertz and seconds; many bands have their shares and small maps; a
    volume has three planes through its most important place, projections and slices; a video has frames.

    Args:
        attribution: What to draw.
        item: Which item; negative counts from the end.
        limit: Value of the last colour; None takes the 99th percentile of |value|. Give the same limit to figures
            that are to be compared, or use ``montage``.
        native_resolution: Show the true cells behind a map that was enlarged.
        alpha: Opacity of the strongest colour, 0 to 1.
        colormap: ``blue-red``, ``purple-green`` (signed and unsigned), ``heat``, ``grey`` (unsigned).
        line: Enclose the 10 % of positions with the highest values.
        hatch: Grey out and hatch positions whose 95 % interval contains zero, where the method gives an error.
        beside: Put the picture in its own colours to the left.
        boxes: Boxes (y0, x0, y1, x1) in positions of the map, by what they are called; each name has its colour.
        size: The longer side of the map in pixels, at least; small pictures are enlarged by a whole number.

    Raises:
        UsageError: an argument that cannot be used, or values that cannot be drawn.
        NonFinite: the values hold NaN or infinity.
    """
    _check(limit, alpha, size)
    one = attribution[item]
    look = Look(find(colormap, one.signed), limit, native_resolution, alpha, line, hatch, beside, boxes or {}, size)
    body, told = body_of(one, look)
    return _framed(body, _heading(attribution, item), told, _doubts(one))


@renderer("inputs")
def side_by_side(
    attribution: Shown,
    item: int = 0,
    *,
    limit: float | None = None,
    native_resolution: bool = False,
    alpha: float = 0.8,
    colormap: str | None = None,
    line: bool = True,
    hatch: bool = True,
    beside: bool = False,
    size: int = 240,
) -> Image:
    """Draw one item of several inputs: each picture's map, and bars of tokens and columns, all on one scale.

    Over each stands its name, and its share of the size of all values.

    Args:
        attribution: What to draw, of several inputs.
        item: Which item.
        limit: As in ``draw``; None takes the largest of the inputs' own limits.
        native_resolution: As in ``draw``; so are the arguments that follow.
        alpha: Opacity of the strongest colour.
        colormap: Name of the colour map.
        line: Enclose the highest positions.
        hatch: Mark noise.
        beside: Put each picture in its own colours above its map.
        size: The longer side of each map in pixels, at least.

    Raises:
        UsageError: the attribution is of one input.
    """
    _check(limit, alpha, size)
    parts = {name: one[item] for name, one in attribution.by_input().items()}
    if not parts:
        raise UsageError("The attribution is of one input, so nothing stands beside it. Draw it as a figure.")
    sizes = {name: float(np.abs(one.values).sum(dtype=np.float64)) for name, one in parts.items()}
    maps = {name: map_like(one, native_resolution) for name, one in parts.items() if one.values.ndim > 2}
    own = [limit_of(maps[name].values if name in maps else one.values) for name, one in parts.items()]
    scale = limit or max(own)
    look = Look(find(colormap, attribution.signed), None, native_resolution, alpha, line, hatch, size=size)
    panels = []
    for name, one in parts.items():
        if name not in maps:
            body, _ = body_of(one, replace(look, limit=scale or None))
        else:
            body = panel_of(one, maps[name], look, scale)
            if beside and maps[name].picture is not None:
                body = canvas.column([photo(maps[name], zoom_of(maps[name], size)), body])
        share = sizes[name] / (sum(sizes.values()) or 1.0)
        panels.append(_panel([f"{name}: {share:.0%} of all sizes"], canvas.widened(body, _LEAST_WIDTH // 2)))
    tall = max(panel.height for panel in panels) - canvas.LINE
    panels.append(_panel([""], scale_bar(look.colours, scale, attribution.unit, min(tall, size))))
    told = legend(list(maps.values()), scale, Style(alpha, 1, line, hatch), limit is None) if maps else []
    return _framed(canvas.row(panels), _heading(attribution, item), told, _doubts(attribution[item]))


def montage(
    attributions: Sequence[Shown],
    *,
    items: Sequence[int] | None = None,
    share: bool = True,
    limit: float | None = None,
    native_resolution: bool = False,
    alpha: float = 0.8,
    colormap: str | None = None,
    line: bool = True,
    hatch: bool = True,
    size: int = 200,
) -> Image:
    """Draw several attributions of the same items: a row per item, a column per attribution.

    Args:
        attributions: What to draw; all of the same items.
        items: Which items, in this order; None draws all.
        share: One limit, and so one colour bar, for all maps. Maps of different units have no common scale, so
            sharing them is an error. False gives every map its own limit and bar.
        limit: The limit of all maps; None takes the 99th percentile of |value|, over all maps where they share.
        native_resolution: As in ``draw``; so are the arguments that follow.
        alpha: Opacity of the strongest colour.
        colormap: Name of the colour map.
        line: Enclose the highest positions.
        hatch: Mark noise.
        size: The longer side of each map in pixels, at least.

    Raises:
        UsageError: nothing to draw, different numbers of items, or one scale for different units.
        NonFinite: the values hold NaN or infinity.
    """
    _check(limit, alpha, size)
    counts = {len(a) for a in attributions}
    if len(counts) != 1 or counts == {0}:
        raise UsageError(f"A montage takes attributions of the same items; got {sorted(counts) or 'none'}.")
    if share and len({(a.unit, a.signed) for a in attributions}) > 1:
        units = "; ".join(f"{a.method}: {a.unit}" for a in attributions)
        raise UsageError(f"Maps of different units have no common scale ({units}). Use ", option("share", False), ".")
    chosen = list(items) if items is not None else list(range(counts.pop()))
    maps = {(i, k): map_like(a[i], native_resolution) for i in chosen for k, a in enumerate(attributions)}
    common = limit_of(*(m.values for m in maps.values())) if limit is None else limit
    grid: list[list[Image]] = []
    for i in chosen:
        first = maps[i, 0]
        blank = [""] * len(_heads(attributions, 0, i, 0))
        panels = [_panel(blank, photo(first, zoom_of(first, size)))] if first.picture is not None else []
        for k, a in enumerate(attributions):
            drawn, colours = maps[i, k], find(colormap, a.signed)
            scale = common if share else limit_of(drawn.values) if limit is None else limit
            look = Look(colours, None, native_resolution, alpha, line, hatch, size=size)
            body = panel_of(a[i], drawn, look, scale)
            if not share:
                body = canvas.row([body, scale_bar(colours, scale, a.unit, body.height)], gap=6)
            panels.append(_panel(_heads(attributions, k, i, body.width), body))
        if share:
            colours = find(colormap, attributions[0].signed)
            height = panels[-1].height - canvas.LINE * len(blank)
            panels.append(_panel(blank, scale_bar(colours, common, attributions[0].unit, height)))
        grid.append(panels)
    widths = [max(panel.width for panel in column) for column in zip(*grid, strict=True)]
    rows: list[Image] = []
    for i, panels in zip(chosen, grid, strict=True):
        together = canvas.row([canvas.widened(p, w) for p, w in zip(panels, widths, strict=True)])
        head = (
            _heading(attributions[0], i, method=False) if _one_target(attributions, i) else [attributions[0].name_of(i)]
        )
        rows.append(canvas.column([canvas.words(head, together.width), together]))
    style = Style(alpha, 1, line, hatch)
    told = legend(list(maps.values()), common, style, limit is None, share)
    doubts = [f"{a.method}: {text}" for a in attributions for i in chosen for text in _doubts(a[i])]
    return _framed(canvas.column(rows, gap=14), [], told, list(dict.fromkeys(doubts)))


def target_of(attribution: Shown, item: int) -> str:
    """What was explained for one item, in words."""
    return attribution.target_of(item)


def _check(limit: float | None, alpha: float, size: int) -> None:
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise UsageError(option="limit", got=limit, accepted="a positive number in the unit of the values, or None")
    if not 0 <= alpha <= 1:
        raise UsageError(option="alpha", got=alpha, accepted="a number from 0 (picture only) to 1 (colours only)")
    if not 1 <= size <= 10_000:
        raise UsageError(option="size", got=size, accepted="1 to 10000 pixels")


def _panel(head: Sequence[str], body: Image) -> Image:
    return canvas.column([canvas.words(head, body.width), body], gap=0)


def _one_target(attributions: Sequence[Shown], item: int) -> bool:
    return len({target_of(a, item) for a in attributions}) == 1


def _heads(attributions: Sequence[Shown], column: int, item: int, width: int) -> list[str]:
    """What stands over a map: the method, and where maps are of different targets, which one with its score."""
    one = attributions[column]
    if _one_target(attributions, item):
        return [one.method]
    return [
        one.method,
        canvas.fitted(target_of(one, item), width),
        canvas.fitted(f"score {float(one.scores[item]):.4g}", width),
    ]


def _doubts(one: Shown) -> list[str]:
    """The first sentence of each warning of an attribution of one item; the page and the result have all of it."""
    return [f"Warning: {text}" for text in sentences(one.warnings, [""], brief=True)]


def _framed(body: Image, above: list[str], below: list[str], doubts: Sequence[str] = ()) -> Image:
    from PIL import ImageOps

    width = max(body.width, _LEAST_WIDTH)
    parts = [canvas.words(above, width)] if above else []
    parts += [body, canvas.words(below, width, canvas.PALE)]
    parts += [canvas.words(doubts, width, canvas.ALERT)] if doubts else []
    framed: Image = ImageOps.expand(canvas.column(parts), _MARGIN, canvas.PAPER)
    return framed


def _heading(attribution: Shown, item: int, method: bool = True) -> list[str]:
    one = attribution[item]
    name = attribution.name_of(item)
    what = f"{target_of(attribution, item)}, score {float(one.scores[0]):.4g}"
    return [what, f"{one.method}, {name}"] if method else [f"{name}, {what}"]
