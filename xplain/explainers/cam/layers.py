"""The layer behind a class activation map: which one, in what shape, and back to the item's size.

A layer must descend from the explained input and lead to the target, and its axes are those that were followed through
the model; where they could not be, ``grid=`` states them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.arrays import enlarge_to, namespace
from xplain.core.caveat import Caveat, each
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array, Coalitions
from xplain.core.errors import UsageError
from xplain.core.outline import LayerSpec
from xplain.core.positions.axes import shape_of
from xplain.core.positions.grid import Grid, describe, stated
from xplain.core.positions.lineage import Lineage
from xplain.core.query import Reading, View
from xplain.core.target import SCORES

__all__ = ["MapLayer", "map_layer", "reading"]

_SHOWN = 3
"""Layers that a message proposes."""


@dataclass(frozen=True, slots=True)
class MapLayer:
    """A layer that can be seen as maps ``[N, C, *cells]``: ``[N, C, h, w]`` of a picture, ``[N, C, t]`` of a series.

    Args:
        name: The tensor's name.
        grid: Where its positions lie.
    """

    name: str
    grid: Grid

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of positions in ``maps``: ``(2, 3)`` for a picture."""
        return tuple(range(2, 2 + len(self.grid.cells)))

    def channels(self, raw: Array) -> int:
        """How many channels the layer's own values ``[N, ...]`` have."""
        return int(raw[0].shape[self.grid.channel])

    def hiding(self, raw: Array, keep: Array) -> Coalitions:
        """Edits of the layer's own values that set channels to zero where ``keep``, bool ``[M, C]``, is False."""
        spread = [1] * (raw.ndim - 1)
        spread[self.grid.channel] = self.channels(raw)
        labels = np.broadcast_to(np.arange(self.channels(raw), dtype=np.int32).reshape(spread), raw.shape[1:])
        zero = np.zeros((1,) * raw.ndim, np.float32)
        return Coalitions(np.ascontiguousarray(labels), keep.astype(np.uint8), zero, whole=True)

    def maps(self, values: Any) -> Any:
        """The layer's values or cotangents as ``[N, C, *cells]``."""
        xp, grid = namespace(values), self.grid
        for axis, ((front, behind), extent) in enumerate(zip(grid.cuts, grid.shape, strict=True), 1):
            if front or behind:
                values = values[(slice(None),) * axis + (slice(front, extent - behind),)]
        if grid.split != tuple(n - sum(cut) for n, cut in zip(grid.shape, grid.cuts, strict=True)):
            values = xp.reshape(values, (-1, *grid.split))
        if grid.order != tuple(range(len(grid.order))):
            values = xp.permute_dims(values, (0, *(k + 1 for k in grid.order)))
        wanted = (grid.split[grid.order[0]], *grid.cells)
        if wanted != tuple(grid.split[k] for k in grid.order):
            values = xp.reshape(values, (-1, *wanted))
        return values


def map_layer(
    view: View, layer: str, grid: tuple[int, ...] | None = None, tokens: int = 0, *, neck: bool = False
) -> MapLayer:
    """The layer called ``layer``; for ``auto`` the last one with more than one position before the head or the target.

    Where a class token carries the answer, nothing of the patches matters behind the last attention, so ``auto`` takes
    the tokens that go into it: normalised, because before a layer norm gradient times value always sums to zero; or
    with ``neck`` the residual stream, which everything behind passes through.

    In a file whose activations are integers (QLinearConv ...) the layers are called as these are, and are read as the
    real numbers that they stand for: (integer - zero point) * scale.

    Args:
        view: The items, the target and what is known of the model.
        layer: A layer's name, or ``auto``.
        grid: Rows and columns of a layer whose axes could not be followed, such as ``(8, 18)``; None to follow them.
        tokens: Tokens in front of the grid that are no positions.
        neck: Take a layer that everything passes through.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions, does not depend on the item or does not lead to the target, or the model
            has no layer that does.
    """
    lineage = view.lineage
    if lineage is None:
        raise _none(view)
    asked = (layer, grid, tokens, neck)
    key = ("map layer", *asked, view.layout, view.aims(lineage), view.outline.attended)
    known: MapLayer | None = lineage.known(key)
    return known or lineage.keep(key, _chosen(view, lineage, *asked))


def _chosen(
    view: View, lineage: Lineage, layer: str, grid: tuple[int, ...] | None, tokens: int, neck: bool
) -> MapLayer:
    """What ``map_layer`` returns."""
    between = view.between
    fit = [
        (place, spec, found)
        for place, spec in enumerate(view.outline.layers)
        if lineage.tensor(spec.name) in between and isinstance(found := _grid(view, lineage, spec.name), Grid)
    ]
    if layer != "auto":
        view.outline.layer(layer)  # says which there are
        found = _grid(view, lineage, layer, grid, tokens)
        if lineage.tensor(layer) not in between:
            raise _elsewhere(view, lineage, layer, fit)
        if isinstance(found, str):
            raise _no_grid(view, lineage, layer, found, fit)
        return MapLayer(layer, found)
    if grid or tokens:
        raise UsageError(
            option("grid"), " and ", option("tokens"), " state how one layer lies: name it with ", option("layer"), "."
        )
    attention = [
        place for place, spec in enumerate(view.outline.layers) if lineage.tensor(spec.name) in between & lineage.mixing
    ]
    aims = {lineage.tensor(name) for name in view.target.tensors}
    fit = [one for one in fit if lineage.tensor(one[1].name) not in aims]
    folded = {spec.name for _, spec, _ in fit if lineage.folded(spec.name)}
    plain = [one for one in fit if one[1].name not in folded]
    several = (
        [] if neck else [one for one in fit if one[1].name in folded]
    )  # what replaces a layer needs a row per item
    best = next(_candidates(view, lineage, plain, attention, neck), None)
    if best is None or not _full(view, best.grid):
        others = _candidates(view, lineage, [one for one in several if _full(view, one[2])], attention, neck)
        best = next(others, best)
    if best is not None:
        return best
    raise _none(view)


def reading(view: View, layer: MapLayer, maps: Any, *, rectify: bool, **more: Any) -> Reading:
    """Maps ``[N, *cells]`` of a layer as a reading of the item's size; ``rectify`` keeps what argues for the target."""
    xp = namespace(maps)
    if rectify:
        maps = xp.where(maps > 0, maps, xp.zeros_like(maps))
        more["warnings"] = (*more.get("warnings", ()), *_emptiness(maps))
    cells = layer.grid.cells
    resolution = cells if len(cells) > 1 else (1, *cells)
    maps = maps.astype(np.float32) if isinstance(maps, np.ndarray) else maps  # as the values end: half the memory
    notes = {"layer": layer.name, **more.pop("notes", {})}
    wide = enlarge_to(maps, view.layout.map_shape)
    return Reading(wide, resolution=resolution, notes=notes, signed=not rectify, native=maps, **more)


def _grid(
    view: View, lineage: Lineage, layer: str, cells: tuple[int, ...] | None = None, tokens: int = 0
) -> Grid | str:
    """A layer's grid, or why it has none."""
    if cells:
        axes = lineage.axes_of(layer)
        shape = shape_of(axes)[1:] if axes is not None else view.outline.layer(layer).shape[1:]
        known = tuple(n for n in shape if n is not None)
        return stated(known, cells, tokens, view.layout) if len(known) == len(shape) else "its shape is not known"
    return lineage.grid(layer, view.layout)


def _emptiness(maps: Any) -> tuple[Caveat, ...]:
    """Says so where nothing is left of an item's map, item by item; a graph value is not known before it runs."""
    if not isinstance(maps, np.ndarray) or all((one > 0).any() for one in maps):
        return ()
    said = Sentence(
        "The map is zero: as this method weighs the layer, nothing argues for the target. Look at hires-cam, which "
        "weighs every position by itself, give ",
        option("signed", True),
        " where the method has it, or ",
        option("layer"),
        " another.",
    )
    return each(("" if (one > 0).any() else said for one in maps), "empty")


def _full(view: View, grid: Grid) -> bool:
    """Whether a grid has more than one cell along every axis along which the item has more than one position."""
    return all(cells > 1 or extent == 1 for cells, extent in zip(grid.cells, view.layout.map_shape, strict=True))


def _candidates(
    view: View,
    lineage: Lineage,
    fit: Sequence[tuple[int, LayerSpec, Grid]],
    attention: Collection[int],
    neck: bool,
) -> Iterator[MapLayer]:
    """Layers that ``auto`` may take, best first: a grid over all of the item's axes before one over some of them."""
    layers, attended = view.outline.layers, view.outline.attended
    called = {attended, attended.rpartition(":")[0]} if attended and not attention else set()
    last = max([*attention, *(k + 1 for k, spec in enumerate(layers) if spec.name in called)], default=-1)
    inside = {name[:k] for name in (one.name for one in layers) for k, letter in enumerate(name) if letter == "."}
    single = {pick.tokens for pick in lineage.picks if pick.index is not None}

    def fitness(place: int, spec: LayerSpec) -> tuple[bool, int]:
        # a torch module that holds others ends like a block: with the sum that is the residual stream
        return (spec.does == "Add" or spec.name in inside) if neck else "norm" in spec.op.lower(), place

    def carried(grid: Grid) -> bool:
        """Whether one token may carry the answer: an extra one, or one that is picked."""
        return any(map(sum, grid.cuts)) or not single.isdisjoint(grid.shape)

    last_first = list(reversed(fit))
    for place, spec, grid in [one for one in last_first if _full(view, one[2])] + [
        one for one in last_first if not _full(view, one[2])
    ]:
        if carried(grid) and last >= 0:
            stream = [
                (fitness(before, earlier), earlier.name, other)
                for before, earlier, other in fit
                if before < last
                and (other.shape == grid.shape or place < last)  # what goes into attention may have other channels
                and (other.cells, sum(map(sum, other.cuts))) == (grid.cells, sum(map(sum, grid.cuts)))
            ]
            if stream:
                _, name, other = max(stream, key=lambda one: one[0])
                yield MapLayer(name, other)
        yield MapLayer(spec.name, grid)


# ---------------------------------------------------------------------- what is said of a layer that cannot be taken


def _proposed(fit: Sequence[tuple[int, LayerSpec, Grid]]) -> str:
    near = [spec.name for _, spec, _ in fit][-_SHOWN:]
    return f"Layers that do: {', '.join(near)}." if near else "No layer does."


def _elsewhere(view: View, lineage: Lineage, layer: str, fit: Sequence[tuple[int, LayerSpec, Grid]]) -> UsageError:
    """A layer beside the way from the item to the target."""
    if not lineage.descends(layer):
        why = f"does not depend on the explained input {view.outline.input!r}, so its map would be of something else"
        return UsageError(f"Layer {layer!r} {why}. {_proposed(fit)}")
    return UsageError(f"Layer {layer!r} does not lead to target {view.target.name!r}. {_proposed(fit)}")


def _no_grid(
    view: View, lineage: Lineage, layer: str, why: str, fit: Sequence[tuple[int, LayerSpec, Grid]]
) -> UsageError:
    axes = lineage.axes_of(layer)
    near = [spec.name for _, spec, _ in fit][-_SHOWN:]
    have = f"Layers that have: {', '.join(near)}." if near else "No layer has any."
    because = "" if why == "it has none" else f", for {why}"
    state = (
        "If you know its grid, state it, such as ",
        option("grid", "8x18"),
        " (and ",
        option("tokens", 1),
        " for a class token).",
    )
    return UsageError(
        f"Layer {layer!r} is [{describe(axes, view.layout)}]: it has no positions to draw{because}. {have}",
        advice=state if axes is None or sum(extent > 1 for extent in shape_of(axes)[1:]) > 1 else (),
    )


def _none(view: View) -> UsageError:
    where = f" before target {view.target.name!r}" if set(view.target.tensors) - {SCORES} else ""
    return UsageError(
        f"{view.outline.source} has no layer with positions of the item between the input and the scores{where}, so "
        "there is no class activation map. Use a gradient or perturbation method, such as saliency or occlusion; if a "
        "layer has positions that could not be followed, name it and state ",
        option("grid"),
        ".",
    )
