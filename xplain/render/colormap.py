"""Colour maps for attributions, made in CIELAB so that equal steps of value look like equal steps.

Signed values get a diverging map whose middle is exactly zero: lightness falls alike on both sides, so the eye ranks a
strong negative value as high as a strong positive one. Unsigned values get a sequential map whose lightness falls
steadily. There is no rainbow: its bands draw edges that the values do not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown

__all__ = ["Colormap", "find"]

_STEPS = 255  # odd, so that a diverging map has a middle

# (position, L*, a*, b*); lightness is linear in the position on either side
_ANCHORS: Mapping[str, tuple[bool, Sequence[tuple[float, float, float, float]]]] = {
    "blue-red": (
        True,
        [
            (-1.0, 27, 14, -52),
            (-0.5, 62, -8, -36),
            (0.0, 97, 0, 0),
            (0.5, 62, 42, 33),
            (1.0, 27, 48, 24),
        ],
    ),
    "purple-green": (
        True,
        [
            (-1.0, 27, 40, -38),
            (-0.5, 62, 28, -28),
            (0.0, 97, 0, 0),
            (0.5, 62, -38, 28),
            (1.0, 27, -30, 20),
        ],
    ),
    "heat": (
        False,
        [
            (0.0, 97, -4, 12),
            (0.25, 79, 16, 52),
            (0.5, 60, 46, 46),
            (0.75, 40, 52, 8),
            (1.0, 20, 36, -28),
        ],
    ),
    "grey": (False, [(0.0, 97, 0, 0), (1.0, 12, 0, 0)]),
}


@dataclass(frozen=True, eq=False)
class Colormap:
    """A table of colours.

    Args:
        name: Its name.
        signed: Runs from -1 to 1 with zero in the middle; else from 0 to 1.
        table: uint8 ``[255, 3]``.
    """

    name: str
    signed: bool
    table: Array

    def paint(self, values: Array, limit: float) -> Array:
        """Colours of values, uint8 ``[..., 3]``; what lies beyond ``limit`` gets the last colour.

        A ``limit`` of zero stands for values that are all zero, and paints the colour of zero.
        """
        share = np.asarray(values, np.float64) / limit if limit > 0 else np.zeros(np.shape(values))
        low = -1.0 if self.signed else 0.0
        place = (np.clip(share, low, 1.0) - low) / (1.0 - low) * (len(self.table) - 1)
        colours: Array = self.table[np.rint(place).astype(np.int64)]
        return colours


@cache
def find(name: str | None, signed: bool) -> Colormap:
    """The map called ``name``, or the default for signed or unsigned values.

    Raises:
        UnknownName: no such map; the message names the nearest.
        UsageError: a sequential map for signed values, which would hide the sign.
    """
    chosen = name or ("blue-red" if signed else "heat")
    if chosen not in _ANCHORS:
        raise unknown("colour map", chosen, _ANCHORS)
    diverging, anchors = _ANCHORS[chosen]
    if signed and not diverging:
        fitting = ", ".join(key for key, (two_sided, _) in _ANCHORS.items() if two_sided)
        raise UsageError(f"Colour map {chosen!r} cannot show the sign of these values; accepted: {fitting}.")
    if diverging and not signed:
        anchors = [anchor for anchor in anchors if anchor[0] >= 0]
    points = np.array(anchors, np.float64)
    along = np.linspace(points[0, 0], points[-1, 0], _STEPS)
    lab = np.stack([np.interp(along, points[:, 0], points[:, k]) for k in (1, 2, 3)], axis=1)
    return Colormap(chosen, signed, _srgb(lab))


def _srgb(lab: Array) -> Array:
    """CIELAB (D65) ``[..., 3]`` as sRGB, uint8; IEC 61966-2-1 and CIE 15. Colours outside sRGB are clipped."""
    level = (lab[..., 0] + 16) / 116
    f = np.stack([level + lab[..., 1] / 500, level, level - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.95047, 1.0, 1.08883]
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = np.clip(xyz @ to_rgb.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgb: Array = np.rint(encoded * 255).astype(np.uint8)
    return rgb
