"""The drawings of an audit's page as SVG, and the addresses of its small pictures, which need no escape."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from xplain.core.edits import Array
from xplain.render.miniature import cells_url, drawing_url, pair_url
from xplain.report.audit.told import Example, Histogram

__all__ = ["bar", "curve", "histogram", "mean_map", "thumbnail"]


def thumbnail(example: Example) -> Markup:
    """The picture and its map over it as one address; empty where there is neither."""
    if example.drawn is not None:
        return Markup(drawing_url(example.drawn))
    return Markup(pair_url(example.picture, example.values))  # letters of base64, longer than text from outside may be


def mean_map(values: Array) -> Markup:
    """A map ``[h, w]`` as the address of a picture with a pixel per cell; a single row as a strip that can be seen."""
    if len(values) == 1:
        values = np.repeat(values, max(1, values.shape[1] // 5), axis=0)
    return Markup(cells_url(values))


def histogram(one: Histogram, width: int = 320, height: int = 76) -> Markup:
    """Bars as SVG; every number of it is made here."""
    top = max(one.counts, default=0) or 1
    step = width / max(1, len(one.counts))
    bars = "".join(
        f"M{k * step:.1f} {height}v-{count / top * height:.1f}h{step - 1:.1f}V{height}z"
        for k, count in enumerate(one.counts)
        if count
    )
    span = one.high - one.low or 1.0
    middle = (one.median - one.low) / span * width
    line = f'<path class="median" d="M{middle:.1f} 0V{height}"/>' if 0 <= middle <= width else ""
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<path d="{bars}"/>{line}</svg>'
    )


def bar(share: float, width: int = 80, height: int = 9) -> Markup:
    """A value from -1 to 1 as a bar to the right of the middle, or to its left."""
    middle, reach = width / 2, min(1.0, abs(share)) * (width / 2 - 1)
    left = middle if share >= 0 else middle - reach
    kind = "for" if share >= 0 else "against"
    return Markup(
        f'<svg class="bar" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<path class="axis" d="M{middle:.1f} 0V{height}"/>'
        f'<rect class="{kind}" x="{left:.1f}" y="1" width="{reach:.1f}" height="{height - 2}"/></svg>'
    )


def curve(values: Array, width: int = 220, height: int = 60) -> Markup:
    """A row of numbers as a line from its smallest value to its largest."""
    values = np.nan_to_num(np.asarray(values, np.float64).ravel())
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    span = high - low or 1.0
    step = width / max(1, len(values) - 1)
    points = " ".join(f"{k * step:.1f},{(high - v) / span * (height - 4) + 2:.1f}" for k, v in enumerate(values))
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
        f'<polyline points="{points}"/></svg>'
    )
