"""What stands beside and below a drawing so that its colours can be read: the colour bar, and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xplain.render import canvas
from xplain.render.colormap import Colormap
from xplain.render.overlay import CLIP, TOP, Map, Style, top_region

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["legend", "scale_bar"]

_BAR_WIDTH = 14
_LEAST_UNIT = 90  # pixels of height that a unit is given beside a low bar


def legend(maps: Sequence[Map], limit: float, style: Style, automatic: bool, shared: bool = True) -> list[str]:
    """What a person must know to read the colours."""
    sizes = np.concatenate([np.abs(m.values).ravel() for m in maps])
    if not sizes.any():
        return ["All values are zero."]
    signed = any(m.signed for m in maps)
    if shared:
        how = f"{CLIP:.0f}th percentile of |value|" if automatic else "as given"
        out = [f"Limit {'±' if signed else ''}{limit:.3g} ({how}); {np.mean(sizes > limit):.1%} of them lie beyond."]
    else:
        out = ["Each map has its own limit" + (f", the {CLIP:.0f}th percentile of |value|." if automatic else ".")]
    if style.line and any(top_region(m).any() for m in maps if m.values.ndim == 2):
        out.append(f"Line: the {TOP:.0f} % of positions with the highest values.")
    noise = [m.noise for m in maps if m.noise is not None]
    if noise and style.hatch:
        share = np.mean(np.concatenate([n.ravel() for n in noise]))
        out.append(f"Hatched ({share:.0%}): the 95 % interval contains zero.")
    return out


def scale_bar(colours: Colormap, limit: float, unit: str, height: int) -> Image:
    """The colour bar with ticks, and the unit beside it."""
    from PIL import Image, ImageDraw

    low = -1.0 if colours.signed else 0.0
    inner = max(height - canvas.LINE, 3)
    marks = np.linspace(low, 1.0, 5) if inner >= 5 * canvas.LINE else np.array([low, 1.0])
    marks = marks if limit > 0 else np.array([0.0])
    labels = [_tick(share * limit) for share in marks]
    wide = _BAR_WIDTH + 8 + max(canvas.text_width(text) for text in labels)
    bar = Image.new("RGB", (wide, inner + canvas.LINE), canvas.PAPER)
    top = canvas.LINE // 2
    shades = colours.paint(np.linspace(1.0, low, inner), 1.0)
    bar.paste(canvas.image(np.repeat(shades[:, None], _BAR_WIDTH, axis=1)), (0, top))
    pen = ImageDraw.Draw(bar)
    pen.rectangle((0, top, _BAR_WIDTH - 1, top + inner - 1), outline=canvas.PALE)
    for share, text in zip(marks, labels, strict=True):
        y = top + round((1.0 - share) / (1.0 - low) * (inner - 1))
        pen.line((_BAR_WIDTH, y, _BAR_WIDTH + 3, y), canvas.PALE)
        bar.paste(canvas.words([text], canvas.text_width(text)), (_BAR_WIDTH + 6, y - canvas.LINE // 2))
    return canvas.row([bar, canvas.sideways(unit, max(bar.height, _LEAST_UNIT))], gap=2)


def _tick(value: float) -> str:
    return f"{value:.3g}" if value <= 0 else f"{value:+.3g}"
