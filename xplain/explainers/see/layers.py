"""Layers as lenses choose and call them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from xplain.core.positions.grid import Grid
from xplain.core.query import View
from xplain.explainers.cam.layers import MapLayer, map_layer

__all__ = ["before_clipping", "only_channels", "short_name", "with_positions"]

_LONGEST = 36
_MOVES = frozenset(
    {"reshape", "transpose", "flatten", "unflatten", "identity", "squeeze", "unsqueeze", "cast", "dropout"}
)
"""Operators whose result is what goes in, in another order or shape: what is seen there was seen before."""

_ROUNDS = frozenset({"quantizelinear", "dequantizelinear"})
"""Operators whose result is what goes in, rounded: a layer of an 8-bit file is followed by both."""


def short_name(layer: str) -> str:
    """The end of a layer's name, for a caption: exporters put a path of modules in front.

    Of names that an exporter joined with ``;`` for what it fused, the first is taken, as in figures: the last is
    ``BatchNorm_Fold/bias`` for every layer of some nets.
    """
    first = next((one for one in layer.split(";") if one.strip()), layer)
    parts = [part for part in re.split(r"[/:]", first) if part]
    kept = parts[-1] if parts else layer
    for part in reversed(parts[:-1]):
        if len(kept) + len(part) + 1 > _LONGEST:
            break
        kept = f"{part}/{kept}"
    return kept if len(kept) <= _LONGEST else f"…{kept[-_LONGEST + 1 :]}"


def with_positions(view: View) -> list[MapLayer]:
    """Every layer with positions, in order of evaluation.

    One that only goes on into an activation is left out, and one that holds the numbers of a layer before it in another
    order, or rounded.

    Raises:
        UsageError: there is none.
    """
    lineage = view.lineage
    found = []
    if lineage is not None:
        children: dict[str, list[str]] = {}
        for name, parents in lineage.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(name)
        ops = {lineage.tensor(one.name): one.op for one in view.outline.layers}
        clipping = {name.casefold() for name in view.outline.activations or ()}
        for spec in view.outline.layers:
            next_ones = children.get(lineage.tensor(spec.name), [])
            while len(next_ones) == 1 and ops.get(next_ones[0], "").casefold() in _ROUNDS:
                next_ones = children.get(next_ones[0], [])
            passed = len(next_ones) == 1 and _goes_on(ops.get(next_ones[0], ""), clipping)
            grid = lineage.grid(spec.name, view.layout)
            parents = lineage.parents.get(lineage.tensor(spec.name), ())
            moved = spec.op.casefold() in _MOVES and any(parent in ops for parent in parents)
            moved = moved or spec.op.casefold() in _ROUNDS  # also of the input
            if isinstance(grid, Grid) and not (passed or moved) and lineage.descends(spec.name):
                found.append(MapLayer(spec.name, grid))
    return found or [map_layer(view, "auto")]  # which says why there is none


def only_channels(shape: Sequence[int]) -> int | None:
    """The axis of channels of a layer without positions, its batch left out: ``[C]`` or ``[C, 1, 1]``; else None."""
    wide = [axis for axis, extent in enumerate(shape) if extent != 1]
    if len(shape) == 1:
        return 0
    return wide[0] if len(wide) == 1 else None


def _goes_on(op: str, clipping: Collection[str]) -> bool:
    """Whether an operator goes on with a layer position by position: then what comes out is shown, not what goes in."""
    return op.casefold() in clipping or "norm" in op.lower()


def before_clipping(view: View, layer: str) -> str:
    """The layer that an activation is made of, where ``layer`` is an activation; else the layer itself.

    What is projected back from a unit begins there: where an activation is at its upper bound, nothing would pass it.
    """
    lineage = view.lineage
    spec = view.outline.layer(layer)
    clipping = {name.casefold() for name in view.outline.activations or ()}
    if lineage is None or spec.op.casefold() not in clipping:
        return layer
    parents = lineage.parents.get(lineage.tensor(layer), ())
    tensors = {lineage.tensor(one.name): one.name for one in view.outline.layers}
    made = tensors.get(parents[0]) if len(parents) == 1 else None
    same = made is not None and view.outline.extents(made, view.layout.item) == view.outline.extents(
        layer, view.layout.item
    )
    return made if made is not None and same else layer
