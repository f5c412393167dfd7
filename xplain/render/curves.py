"""Numbers of layers: dimensions as curves with their intervals, two models' layers as tables of colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.keeping.plain import brief_layer, counted, without_shared_folders
from xplain.render import canvas
from xplain.render.colormap import find

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownComparison", "ShownDimensions", "dimensions", "matrix"]

_MARGIN, _WIDE, _HIGH = 14, 760, 300
_COLOURS = ((0, 114, 178), (0, 158, 115), (213, 94, 0))


class ShownDimensions(Protocol):
    """Dimensions of layers; ``xplain.results.Dimensions`` is one."""

    names: tuple[str, ...]
    values: Array
    estimators: tuple[str, ...]
    points: Array
    duplicates: Array
    widths: Array
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    def __len__(self) -> int: ...


class ShownComparison(Protocol):
    """Two models' layers; ``xplain.results.Comparison`` is one."""

    names: tuple[str, ...]
    others: tuple[str, ...]
    alignment: Array
    shared: Array
    different: tuple[str, ...]
    agreement: Array
    thumbnails: Array | None
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    def __len__(self) -> int: ...


@renderer("dimensions", draws="dimensions")
def dimensions(shown: ShownDimensions) -> Image:
    """Each estimator's dimension over the layers, with a bar from end to end of its interval."""
    from PIL import Image, ImageDraw

    values = shown.values
    top = float(np.nanmax(values)) * 1.1 if np.isfinite(values).any() else 1.0
    paper = Image.new("RGB", (_WIDE, _HIGH), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    left, bottom = 44, _HIGH - 24

    def at(n: float, value: float) -> tuple[float, float]:
        return left + (n + 0.5) * (_WIDE - left - 8) / len(shown), bottom - value / top * (bottom - 10)

    for tick in _ticks(top):
        y = at(0, tick)[1]
        pen.line([(left, y), (_WIDE, y)], (225, 225, 225))
        text = f"{tick:g}"
        paper.paste(canvas.words([text], max(1, canvas.text_width(text)), canvas.PALE), (2, int(y) - 8))
    for k, colour in zip(range(values.shape[1]), _COLOURS, strict=False):
        shift = (k - (values.shape[1] - 1) / 2) * 0.08
        line = [at(n + shift, v) for n, v in enumerate(values[:, k, 0]) if np.isfinite(v)]
        if len(line) > 1:
            pen.line(line, colour, 2)
        for n, (value, low, high) in enumerate(values[:, k]):
            if not np.isfinite(value):
                continue
            x, y = at(n + shift, value)
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
            if np.isfinite(low) and np.isfinite(high):
                pen.line([at(n + shift, low), at(n + shift, high)], colour, 2)
    for n in range(len(shown)):
        text = str(n + 1)
        paper.paste(canvas.words([text], canvas.text_width(text), canvas.PALE), (int(at(n, 0)[0]) - 3, bottom + 5))
    keys = [
        canvas.words([name], max(1, canvas.text_width(name)), colour)
        for name, colour in zip(shown.estimators, _COLOURS, strict=False)
    ]
    lines = []
    for n, name in enumerate(shown.names):
        left_out = f", {shown.duplicates[n]} near-duplicates left out" if shown.duplicates[n] else ""
        lines.append(
            f"{n + 1}: {brief_layer(name)} ({shown.widths[n]} numbers, {counted(shown.points[n], 'item')}{left_out})"
        )
    parts = [canvas.heading("Intrinsic dimension", _WIDE), canvas.row(keys, 24), paper]
    parts += [canvas.words(lines, _WIDE, canvas.PALE), *_told(shown.warnings, list(shown.names))]
    return _framed(canvas.column(parts, 6))


@renderer("matrix", draws="comparison")
def matrix(shown: ShownComparison) -> Image:
    """Both tables as colours with their numbers, and the items that the models see most differently."""
    chance = shown.facts.get("neighbours shared by chance", 0.0)
    parts = [canvas.heading("Two models, layer by layer", _WIDE)]
    parts.append(canvas.words(["Centred kernel alignment, debiased (1: alike up to rotation and scale)"], _WIDE))
    parts.append(_table(shown.alignment))
    said = (
        f"Share of {shown.facts.get('neighbours', '')} nearest neighbours that both agree on ({chance:.1%} by chance)"
    )
    parts.append(canvas.words([said], _WIDE))
    parts.append(_table(shown.shared))
    if shown.names == shown.others:
        layers = [f"{n + 1}: {brief_layer(name)}" for n, name in enumerate(shown.names)]
    else:
        layers = [f"row {n + 1}: {brief_layer(name)}" for n, name in enumerate(shown.names)]
        layers += [f"column {n + 1}: {brief_layer(name)}" for n, name in enumerate(shown.others)]
    half = (len(layers) + 1) // 2
    columns = [canvas.words(some, _WIDE // 2 - 8, canvas.PALE) for some in (layers[:half], layers[half:]) if some]
    parts += [canvas.row(columns, 16), canvas.words(["Below each number: its 95 % interval."], _WIDE, canvas.PALE)]
    if shown.different:
        parts.append(
            canvas.words(["Seen most differently, at the last layers of both (1 below a picture: seen alike):"], _WIDE)
        )
        parts.append(_different(shown))
    return _framed(canvas.column([*parts, *_told(shown.warnings, list(shown.names))], 6))


def _table(values: Array) -> Image:
    """A cell per pair of layers; dark is alike."""
    from PIL import Image, ImageDraw

    rows, columns = values.shape[:2]
    wide, high = max(64, min(110, (_WIDE - 30) // columns)), 40
    paper = Image.new("RGB", (30 + wide * columns, 18 + high * rows), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    colours = find("heat", False).paint(np.clip(values[..., 0], 0, 1) * 0.85, 1.0)
    for q in range(columns):
        paper.paste(canvas.words([str(q + 1)], 20, canvas.PALE), (30 + q * wide + wide // 2 - 4, 0))
    for p in range(rows):
        paper.paste(canvas.words([str(p + 1)], 20, canvas.PALE), (8, 18 + p * high + 12))
        for q in range(columns):
            x, y = 30 + q * wide, 18 + p * high
            rgb = tuple(int(c) for c in colours[p, q])
            pen.rectangle((x, y, x + wide - 2, y + high - 2), fill=rgb)
            ink = canvas.PAPER if sum(rgb) < 360 else canvas.INK
            value, low, high_end = values[p, q]
            pen.text((x + 6, y + 3), f"{value:.3f}", ink, font=_font(13))
            pen.text((x + 6, y + 21), f"{low:.2f} to {high_end:.2f}", ink, font=_font(10))
    return paper


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _different(shown: ShownComparison) -> Image:
    tiles = []
    digits = _digits(shown.agreement)
    for n, name in enumerate(without_shared_folders(shown.different)):
        text = [canvas.fitted(name, 116), f"{shown.agreement[n]:.{digits}f}"]
        parts = [canvas.words(text, 116, canvas.PALE)]
        if shown.thumbnails is not None:
            parts.insert(0, canvas.image(shown.thumbnails[n]).resize((116, 116)))
        tiles.append(canvas.column(parts, 2))
    lines = [canvas.row(tiles[k : k + 6], 8) for k in range(0, len(tiles), 6)]
    return canvas.column(lines, 6)


def _digits(agreement: Array) -> int:
    """As many as it takes, up to six, that no item reads 1 which is not seen alike."""
    below = [float(one) for one in agreement if one < 1]
    return next((k for k in range(2, 6) if all(float(f"{one:.{k}f}") < 1 for one in below)), 6)


def _told(warnings: tuple[Caveat, ...], names: Sequence[str]) -> list[Image]:
    told = sentences(warnings, list(names), brief=True)
    return [canvas.words(told, _WIDE, canvas.ALERT)] if told else []


def _ticks(top: float) -> list[float]:
    """About five round numbers from 0 to the top."""
    step = 10 ** np.floor(np.log10(top / 4)) if top > 0 else 1.0
    step *= next((m for m in (1, 2, 5, 10) if top / (step * m) <= 6), 10)
    return [float(k * step) for k in range(int(top / step) + 1)]


def _framed(body: Image) -> Image:
    from PIL import Image

    paper = Image.new("RGB", (body.width + 2 * _MARGIN, body.height + 2 * _MARGIN), canvas.PAPER)
    paper.paste(body, (_MARGIN, _MARGIN))
    return paper
