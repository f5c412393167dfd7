"""Attributions of columns or words as bars: longest first, zero line in the middle, whiskers for the 95 % interval."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from xplain.core.errors import NonFinite
from xplain.render import canvas
from xplain.render.colormap import Colormap
from xplain.results.attribution import Attribution

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_BARS", "bars"]

MOST_BARS = 20
"""Features that are drawn; the rest is added up in a last line."""

_WIDTH = 260
_STEP = 20
_LEAST_LABEL, _MOST_LABEL = 80, 360  # pixels: longer names are shortened, the value behind them is not
_GAP = 6
_TWO_SIDED = 1.96  # 95 % of a normal distribution


def bars(one: Attribution, colours: Colormap, limit: float | None = None) -> Image:
    """The columns of one item, or the words of one text, by descending |value|.

    Every line holds one feature: a name too long for it is shortened in its middle, and what the item holds there
    stays readable.

    Args:
        one: An attribution of one item, values ``[1, S]``.
        colours: Positive bars get its upper end, negative ones its lower.
        limit: Value of a full bar; None takes the largest |value| with its interval.

    Raises:
        NonFinite: the values hold NaN or infinity.
    """
    from PIL import Image, ImageDraw

    words = _words(one)
    count = one.values.shape[1] if words is None else len(words)  # shorter texts are padded
    values = np.asarray(one.values[0, :count], np.float64)
    if not np.isfinite(values).all():
        raise NonFinite(f"The values of {one.method!r} are not all finite, so they are not drawn.")
    errors = None if one.error is None else np.asarray(one.error[0, :count], np.float64)
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:MOST_BARS], order[MOST_BARS:]
    reached = np.abs(values) + (0.0 if errors is None else _TWO_SIDED * errors)
    full = limit or float(reached.max(initial=0.0)) or 1.0
    names = [(words[k], "") if words is not None else _name(one, int(k)) for k in shown]
    label = min(max([_LEAST_LABEL, *(canvas.text_width(canvas.plain("".join(name))) for name in names)]), _MOST_LABEL)
    numbers = [f"{values[k]:.3g}" for k in shown]
    start = label + _GAP
    side = max([64, *map(canvas.text_width, numbers)]) + _GAP
    zero = start + (_WIDTH // 2 if one.signed else 0)
    reach = _WIDTH // 2 if one.signed else _WIDTH
    paper = Image.new("RGB", (start + _WIDTH + side, _STEP * (len(shown) + bool(len(rest)))), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    for k, column in enumerate(shown):
        value, y = values[column], k * _STEP
        length = round(float(np.clip(value / full, -1, 1)) * reach)
        colour = tuple(int(c) for c in colours.paint(np.array(0.75 * np.sign(value)), 1.0))
        paper.paste(canvas.words([_fitted(*names[k], width=label)], label), (0, y + 2))
        pen.rectangle((zero + min(0, length), y + 3, zero + max(0, length), y + _STEP - 4), fill=colour)
        if errors is not None:
            spread = value + np.array([-1, 1]) * _TWO_SIDED * errors[column]
            left, right = (zero + np.rint(np.clip(spread / full, -1, 1) * reach)).astype(int).tolist()
            pen.line((left, y + _STEP // 2, right, y + _STEP // 2), canvas.INK)
        paper.paste(canvas.words([numbers[k]], side - _GAP), (start + _WIDTH + _GAP, y + 2))
    pen.line((zero, 0, zero, len(shown) * _STEP), canvas.PALE)
    if len(rest):
        what = "columns" if words is None else "words"
        text = f"{len(rest)} more {what}, together {values[rest].sum():.3g}"
        paper.paste(canvas.words([text], paper.width, canvas.PALE), (0, len(shown) * _STEP + 2))
    return paper


def _words(one: Attribution) -> list[str] | None:
    """The words of a text; one that occurs more than once says which it is. None for what is no text."""
    if not one.texts:
        return None
    words = one.texts[0].words
    times = Counter(words)
    return [word if times[word] == 1 else f"{word} (word {k})" for k, word in enumerate(words, 1)]


def _name(one: Attribution, column: int) -> tuple[str, str]:
    """A column's name, and what the item holds in it."""
    if one.columns is None:
        return f"column {column}", ""
    name = one.columns.names[column]
    return name, f" = {one.columns.values[0][column]}" if one.columns.values else ""


def _fitted(name: str, value: str, *, width: int) -> str:
    """As much of a name and its value as one line holds: the value first, then both ends of the name."""
    name, value = canvas.plain(name), canvas.plain(value)
    if canvas.text_width(name + value) <= width:
        return name + value
    value = canvas.fitted(value, width // 2) if value else ""
    kept = len(name)
    while kept > 1 and canvas.text_width(_shortened(name, kept) + value) > width:
        kept -= 1
    return _shortened(name, kept) + value


def _shortened(name: str, kept: int) -> str:
    """The first and the last letters of a name, ``kept`` in all."""
    if kept >= len(name):
        return name
    last = kept // 2
    return f"{name[: kept - last].rstrip()}…{name[len(name) - last :].lstrip()}"
