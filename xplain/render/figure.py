"""Finished figures: a map with its colour bar and its words, bars for a table, and many maps on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.caveat import sentences
from xplain.core.declaring.registry import renderer
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.render import canvas
from xplain.render.bars import bars, names_of
from xplain.render.colormap import Colormap, find
from xplain.render.geometry import Box
from xplain.render.overlay import CLIP, TOP, Map, Style, border, limit_of, map_of, overlay, top_region
from xplain.render.series import series
from xplain.render.shown import Shown, kind_of
from xplain.render.slices import sheet, slice_size, told

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw", "montage", "target_of"]

_MARGIN = 10
_BAR_WIDTH = 14
_LEAST_UNIT = 90  # pixels of height that a unit is given beside a low bar
_LEAST_WIDTH = 240  # narrower figures could not hold their words
_BOX_COLOURS = (("yellow", (255, 210, 0)), ("green", (0, 200, 90)), ("pink", (230, 90, 220)))


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
    are summed. A table is drawn as bars, longest first; a series over time; a volume or a video as slices or frames.

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
    colours = find(colormap, one.signed)
    if kind_of(one) == "series" and one.values.ndim == 2:
        signal = None if one.rows is None else one.rows[0]
        errors = None if one.error is None else one.error[0]
        full = (limit or float(np.abs(one.values[0]).max())) or 1.0
        body = series(one.values[0], errors, signal, colours, full, size)
        body = canvas.row([body, _scale_bar(colours, full, one.unit, body.height)])
        ground = "Line: the series, on what each moment speaks for. " if signal is not None else ""
        return _framed(body, _heading(attribution, item), [f"{ground}Bars, over time: {one.unit}."], _doubts(one))
    if one.values.ndim == 2:
        names = names_of(one)
        count = len(names)  # the values beyond a text's own words belong to longer texts
        errors = None if one.error is None else one.error[0, :count]
        body = bars(one.values[0, :count], errors, names, colours, limit, "words" if one.texts else "columns")
        return _framed(body, _heading(attribution, item), [f"Bars: {one.unit}."], _doubts(one))
    drawn = map_of(attribution, item, native_resolution)
    scale = limit_of(drawn.values) if limit is None else limit
    style = Style(alpha, _zoom(drawn, size), line and drawn.values.ndim == 2, hatch)
    if drawn.values.ndim == 3:
        body = canvas.row([sheet(drawn, scale, colours, style, _word(one)), _scale_bar(colours, scale, one.unit, 160)])
        legend = [told(drawn, _word(one)), *_legend([drawn], scale, style, limit is None)]
        return _framed(body, _heading(attribution, item), legend, _doubts(one))
    laid = overlay(drawn, scale, colours, style)
    named = list(zip((boxes or {}).items(), _BOX_COLOURS, strict=False))
    for (_, some), (_, colour) in named:
        border(laid, some, colour, style.zoom)
    parts = [canvas.image(laid)]
    parts.append(_scale_bar(colours, scale, one.unit, parts[0].height))
    if beside and drawn.picture is not None:
        parts.insert(0, _photo(drawn, style))
    legend = _legend([drawn], scale, style, limit is None)
    if named:
        legend.append(f"Boxes: {', '.join(f'{colour} {name}' for (name, _), (colour, _) in named)}.")
    if one.resolution is not None:
        shown = "shown as such" if native_resolution else "enlarged"
        legend.append(f"True resolution: {' x '.join(map(str, one.resolution))} cells, {shown}.")
    return _framed(canvas.row(parts), _heading(attribution, item), legend, _doubts(one))


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
    maps = {(i, k): map_of(a, i, native_resolution) for i in chosen for k, a in enumerate(attributions)}
    common = limit_of(*(m.values for m in maps.values())) if limit is None else limit
    grid: list[list[Image]] = []
    for i in chosen:
        first = maps[i, 0]
        blank = [""] * len(_heads(attributions, 0, i, 0))
        panels = [_panel(blank, _photo(first, Style(zoom=_zoom(first, size))))] if first.picture is not None else []
        for k, a in enumerate(attributions):
            drawn, colours = maps[i, k], find(colormap, a.signed)
            style = Style(alpha, _zoom(drawn, size), line, hatch)
            scale = common if share else limit_of(drawn.values) if limit is None else limit
            if drawn.values.ndim == 3:
                body = sheet(drawn, scale, colours, style, _word(a))
            else:
                body = canvas.image(overlay(drawn, scale, colours, style))
            if not share:
                body = canvas.row([body, _scale_bar(colours, scale, a.unit, body.height)], gap=6)
            panels.append(_panel(_heads(attributions, k, i, body.width), body))
        if share:
            colours = find(colormap, attributions[0].signed)
            height = panels[-1].height - canvas.LINE * len(blank)
            panels.append(_panel(blank, _scale_bar(colours, common, attributions[0].unit, height)))
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
    legend = _legend(list(maps.values()), common, style, limit is None, share)
    doubts = [f"{a.method}: {text}" for a in attributions for i in chosen for text in _doubts(a[i])]
    return _framed(canvas.column(rows, gap=14), [], legend, list(dict.fromkeys(doubts)))


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


def _word(one: Shown) -> str:
    """What a volume's first position axis is made of."""
    return "frame" if "T" in one.layout.partition(" ")[0] else "slice"


def _zoom(drawn: Map, size: int) -> int:
    height, width = drawn.values.shape[-2:]
    size = slice_size(drawn.values, size) if drawn.values.ndim == 3 else size
    return max(1, -(-size // max(int(height), int(width))))


def _photo(drawn: Map, style: Style) -> Image:
    """The picture in its own colours, pixel by pixel as large as the map."""
    return canvas.image(np.asarray(drawn.picture).repeat(style.zoom, axis=0).repeat(style.zoom, axis=1))


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


def _legend(maps: Sequence[Map], limit: float, style: Style, automatic: bool, shared: bool = True) -> list[str]:
    """What a person must know to read the colours."""
    sizes = np.concatenate([np.abs(m.values).ravel() for m in maps])
    if not sizes.any():
        return ["All values are zero."]
    signed = any(m.signed for m in maps)
    if shared:
        how = f"{CLIP:.0f}th percentile of |value|" if automatic else "as given"
        out = [f"Limit {'±' if signed else ''}{limit:.3g} ({how}); {np.mean(sizes > limit):.1%} of them lie beyond."]
    else:
        out = ["Each map has its own limit" + (f", the {CLIP:.0f}th percentile of |value|." if automatic else ".")]
    if style.line and any(top_region(m).any() for m in maps if m.values.ndim == 2):
        out.append(f"Line: the {TOP:.0f} % of positions with the highest values.")
    noise = [m.noise for m in maps if m.noise is not None]
    if noise and style.hatch:
        share = np.mean(np.concatenate([n.ravel() for n in noise]))
        out.append(f"Hatched ({share:.0%}): the 95 % interval contains zero.")
    return out


def _scale_bar(colours: Colormap, limit: float, unit: str, height: int) -> Image:
    """The colour bar with ticks, and the unit beside it."""
    from PIL import Image, ImageDraw

    low = -1.0 if colours.signed else 0.0
    inner = max(height - canvas.LINE, 3)
    marks = np.linspace(low, 1.0, 5) if inner >= 5 * canvas.LINE else np.array([low, 1.0])
    marks = marks if limit > 0 else np.array([0.0])
    labels = [_tick(share * limit) for share in marks]
    wide = _BAR_WIDTH + 8 + max(canvas.text_width(text) for text in labels)
    bar = Image.new("RGB", (wide, inner + canvas.LINE), canvas.PAPER)
    top = canvas.LINE // 2
    shades = colours.paint(np.linspace(1.0, low, inner), 1.0)
    bar.paste(canvas.image(np.repeat(shades[:, None], _BAR_WIDTH, axis=1)), (0, top))
    pen = ImageDraw.Draw(bar)
    pen.rectangle((0, top, _BAR_WIDTH - 1, top + inner - 1), outline=canvas.PALE)
    for share, text in zip(marks, labels, strict=True):
        y = top + round((1.0 - share) / (1.0 - low) * (inner - 1))
        pen.line((_BAR_WIDTH, y, _BAR_WIDTH + 3, y), canvas.PALE)
        bar.paste(canvas.words([text], canvas.text_width(text)), (_BAR_WIDTH + 6, y - canvas.LINE // 2))
    return canvas.row([bar, canvas.sideways(unit, max(bar.height, _LEAST_UNIT))], gap=2)


def _tick(value: float) -> str:
    return f"{value:.3g}" if value <= 0 else f"{value:+.3g}"
