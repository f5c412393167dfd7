"""Attributions of columns or words as bars: longest first, zero line in the middle, whiskers for the 95 % interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.render import canvas
from xplain.render.colormap import Colormap
from xplain.render.shown import Shown

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_BARS", "Name", "bars", "names_of"]

Name: TypeAlias = tuple[str, str]
"""What a feature is called, and what the item holds there."""

MOST_BARS = 20
"""Features that are drawn; the rest is added up in a last line."""

_WIDTH = 260
_STEP = 20
_LEAST_LABEL, _MOST_LABEL = 80, 360  # pixels: longer names are shortened, the value behind them is not
_GAP = 6
_TWO_SIDED = 1.96  # 95 % of a normal distribution


def bars(
    values: Array,
    errors: Array | None,
    names: Sequence[Name],
    colours: Colormap,
    limit: float | None = None,
    what: str = "columns",
) -> Image:
    """Features of one item by descending |value|: the columns of a row, or the words of a text.

    Every line holds one feature: a name too long for it is shortened in its middle, and what the item holds there
    stays readable.

    Args:
        values: ``[S]``.
        errors: Standard error of each, or None.
        names: What each is called, and what the item holds there, such as ``(age, " = 30")``.
        colours: Positive bars get its upper end, negative ones its lower.
        limit: Value of a full bar; None takes the largest |value| with its interval.
        what: What several of them are called.

    Raises:
        NonFinite: the values hold NaN or infinity.
    """
    from PIL import Image, ImageDraw

    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise NonFinite("Values that are not all finite are not drawn as bars.")
    errors = None if errors is None else np.asarray(errors, np.float64)
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:MOST_BARS], order[MOST_BARS:]
    reached = np.abs(values) + (0.0 if errors is None else _TWO_SIDED * errors)
    full = limit or float(reached.max(initial=0.0)) or 1.0
    called = [names[k] for k in shown]
    label = min(max([_LEAST_LABEL, *(canvas.text_width(canvas.plain("".join(name))) for name in called)]), _MOST_LABEL)
    numbers = [f"{values[k]:.3g}" for k in shown]
    start = label + _GAP
    side = max([64, *map(canvas.text_width, numbers)]) + _GAP
    zero = start + (_WIDTH // 2 if colours.signed else 0)
    reach = _WIDTH // 2 if colours.signed else _WIDTH
    paper = Image.new("RGB", (start + _WIDTH + side, _STEP * (len(shown) + bool(len(rest)))), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    for k, column in enumerate(shown):
        value, y = values[column], k * _STEP
        length = round(float(np.clip(value / full, -1, 1)) * reach)
        colour = tuple(int(c) for c in colours.paint(np.array(0.75 * np.sign(value)), 1.0))
        paper.paste(canvas.words([_fitted(*called[k], width=label)], label), (0, y + 2))
        pen.rectangle((zero + min(0, length), y + 3, zero + max(0, length), y + _STEP - 4), fill=colour)
        if errors is not None:
            spread = value + np.array([-1, 1]) * _TWO_SIDED * errors[column]
            left, right = (zero + np.rint(np.clip(spread / full, -1, 1) * reach)).astype(int).tolist()
            pen.line((left, y + _STEP // 2, right, y + _STEP // 2), canvas.INK)
        paper.paste(canvas.words([numbers[k]], side - _GAP), (start + _WIDTH + _GAP, y + 2))
    pen.line((zero, 0, zero, len(shown) * _STEP), canvas.PALE)
    if len(rest):
        text = f"{len(rest)} more {what}, together {values[rest].sum():.3g}"
        paper.paste(canvas.words([text], paper.width, canvas.PALE), (0, len(shown) * _STEP + 2))
    return paper


def names_of(one: Shown) -> list[Name]:
    """What the columns, or the words, of a result of one item are called, and what the item holds there.

    A word that occurs more than once says which it is.
    """
    if one.texts:
        words = one.texts[0].words
        times = Counter(words)
        return [(word if times[word] == 1 else f"{word} (word {k})", "") for k, word in enumerate(words, 1)]
    if one.columns is None:
        return [(f"column {column}", "") for column in range(one.values.shape[1])]
    held = [f" = {cell}" for cell in one.columns.values[0]] if one.columns.values else [""] * len(one.columns.names)
    return list(zip(one.columns.names, held, strict=True))


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
