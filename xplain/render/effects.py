"""What a model does over a whole table: how the score goes with a column, and what each column is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.render import canvas
from xplain.render.colormap import find

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownEffect", "ShownImportance", "effect_curve", "importance_bars"]

_MARGIN, _WIDE, _HIGH, _LEFT = 14, 640, 300, 76
_TWO_SIDED = 1.96  # 95 % of a normal distribution
_CURVES = 60
"""Rows whose own curves are drawn."""
_BAND, _FAINT, _LINE, _GRID = (205, 222, 240), (215, 215, 215), (0, 90, 160), (232, 232, 232)
_MOST = 30


class ShownEffect(Protocol):
    """A column's effect; ``xplain.results.Effect`` is one."""

    kind: str
    column: str
    grid: Array
    mean: Array
    error: Array
    curves: Array

    @property
    def target(self) -> str:
        """What is explained."""

    def __len__(self) -> int: ...


class ShownImportance(Protocol):
    """What columns are worth; ``xplain.results.Importance`` is one."""

    kind: str
    measure: str
    columns: tuple[str, ...]
    values: Array
    error: Array

    def __len__(self) -> int: ...


@renderer("effect", draws="effect")
def effect_curve(shown: ShownEffect) -> Image:
    """The effect along the column with its 95 % band; of partial dependence also the curves of single rows (ICE)."""
    from PIL import Image, ImageDraw

    grid, mean, half = shown.grid, shown.mean, _TWO_SIDED * shown.error
    own = shown.curves[:_CURVES] if shown.curves.shape[1] == len(grid) else np.zeros((0, len(grid)))
    low = min(float((mean - half).min()), float(own.min(initial=np.inf)))
    high = max(float((mean + half).max()), float(own.max(initial=-np.inf)))
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-12 else (low, high)
    span = float(grid[-1] - grid[0]) or 1.0
    paper = Image.new("RGB", (_WIDE, _HIGH), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    right, bottom = _WIDE - 12, _HIGH - 26

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - float(grid[0])) / span * (right - _LEFT)
        return across, bottom - (y - low) / (high - low) * (bottom - 10)

    for y in np.linspace(low, high, 5):
        pen.line([at(float(grid[0]), float(y)), at(float(grid[-1]), float(y))], _GRID)
        _label(paper, f"{y:+.3g}", (_LEFT - 8, int(at(0, float(y))[1]) - 8), right=True)
    edge = [at(x, y) for x, y in zip(grid, mean + half, strict=True)]
    pen.polygon([*edge, *reversed([at(x, y) for x, y in zip(grid, mean - half, strict=True)])], fill=_BAND)
    for curve in own:
        pen.line([at(x, y) for x, y in zip(grid, curve, strict=True)], _FAINT)
    line = [at(x, y) for x, y in zip(grid, mean, strict=True)]
    pen.line(line, _LINE, 2)
    for x, y in line:
        pen.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=_LINE)
        pen.line([(x, bottom), (x, bottom + 4)], canvas.PALE)
    _label(paper, f"{grid[0]:.4g}", (_LEFT, bottom + 6))
    _label(paper, f"{grid[-1]:.4g}", (right, bottom + 6), right=True)
    what = "partial dependence" if shown.kind == "pdp" else "accumulated local effect"
    said = f"{what} on the score of {shown.target!r}, {counted(len(shown), 'row')}; band: 95 % over the rows"
    said += f"; faint: {len(own)} single rows" if len(own) else "; marks: edges of the bins"
    return _framed(canvas.column([canvas.heading(shown.column, _WIDE), canvas.words([said], _WIDE), paper], 6))


@renderer("importance", draws="importance")
def importance_bars(shown: ShownImportance) -> Image:
    """The columns by what they are worth, the dearest first, with 95 % intervals; grey where one holds zero."""
    from PIL import Image, ImageDraw

    order = np.argsort(-shown.values, kind="stable")[:_MOST]
    half = _TWO_SIDED * shown.error
    low = min(0.0, float((shown.values - half)[order].min()))
    high = max(float((shown.values + half)[order].max()), low + 1e-12)
    left, step = 190, 20
    paper = Image.new("RGB", (_WIDE, step * len(order) + 4), canvas.PAPER)
    pen = ImageDraw.Draw(paper)

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDE - left - 80)

    shade = tuple(int(one) for one in find(None, False).table[-60])
    for row, k in enumerate(order):
        top, value = row * step + 3, float(shown.values[k])
        sure = abs(value) > half[k]
        pen.rectangle((min(at(0), at(value)), top, max(at(0), at(value)), top + 12), fill=shade if sure else _FAINT)
        pen.line([(at(value - half[k]), top + 6), (at(value + half[k]), top + 6)], canvas.INK)
        _label(paper, canvas.fitted(shown.columns[k], left - 12), (left - 8, top - 3), right=True)
        _label(paper, f"{value:+.3g}", (int(at(max(0.0, value) + half[k])) + 6, top - 3))
    said = f"{shown.kind}: what the {shown.measure} rises by without a column, {counted(len(shown), 'row')}; line: 95 %"
    more = len(shown.values) - len(order)
    said += f"; {more} more are not drawn" if more else ""
    return _framed(canvas.column([canvas.heading("Importance", _WIDE), canvas.words([said], _WIDE), paper], 6))


def _label(paper: Image, text: str, place: tuple[float, float], right: bool = False) -> None:
    wide = max(1, canvas.text_width(text))
    x = int(place[0]) - (wide if right else 0)
    paper.paste(canvas.words([text], wide + 1, canvas.PALE), (max(0, x), int(place[1])))


def _framed(body: Image) -> Image:
    from PIL import Image

    paper = Image.new("RGB", (body.width + 2 * _MARGIN, body.height + 2 * _MARGIN), canvas.PAPER)
    paper.paste(body, (_MARGIN, _MARGIN))
    return paper
