"""Maps that know nothing of the model: chance, the centre, the edges, the picture's own gradient.

A metric's number says little by itself: a photograph's object lies in its centre, so a spot in the centre points well.
Each metric is therefore read beside what these score on the same item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from xplain.core.arrays import enlarge_to
from xplain.core.edits import Array
from xplain.core.query import View

__all__ = ["BASELINES", "baselines_of"]

Blind: TypeAlias = Callable[[View, tuple[int, ...]], Array | None]


def random_map(view: View, cells: tuple[int, ...]) -> Array:
    """Chance: uniform numbers at the explanation's own resolution, enlarged as it is, a draw of each item's own."""
    shape = view.layout.map_shape
    drawn = np.stack([rng.random(cells, np.float32) for rng in view.rngs("baseline of metrics")])
    found: Array = np.asarray(enlarge_to(drawn, shape))
    return found


def centre(view: View, cells: tuple[int, ...]) -> Array | None:
    """A spot in the middle: 1 there, falling with the squared distance to 0 in the corners; None for a table's row."""
    places = _places(view)
    if places is None:
        return None
    far = sum((one * one for one in places), start=np.zeros(1)) / len(places)
    return np.broadcast_to((1 - far).astype(np.float32), (len(view.x), *far.shape))


def edge(view: View, cells: tuple[int, ...]) -> Array | None:
    """A frame: 1 at the border, falling linearly to 0 in the middle; None for a table's row."""
    places = _places(view)
    if places is None:
        return None
    near = np.max(np.abs(np.stack(np.broadcast_arrays(*places))), axis=0)
    return np.broadcast_to(near.astype(np.float32), (len(view.x), *near.shape))


def gradient(view: View, cells: tuple[int, ...]) -> Array | None:
    """How much the item itself changes from position to position; None for a table's row and for a text.

    The root of the summed squares of central differences along each axis of positions, summed over channels: what a
    detector of edges marks that has never seen the model.
    """
    layout = view.layout
    if not _neighbourly(view) or layout.axes == "NT":
        return None
    x = np.asarray(view.x, np.float64)
    axes = [axis for axis in layout.plane_axes if x.shape[axis] > 1]
    squares = sum((np.gradient(x, axis=axis) ** 2 for axis in axes), start=np.zeros(x.shape))
    if layout.channel_axis is not None:
        squares = squares.sum(axis=layout.channel_axis)
    return np.sqrt(squares).astype(np.float32)


BASELINES: dict[str, Blind] = {"random": random_map, "centre": centre, "edge": edge, "gradient": gradient}
"""What each metric is read beside, by name."""


def baselines_of(view: View, values: Array, cells: tuple[int, ...] | None = None) -> dict[str, Array | None]:
    """The maps that know nothing, each of the explanation's own mass, so that metrics of values compare too.

    Args:
        view: The items.
        values: Their explanation ``[N, *map]``.
        cells: Its true resolution, where it was enlarged; None for every position.

    Returns:
        Name to maps float32 ``[N, *map]`` with ``sum |b| = sum |a|``; None where there is no such map, as a row of a
        table has no middle.
    """
    shape = view.layout.map_shape
    fits = cells is not None and len(cells) == len(shape) and all(a <= b for a, b in zip(cells, shape, strict=True))
    found: dict[str, Array | None] = {}
    own = np.abs(values.astype(np.float64)).reshape(len(values), -1).sum(axis=1)
    for name, make in BASELINES.items():
        maps = make(view, cells if fits and cells is not None else shape)
        if maps is not None:
            mass = np.abs(maps.astype(np.float64)).reshape(len(maps), -1).sum(axis=1)
            scale = np.divide(own, mass, out=np.ones(len(own)), where=(mass > 0) & np.isfinite(own) & (own > 0))
            maps = (maps * scale.reshape(-1, *(1,) * len(shape))).astype(np.float32)
        found[name] = maps
    return found


def _neighbourly(view: View) -> bool:
    """Whether positions lie beside one another: not the columns of a table, nor elements without a place."""
    shape = view.layout.map_shape
    return not set(view.layout.axes) & {"S", "X"} and any(extent > 1 for extent in shape)


def _places(view: View) -> list[Array] | None:
    """Each axis' positions from -1 to 1, shaped to broadcast; 0 where there is one alone."""
    if not _neighbourly(view):
        return None
    shape = view.layout.map_shape
    found = []
    for k, extent in enumerate(shape):
        line = np.linspace(-1, 1, extent) if extent > 1 else np.zeros(1)
        found.append(line.reshape([-1 if k == j else 1 for j in range(len(shape))]))
    return found
