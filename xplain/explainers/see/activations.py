"""Activations: what a layer's channels hold for a picture, each as a small map."""

from __future__ import annotations

from typing import Literal

import numpy as np

from xplain.core.declaring.options import Cells as CellsOption
from xplain.core.declaring.options import Natural, Positive
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.keeping.plain import brief_layer
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.scene import More, Scene, Seeing
from xplain.core.query import Peek
from xplain.explainers.cam.layers import MapLayer, map_layer
from xplain.explainers.see.heads import Heads, heads_of
from xplain.explainers.see.layers import short_name, with_positions

__all__ = ["activations"]

_MOST = 256  # tiles that a sheet still shows large enough
_EACH = 64  # of each of several layers
_SLICES = 6


@lens(
    "activations",
    needs=Peek,
    paper=Paper("Yosinski 2015", "arXiv:1506.06579"),
    trial={"layer": "auto", "k": 3, "pictures": 2},
)
def activations(
    scene: Scene,
    *,
    layer: str = "auto",
    k: Positive | None = None,
    sort: Literal["channel", "largest"] = "channel",
    overlay: bool = False,
    pictures: Positive = 1,
    token: Natural = 0,
    grid: CellsOption | None = None,
    tokens: Natural = 0,
) -> Seeing[Cells]:
    """The channels of a layer as small maps: which parts of a picture excite which channel, and how strongly.

    ``map_c[p] = the layer's value of channel c at position p``; nothing is rescaled before it is drawn.

    Args:
        layer: The layer's name, ``auto`` for the last one with positions, ``all`` for every layer with positions.
        k: Channels of each layer, those with the largest value; none for up to 256, 64 of each of several layers.
        sort: Whether maps stand in the order of their channels, or the one with the largest value first.
        overlay: Lay each map over the picture instead of beside nothing.
        token: In a layer that is attention, the token whose attention to the others is shown, a map per head: 0 is the
            first one, such as a class token.
        pictures: How many of the first items are looked at.
        grid: Rows and columns of a layer whose axes could not be followed, as for class activation maps.
        tokens: Tokens in front of that grid that are no positions.

    Returns:
        A gallery with a section per picture and layer and a cell per channel; values are the largest of each map, in
        units of the layer. A series is drawn as a line, of a volume some slices are shown side by side.

    Cost:
        1 evaluation per item looked at.

    Raises:
        UsageError: a layer without positions; the message names some that have them.

    Source:
        Yosinski, Clune, Nguyen, Fuchs and Lipson, Understanding Neural Networks Through Deep Visualization, 2015.
    """
    found: list[Cell] = []
    line = False
    left = pictures
    read: tuple[str, ...] = ()
    while left > 0 and (part := (yield More())) is not None:
        view = part.view if len(part) <= left else part.view.of(np.arange(left))
        heads = heads_of(view, layer, token)
        if heads is not None:
            chosen: list[MapLayer | Heads] = [heads]
        else:
            chosen = [*with_positions(view)] if layer == "all" else [map_layer(view, layer, grid, tokens)]
        values = yield Peek(view.x, tuple(one.name for one in chosen))
        most = k or (_MOST if len(chosen) == 1 else _EACH)
        read = tuple(one.name for one in chosen)
        for n in range(len(view.x)):
            left -= 1
            for one in chosen:
                maps = np.asarray(one.maps(values[one.name][n : n + 1]), np.float32)[0]
                line = line or maps.ndim == 2
                photo = part.pictures[n] if overlay and part.pictures is not None else None
                found += _cells(one, maps, part.names[n], photo, most, sort)
    title = f"Activations of {short_name(read[0])}" if len(read) == 1 else f"Activations of {len(read)} layers"
    return cells(
        found,
        title,
        "largest activation of the map",
        map_names=("activation",),
        look="line" if line else "heat",
        facts={"layers": list(read)},
    )


def _cells(layer: MapLayer | Heads, maps: Array, name: str, picture: Array | None, most: int, sort: str) -> list[Cell]:
    """A cell per channel of ``maps`` ``[C, *cells]``."""
    flat = maps.reshape(len(maps), -1)
    largest = flat.max(axis=1)
    order = np.lexsort((-flat.mean(axis=1), -largest))[:most]  # behind a ReLU6 hundreds have one largest value
    order = order if sort == "largest" else np.sort(order)
    words = "channels" if isinstance(layer, MapLayer) else f"heads, attention of token {layer.token}"
    some = f"the {len(order)} most active of {len(maps)}" if len(order) < len(maps) else f"{len(maps)}"
    section = f"{name}: {brief_layer(layer.name)} ({some} {words})"
    short = short_name(layer.name)
    return [
        Cell(
            unit=f"{short}[{c}]",
            value=float(largest[c]),
            picture=picture,
            maps=(_flat(maps[c]),),
            name=name,
            caption=f"{c}: {largest[c]:.3g}",
            section=section,
        )
        for c in map(int, order)
    ]


def _flat(one: Array) -> Array:
    """A map of any number of axes as ``[h, w, 1]``: of a volume some slices side by side."""
    if one.ndim == 1:
        return one[None, :, None]
    if one.ndim == 3:
        some = np.unique(np.linspace(0, len(one) - 1, min(_SLICES, len(one))).round().astype(int))
        one = np.concatenate([one[d] for d in some], axis=1)
    return one[:, :, None]
