"""Attributions as matplotlib figures: for notebooks, and for papers: at a journal's widths, as PDF or SVG.

    a.plot()                                     # what fits the items
    a.plot("beeswarm", width="text")             # all rows at once, two columns wide
    a.plot("waterfall", to="why.pdf")            # written as well

Colours are those of xplain's own drawings: even in lightness, so that they survive grey print and colour blindness.
matplotlib is imported when the first figure is drawn; no state of ``pyplot`` is touched.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.keeping.files import whole_file
from xplain.render import plots_of_rows as rows
from xplain.render import plots_of_signals as signals
from xplain.render.band_maps import bands_of
from xplain.render.bars import names_of
from xplain.render.colormap import find
from xplain.render.overlay import Style, limit_of, map_of, overlay
from xplain.render.plot_sheet import Sheet, palette
from xplain.render.shown import Shown, kind_of

__all__ = ["plot"]

Width: TypeAlias = 'Literal["column", "text"] | float'

WIDTHS = {"column": 3.5, "text": 7.2}
"""Inches: one column of a journal's page, and the whole of it."""

_WIDEST = 100
_FORMATS = ("pdf", "svg", "png")
_LOOK: dict[Any, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.dpi": 150,
    "pdf.fonttype": 42,  # letters stay letters, as journals ask
    "svg.fonttype": "none",
    "svg.hashsalt": "xplain",  # the same figure is the same file
}


@renderer("plot")
def plot(
    attribution: Shown,
    kind: str = "auto",
    *,
    item: int = 0,
    width: Width = "column",
    most: int = 12,
    to: str | os.PathLike[str] | None = None,
) -> Any:
    """A matplotlib figure, which shows itself in a notebook and can be changed further.

    | kind | shows |
    |---|---|
    | ``map`` | a picture's map over it, with its colour bar |
    | ``series`` | one item over time: a coloured line per channel, and its values with their 95 % interval |
    | ``spectrogram`` | one item in hertz and seconds |
    | ``bands`` | what each of many bands holds, and one small map per band |
    | ``planes`` | a volume: three planes through its most important place, and projections; a video's projection |
    | ``heatmap`` | all items, a line each: rows by column, series by moment |
    | ``bars`` | one row or text, the largest values first, with their 95 % intervals |
    | ``waterfall`` | one row or text, from what values are relative to up to the score, with what does not add up |
    | ``mean`` | mean of |value| over all rows, by column |
    | ``beeswarm`` | all rows: a dot per row and column, coloured by what the row holds there |

    Args:
        attribution: What to draw.
        kind: ``auto`` takes ``map`` for pictures (``bands`` where bands have values of their own), ``planes`` for
            volumes, ``spectrogram``, ``series`` or, of several, ``heatmap``; for rows ``beeswarm`` from 8 items on,
            else ``waterfall`` where values have a base, else ``bars``.
        item: Which item, where one is drawn.
        width: ``column`` (3.5 inches), ``text`` (7.2), or inches.
        most: Columns, words, channels or bands that are drawn one by one; other columns and words are added up.
        to: A file to write as well: .pdf, .svg or .png.

    Returns:
        A ``matplotlib.figure.Figure``.

    Raises:
        MissingDependency: matplotlib is not installed.
        UsageError: a kind that does not fit the items, or a file of another kind.
    """
    chosen = _auto(attribution) if kind == "auto" else kind
    fitting = _kinds(attribution)
    if chosen not in fitting:
        raise UsageError(option="kind", got=kind, accepted=f"one of auto, {', '.join(fitting)} for these items")
    if width not in WIDTHS and not (isinstance(width, (int, float)) and 0 < width <= _WIDEST):
        raise UsageError(option="width", got=width, accepted=f"'column', 'text', or inches up to {_WIDEST}")
    if not isinstance(most, int) or most < 1:
        raise UsageError(f"At least one column or word is drawn by itself; most is {most!r}.")
    target = None if to is None else Path(to)
    if target is not None and target.suffix.removeprefix(".") not in _FORMATS:
        raise UsageError(f"A figure is written as .{', .'.join(_FORMATS)}; got {target.name!r}.")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("plot() needs the package matplotlib: pip install 'xplain[plot]'.") from None
    with rc_context(_LOOK):
        figure = Figure(layout="constrained")
        inches = WIDTHS[width] if isinstance(width, str) else float(width)
        fitting[chosen](Sheet(figure, inches, most), attribution, item)
    # a figure made without pyplot does not show itself in a notebook; one that can write itself as PNG does
    figure.__dict__["_repr_png_"] = partial(_file_of, figure, "png")
    if target is not None:
        with whole_file(target) as file:
            file.write(_file_of(figure, target.suffix.removeprefix(".")))
    return figure


def _file_of(figure: Any, kind: str) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with rc_context(_LOOK):
        figure.savefig(buffer, format=kind, metadata=dated)
    return buffer.getvalue()


Drawer: TypeAlias = Callable[[Sheet, Shown, int], None]


def _kinds(attribution: Shown) -> Mapping[str, Drawer]:
    """The kinds of plot that fit these items."""
    kind = kind_of(attribution)
    if kind == "picture":
        own = {"bands": signals.bands} if bands_of(attribution) is not None else {}
        return {"map": _map, **own}
    if kind == "volume":
        return {"planes": signals.planes}
    if kind == "spectrogram":
        return {"spectrogram": signals.spectrogram}
    if kind == "series":
        return {"series": signals.series, **({"heatmap": _heatmap} if attribution.values.ndim == 2 else {})}
    if kind == "text":
        return {"bars": rows.bars, "waterfall": rows.waterfall}
    return {
        "bars": rows.bars,
        "waterfall": rows.waterfall,
        "mean": rows.mean,
        "beeswarm": rows.beeswarm,
        "heatmap": _heatmap,
    }


def _auto(attribution: Shown) -> str:
    kind = kind_of(attribution)
    if kind == "series":
        return "series" if len(attribution) == 1 or attribution.values.ndim > 2 else "heatmap"
    if kind == "picture":
        return "map" if bands_of(attribution) is None else "bands"
    if kind in ("volume", "spectrogram"):
        return "planes" if kind == "volume" else "spectrogram"
    if kind == "row" and len(attribution) >= 8:
        return "beeswarm"
    return "bars" if attribution.base is None else "waterfall"


def _map(sheet: Sheet, attribution: Shown, item: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    drawn = map_of(attribution, item)
    limit = limit_of(drawn.values) or 1.0
    rows, columns = drawn.values.shape
    axes = sheet.axes(sheet.width * 0.8 * rows / columns + 0.35)
    laid = overlay(drawn, limit, find(None, drawn.signed), Style(zoom=max(1, -(-360 // max(rows, columns)))))
    axes.imshow(laid, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"{attribution.method}: {attribution.target_of(item)}", loc="left")
    scale = ScalarMappable(Normalize(-limit if drawn.signed else 0.0, limit), palette(drawn.signed))
    sheet.figure.colorbar(scale, ax=axes, label=attribution.unit, shrink=0.9)


def _heatmap(sheet: Sheet, attribution: Shown, item: int) -> None:
    values = np.asarray(attribution.values, np.float64)
    limit = limit_of(values) or 1.0
    axes = sheet.axes(min(6.0, max(1.8, 0.9 + 0.12 * len(values))))
    low = -limit if attribution.signed else 0.0
    drawn = axes.imshow(
        values, aspect="auto", cmap=palette(attribution.signed), vmin=low, vmax=limit, interpolation="nearest"
    )
    if kind_of(attribution) == "series":
        axes.set_xlabel("moment")
    else:
        names = [name for name, _ in names_of(attribution[0])]
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_ylabel("item")
    sheet.figure.colorbar(drawn, ax=axes, label=attribution.unit)
