"""Plots of rows and texts: bars, waterfall, mean and beeswarm, as shap's users know them, with what does not add up."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.render.bars import names_of
from xplain.render.colormap import find
from xplain.render.plot_sheet import Sheet, palette, signs
from xplain.render.shown import Shown

__all__ = ["bars", "beeswarm", "mean", "waterfall"]

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_STEP = 0.21  # inches from line to line
_LONGEST = 34  # letters of a name
_MISSING = "not accounted for"
_AGREES = 0.01  # share of the whole within which values are said to add up


def bars(sheet: Sheet, attribution: Shown, item: int) -> None:
    """One item, the largest values first, with 95 % intervals where the method gives errors."""
    labels, values, errors = _largest(sheet, attribution, item)
    axes = sheet.axes(0.75 + _STEP * len(values))
    places = np.arange(len(values))[::-1]
    axes.barh(places, values, color=signs(values), xerr=errors, error_kw={"linewidth": 0.7}, height=0.7)
    axes.axvline(0, color="0.4", linewidth=0.6)
    axes.set_yticks(places, labels)
    axes.set_xlabel(attribution.unit)
    _title(axes, attribution, item)


def waterfall(sheet: Sheet, attribution: Shown, item: int) -> None:
    """One item, from the base upwards; each value starts where the one below it ended.

    What lies between the last value and the score is drawn as a step of its own: a method whose values do not add up to
    the score is not made to look as if they did.
    """
    labels, values, _ = _largest(sheet, attribution, item)
    base = 0.0 if attribution.base is None else float(np.asarray(attribution.base)[item])
    score = float(attribution.scores[item])
    missing = score - base - float(np.sum(values))
    if abs(missing) > _AGREES * max(abs(score - base), float(np.abs(values).sum()), 1e-12):
        labels, values = [*labels, _MISSING], np.append(values, missing)
    starts = base + np.append(0.0, np.cumsum(values[::-1]))[:-1][::-1]
    axes = sheet.axes(0.85 + _STEP * len(values))
    places = np.arange(len(values))[::-1]
    colours = [(0.6, 0.6, 0.6) if name == _MISSING else c for name, c in zip(labels, signs(values), strict=True)]
    axes.barh(places, values, left=starts, color=colours, height=0.7)
    axes.use_sticky_edges = False  # else the first bar would stand at the very edge
    tiny = 1e-9 * float(np.abs(values).max(initial=0.0))
    for place, start, value in zip(places, starts, values, strict=True):
        axes.plot([start, start], [place - 1.35, place + 0.35], color="0.5", linewidth=0.5)
        beside = {"textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(f"{value if abs(value) > tiny else 0.0:+.3g}", (start + max(value, 0), place), (3, 0), **beside)
    axes.set_ylim(-0.8, len(values) - 0.4)
    axes.margins(x=0.15)
    axes.set_yticks(places, labels)
    axes.set_xlabel(f"score, from {'0' if attribution.base is None else 'the base'} {base:.4g} to {score:.4g}")
    _title(axes, attribution, item)


def mean(sheet: Sheet, attribution: Shown, item: int) -> None:
    """Mean of |value| over all rows: which columns matter to the model on these rows, whichever way."""
    del item
    sizes = np.abs(np.asarray(attribution.values, np.float64)).mean(axis=0)
    names = [name for name, _ in names_of(attribution[0])]
    order, rest = _split(sizes, sheet.most)
    labels = [*(_short(names[k]) for k in order), *([f"{len(rest)} others"] if len(rest) else [])]
    drawn = np.append(sizes[order], [sizes[rest].sum()] if len(rest) else [])
    axes = sheet.axes(0.75 + _STEP * len(drawn))
    places = np.arange(len(drawn))[::-1]
    axes.barh(places, drawn, color=find(None, True).table[-40] / 255.0, height=0.7)
    axes.set_yticks(places, labels)
    axes.set_xlabel(f"mean |{attribution.unit}|, {counted(len(attribution), 'row')}")
    axes.set_title(f"{attribution.method}: {attribution.target}", loc="left")


def beeswarm(sheet: Sheet, attribution: Shown, item: int) -> None:
    """All rows: a dot per row and column at its value, coloured by how large what the row holds there is."""
    del item
    from matplotlib.cm import ScalarMappable

    values = np.asarray(attribution.values, np.float64)
    names = [name for name, _ in names_of(attribution[0])]
    order, _ = _split(np.abs(values).mean(axis=0), sheet.most)
    axes = sheet.axes(0.9 + 0.27 * len(order))
    colours = palette(False)
    for line, column in enumerate(order[::-1]):
        held = None if attribution.rows is None else attribution.rows[:, column]
        shade = "0.45" if held is None else colours(0.15 + 0.85 * _ranks(held))
        axes.scatter(values[:, column], line + _spread(values[:, column]), s=5, c=shade, linewidths=0)
    axes.axvline(0, color="0.4", linewidth=0.6)
    axes.set_yticks(range(len(order)), [_short(names[k]) for k in order[::-1]])
    axes.set_xlabel(attribution.unit)
    axes.set_title(f"{attribution.method}: {attribution.target}", loc="left")
    if attribution.rows is not None:
        scale = sheet.figure.colorbar(ScalarMappable(cmap=colours), ax=axes, ticks=[0, 1], aspect=40)
        scale.set_ticklabels(["low", "high"])
        scale.set_label("what the row holds, by rank")


def _largest(sheet: Sheet, attribution: Shown, item: int) -> tuple[list[str], Array, Array | None]:
    """Names, values and half widths of 95 % intervals of one item, the largest first, the rest added up."""
    one = attribution[item]
    names = ["".join(name) for name in names_of(one)]
    values = np.asarray(one.values[0][: len(names)], np.float64)
    order, rest = _split(np.abs(values), sheet.most)
    labels, drawn = [_short(names[k]) for k in order], values[order]
    errors = None if one.error is None else _TWO_SIDED * np.asarray(one.error[0], np.float64)[order]
    if len(rest):
        labels, drawn = [*labels, f"{len(rest)} others"], np.append(drawn, values[rest].sum())
        errors = None if errors is None else np.append(errors, 0.0)
    return labels, drawn, errors


def _split(sizes: Array, most: int) -> tuple[Array, Array]:
    order = np.argsort(-sizes, kind="stable")
    return (order, order[:0]) if len(order) <= most else (order[: most - 1], order[most - 1 :])


def _ranks(held: Array) -> Array:
    """Ranks from 0 to 1, those alike alike; what is no number is in the middle."""
    known = np.where(np.isfinite(held), held, np.nanmedian(held) if np.isfinite(held).any() else 0.0)
    _, place = np.unique(known, return_inverse=True)
    ranks: Array = place / max(1, int(place.max(initial=0)))
    return ranks


def _spread(values: Array, bins: int = 60) -> Array:
    """How far up or down each dot goes, so that those beside it stay seen: in turn, by how many are there."""
    low, high = float(values.min()), float(values.max())
    place = np.floor((values - low) / (high - low) * (bins - 1)) if high > low else np.zeros(len(values))
    moved = np.zeros(len(values))
    crowd = max(1, int(np.unique(place, return_counts=True)[1].max()))
    for one in np.unique(place):
        inside = np.flatnonzero(place == one)
        steps = np.arange(len(inside))
        moved[inside] = np.where(steps % 2, 1, -1) * ((steps + 1) // 2) * (0.8 / max(crowd, 12))
    return moved


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 + 1 :]}"


def _title(axes: Any, attribution: Shown, item: int) -> None:
    named = f", {attribution.name_of(item)}" if attribution.names else ""
    axes.set_title(f"{attribution.method}: {attribution.target_of(item)}{named}", loc="left")
