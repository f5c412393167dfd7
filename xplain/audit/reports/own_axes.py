"""Items that are no pictures, drawn in axes of their own: series over seconds, spectra over hertz, planes."""

from __future__ import annotations

import numpy as np

from xplain.audit.plans.plan import ModelFacts
from xplain.core.edits import Array
from xplain.core.lane import Lane
from xplain.core.positions.layout import Layout
from xplain.render.bodies import Look, body_of, map_like, panel_of
from xplain.render.colormap import find
from xplain.render.overlay import limit_of
from xplain.render.series import series
from xplain.render.tracks import tracks_of
from xplain.results.attribution import Attribution
from xplain.results.provenance import Provenance

__all__ = ["LEGEND", "drawn", "has_own_axes"]

LEGEND = (
    "Of a series the line is what the item holds, over seconds where a card states the rate; its ground and the bars "
    "below say what each moment counted: red spoke for the answer, blue against it. Of several channels those are "
    "drawn that count, or move, most; below recorded sound stands its spectrogram, computed for the drawing."
)
_WIDTH, _CHANNELS = 250, 3
"""Pixels of a drawing without its labels, and channels that are drawn."""


def has_own_axes(lane: Lane, facts: ModelFacts) -> bool:
    """Whether a lane's items are tensors that are drawn over time, over frequencies, or as planes of a volume."""
    if facts.door or facts.card is not None or not lane.map_axes:
        return False
    return lane.is_series or facts.axes.kind == "spectrogram" or len(lane.map_axes.replace("C", "")) == 3


def drawn(lane: Lane, facts: ModelFacts, x: Array, values: Array) -> Array:
    """One item with its explanation, uint8 ``[h, w, 3]``.

    Args:
        lane: The lane.
        facts: Its model.
        x: The item as the model takes it, ``[*item]``.
        values: Its map at native resolution; drawn as it is, a cell as wide as it is.

    Raises:
        XplainError: the values cannot be drawn.
    """
    layout = Layout(lane.layout, tuple(x.shape))
    whole = _spread(values, layout, lane.map_axes)[None]
    one = Attribution(
        values=whole,
        unit=lane.unit,
        scores=np.zeros(1),
        labels=(0,),
        names=("",),
        resolution=tuple(values.shape) if whole.ndim == 3 and "C" not in lane.map_axes else None,
        rows=x[None].astype(np.float64) if x.ndim == 1 else None,
        signals=x[None].astype(np.float32) if x.ndim > 1 else None,
        coordinates=facts.axes,
        provenance=Provenance(method=lane.method, options=dict(lane.options), layout=lane.layout),
    )
    colours = find(None, one.signed)
    if facts.axes.kind == "waveform":
        image, _ = body_of(one, Look(colours, None, size=round(_WIDTH / 1.5)))  # with a spectrogram below
    elif lane.is_series and facts.axes.kind != "spectrogram":
        tracks = tracks_of(one, 0, _CHANNELS)
        image = series(tracks, colours, limit_of(tracks.values) or 1.0, _WIDTH)
    else:
        flat = map_like(one)
        look = Look(colours, None, False, 0.8, False, False, False, {}, _WIDTH // 2)
        image = panel_of(one, flat, look, limit_of(flat.values) or 1.0)
    return np.asarray(image.convert("RGB"))


def _spread(values: Array, layout: Layout, axes: str) -> Array:
    """A map's cells, each over the positions that it stands for."""
    found = np.asarray(values, np.float32)
    for axis, letter in enumerate(axes):
        count = layout.item[layout.axes.index(letter) - 1]
        found = np.take(found, np.arange(count) * found.shape[axis] // count, axis=axis)
    return found
