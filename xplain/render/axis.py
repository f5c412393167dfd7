"""Axes of drawings: round numbers along a length, and strips that carry them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xplain.render import canvas

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["across", "down", "number", "ticks"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICK = 4
_APART = 14  # pixels between two labels, at least


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends, evenly spaced, ``most`` at most; the lower end alone where both are equal."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in _STEPS if one * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick's label: no more digits than it needs."""
    return f"{value:.6g}" if value else "0"


def across(width: int, low: float, high: float, unit: str) -> Image:
    """A strip of ``width`` pixels below a drawing, whose left edge is ``low`` and whose right edge is ``high``."""
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (width, _TICK + 2 * canvas.LINE), canvas.PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((0, 0, width - 1, 0), canvas.PALE)
    least = max((canvas.text_width(number(one)) for one in (low, high)), default=0) + _APART
    free = 0
    for at in ticks(low, high, max(2, min(9, width // max(least, 1)))):
        x = round((at - low) / (high - low) * (width - 1)) if high > low else 0
        text = number(at)
        wide = canvas.text_width(text)
        left = min(max(0, x - wide // 2), width - wide)
        pen.line((x, 0, x, _TICK), canvas.PALE)
        if left >= free:
            pen.text((left, _TICK), text, canvas.PALE, font=canvas.font())
            free = left + wide + _APART // 2
    name = canvas.fitted(unit, width)
    pen.text(
        (max(0, (width - canvas.text_width(name)) // 2), _TICK + canvas.LINE), name, canvas.PALE, font=canvas.font()
    )
    return strip


def down(height: int, places: Sequence[tuple[float, str]], unit: str = "") -> Image:
    """A strip of ``height`` pixels at the left of a drawing: labels, each at a share of the height from the top."""
    from PIL import Image, ImageDraw

    wide = max([canvas.text_width(text) for _, text in places], default=0) + _TICK + 3
    strip = Image.new("RGB", (wide, height), canvas.PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((wide - 1, 0, wide - 1, height - 1), canvas.PALE)
    last = -math.inf
    for share, text in sorted(places):
        y = round(float(np.clip(share, 0, 1)) * (height - 1))
        if y - last < canvas.LINE:
            continue
        last = y
        pen.line((wide - _TICK - 1, y, wide - 1, y), canvas.PALE)
        top = min(max(0, y - canvas.LINE // 2), height - canvas.LINE)
        pen.text((wide - _TICK - 3 - canvas.text_width(text), top), text, canvas.PALE, font=canvas.font())
    return canvas.row([canvas.sideways(unit, height), strip], gap=2) if unit else strip
