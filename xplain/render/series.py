"""A series over time: its line where it was kept, coloured by what each moment speaks for, and the values as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.render import canvas
from xplain.render.colormap import Colormap

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["series"]

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_LINE, _BARS, _GAP = 90, 110, 8  # heights in pixels


def series(
    values: Array, errors: Array | None, signal: Array | None, colours: Colormap, limit: float, width: int
) -> Image:
    """One item over time, the first moment at the left; upper half the signal, lower half the values with their sign.

    Args:
        values: ``[T]``.
        errors: Standard error of each, or None.
        signal: ``[T]``, or None where the items were not kept, or have several channels.
        colours: The signal's ground is painted with it.
        limit: Value of a full bar and of the last colour.
        width: Pixels, at least.

    Raises:
        NonFinite: the values hold NaN or infinity.
    """
    from PIL import Image, ImageDraw

    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise NonFinite("Values that are not all finite are not drawn over time.")
    step = max(1, -(-width // len(values)))
    wide = step * len(values)
    height = (_LINE + _GAP if signal is not None else 0) + _BARS + canvas.LINE
    paper = Image.new("RGB", (wide, height), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    top = 0
    if signal is not None:
        ground = np.repeat(colours.paint(values, limit)[None], _LINE, axis=0)
        paper.paste(canvas.image(np.repeat(ground, step, axis=1)), (0, 0))
        low, high = float(np.min(signal)), float(np.max(signal))
        level = (np.asarray(signal, np.float64) - low) / (high - low if high > low else 1.0)
        places = [(k * step + step // 2, round(_LINE - 5 - v * (_LINE - 10))) for k, v in enumerate(level)]
        pen.line(places, canvas.INK, 2) if len(places) > 1 else pen.point(places, canvas.INK)
        top = _LINE + _GAP
    zero = top + (_BARS // 2 if colours.signed else _BARS)
    reach = _BARS // 2 if colours.signed else _BARS
    tall = np.rint(np.clip(values / (limit or 1.0), -1, 1) * reach).astype(int).tolist()
    spread = None if errors is None else _TWO_SIDED * np.asarray(errors, np.float64)
    for k, bar in enumerate(tall):
        colour = tuple(int(c) for c in colours.paint(np.array(0.75 * np.sign(values[k])), 1.0))
        pen.rectangle((k * step, min(zero, zero - bar), (k + 1) * step - 1, max(zero, zero - bar)), fill=colour)
        if spread is not None and step > 2:
            ends = np.clip((values[k] + np.array([-1, 1]) * spread[k]) / (limit or 1.0), -1, 1) * reach
            low_end, high_end = (zero - np.rint(ends)).astype(int).tolist()
            pen.line((k * step + step // 2, low_end, k * step + step // 2, high_end), canvas.INK)
    pen.line((0, zero, wide, zero), canvas.PALE)
    marks = sorted({0, len(values) // 2, len(values) - 1})
    for k in marks:
        text = canvas.words([str(k)], canvas.text_width(str(k)), canvas.PALE)
        paper.paste(text, (min(k * step, wide - text.width), height - canvas.LINE))
    return paper
