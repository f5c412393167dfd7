"""Attributions of a table's columns as bars: longest first, zero line in the middle, whiskers for the 95 % interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xplain.core.attribution import Attribution
from xplain.core.errors import NonFinite
from xplain.render import canvas
from xplain.render.colormap import Colormap

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_BARS", "bars"]

MOST_BARS = 20
"""Columns that are drawn; the rest is added up in a last line."""

_WIDTH = 260
_STEP = 20
_LABEL = 160
_TWO_SIDED = 1.96  # 95 % of a normal distribution


def bars(one: Attribution, colours: Colormap, limit: float | None = None) -> Image:
    """The columns of one item, by descending |value|.

    Args:
        one: An attribution of one item, values ``[1, S]``.
        colours: Positive bars get its upper end, negative ones its lower.
        limit: Value of a full bar; None takes the largest |value| with its interval.

    Raises:
        NonFinite: the values hold NaN or infinity.
    """
    from PIL import Image, ImageDraw

    values = np.asarray(one.values[0], np.float64)
    if not np.isfinite(values).all():
        raise NonFinite(f"The values of {one.method!r} are not all finite, so they are not drawn.")
    errors = None if one.error is None else np.asarray(one.error[0], np.float64)
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:MOST_BARS], order[MOST_BARS:]
    reached = np.abs(values) + (0.0 if errors is None else _TWO_SIDED * errors)
    full = limit or float(reached.max(initial=0.0)) or 1.0
    zero = _LABEL + (_WIDTH // 2 if one.signed else 0)
    reach = _WIDTH // 2 if one.signed else _WIDTH
    paper = Image.new("RGB", (_LABEL + _WIDTH + 70, _STEP * (len(shown) + bool(len(rest)))), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    for k, column in enumerate(shown):
        value, y = values[column], k * _STEP
        length = round(float(np.clip(value / full, -1, 1)) * reach)
        colour = tuple(int(c) for c in colours.paint(np.array(0.75 * np.sign(value)), 1.0))
        paper.paste(canvas.words([_name(one, int(column))], _LABEL - 6), (0, y + 2))
        pen.rectangle((zero + min(0, length), y + 3, zero + max(0, length), y + _STEP - 4), fill=colour)
        if errors is not None:
            spread = value + np.array([-1, 1]) * _TWO_SIDED * errors[column]
            left, right = (zero + np.rint(np.clip(spread / full, -1, 1) * reach)).astype(int).tolist()
            pen.line((left, y + _STEP // 2, right, y + _STEP // 2), canvas.INK)
        paper.paste(canvas.words([f"{value:.3g}"], 64), (_LABEL + _WIDTH + 6, y + 2))
    pen.line((zero, 0, zero, len(shown) * _STEP), canvas.PALE)
    if len(rest):
        text = f"{len(rest)} more columns, together {values[rest].sum():.3g}"
        paper.paste(canvas.words([text], paper.width, canvas.PALE), (0, len(shown) * _STEP + 2))
    return paper


def _name(one: Attribution, column: int) -> str:
    if one.columns is None:
        return f"column {column}"
    name = one.columns.names[column]
    return f"{name} = {one.columns.values[0][column]}" if one.columns.values else name
