"""What a matplotlib plot is drawn on, and xplain's own colours for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.render.colormap import find

__all__ = ["Sheet", "palette", "signs"]


@dataclass(frozen=True)
class Sheet:
    """What a plot is drawn on.

    Args:
        figure: The matplotlib figure.
        width: Inches.
        most: Columns or words that are drawn one by one.
    """

    figure: Any
    width: float
    most: int

    def axes(self, height: float) -> Any:
        """The figure's only axes, at this height in inches."""
        self.figure.set_size_inches(self.width, height)
        return self.figure.subplots()


def palette(signed: bool) -> Any:
    """Xplain's own colours as a matplotlib colour map."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(find(None, signed).table / 255.0)


def signs(values: Array) -> Array:
    """A colour per value: for, or against."""
    colours = find(None, True).paint(0.75 * np.sign(values), 1.0)
    shades: Array = colours / 255.0
    return shades
