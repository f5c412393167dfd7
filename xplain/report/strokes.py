"""Small drawings of pages as SVG: a colour, a bar with its interval, a curve beside chance."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from xplain.core.edits import Array

__all__ = ["bar", "curve", "swatch"]

_WIDE, _HIGH = 120, 12
_CURVE = (420, 220)
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 10, 20, 24


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def swatch(colour: Sequence[int]) -> Markup:
    """A square of a colour, which words name a thing by."""
    return Markup(
        '<svg class="swatch" width="14" height="14" aria-hidden="true"><rect width="14" height="14" fill="{}"/></svg>'
    ).format(_hex(colour))


def bar(value: float, error: float, ends: tuple[float, float], colour: Sequence[int]) -> Markup:
    """A bar from 0 to a value with a whisker of ``error`` to both sides, on an axis from the lower to the upper end.

    The number stands beside it, so a reader for the blind is not told of it.
    """
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    reach = (high - low) or 1.0

    def at(number: float) -> float:
        return round(min(max((number - low) / reach, 0.0), 1.0) * (_WIDE - 2) + 1, 1)

    zero, end, middle = at(0.0), at(value), _HIGH // 2
    drawn = Markup(
        '<svg class="bar" width="{}" height="{}" aria-hidden="true">'
        '<rect x="{}" y="1" width="{}" height="{}" fill="{}"/><path class="axis" d="M{},0V{}"/>'
    ).format(_WIDE, _HIGH, min(zero, end), round(abs(end - zero), 1), _HIGH - 2, _hex(colour), zero, _HIGH)
    if error > 0:
        first, last = at(value - error), at(value + error)
        drawn += Markup('<path class="whisker" d="M{0},{1}H{2}M{0},{3}V{4}M{2},{3}V{4}"/>').format(
            first, middle, last, middle - 3, middle + 3
        )
    return drawn + Markup("</svg>")


def curve(x: Array, y: Array, said: str) -> Markup:
    """Shares against shares, both from 0 to 1, with the diagonal of chance; ``said`` is told instead of it."""
    wide, high = _CURVE

    def at(across: float, up: float) -> str:
        left = _LEFT + across * (wide - _LEFT - _RIGHT)
        return f"{left:.1f},{_TOP + (1 - up) * (high - _TOP - _BOTTOM):.1f}"

    points = " ".join(at(float(a), float(b)) for a, b in zip(x, y, strict=True))
    ticks = Markup("").join(
        Markup(
            '<text x="{}" y="{}" text-anchor="end">{}</text><text x="{}" y="{}" text-anchor="middle">{}</text>'
        ).format(
            _LEFT - 6,
            float(at(0, share).split(",")[1]) + 4,
            f"{share:.0%}",
            at(share, 0).split(",")[0],
            high - 6,
            f"{share:.0%}",
        )
        for share in (0.0, 0.5, 1.0)
    )
    return Markup(
        '<svg class="curve" width="{}" height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<path class="axis" fill="none" d="M{}L{}L{}"/><path class="chance" d="M{}L{}"/>'
        '<polyline class="line" points="{}"/></svg>'
    ).format(wide, high, wide, high, said, ticks, at(0, 1), at(0, 0), at(1, 0), at(0, 0), at(1, 1), points)
