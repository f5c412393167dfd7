"""The layer behind a class activation map: which one, in what shape, and back to the picture's size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.arrays import enlarge, namespace
from xplain.core.caveat import Caveat, each
from xplain.core.edits import Array, Coalitions
from xplain.core.errors import UsageError
from xplain.core.layout import channels_last
from xplain.core.outline import LayerSpec
from xplain.core.query import Reading, View

__all__ = ["MapLayer", "map_layer", "reading"]


@dataclass(frozen=True, slots=True)
class MapLayer:
    """A layer that can be seen as maps ``[N, C, h, w]``.

    Args:
        name: The tensor's name.
        tokens: Leading tokens that are no positions (class and register tokens) of a token layer ``[N, T, C]``; None
            for a layer that is maps already.
        channels_last: The layer is ``[N, h, w, C]``.
    """

    name: str
    tokens: int | None = None
    channels_last: bool = False

    @property
    def _axis(self) -> int:
        """The channels' axis in the layer's own shape, as it is without the items' axis."""
        return -1 if self.channels_last or self.tokens is not None else 0

    def channels(self, raw: Array) -> int:
        """How many channels the layer's own values ``[N, ...]`` have."""
        return int(raw[0].shape[self._axis])

    def hiding(self, raw: Array, keep: Array) -> Coalitions:
        """Edits of the layer's own values that set channels to zero where ``keep``, bool ``[M, C]``, is False."""
        spread = [1] * (raw.ndim - 1)
        spread[self._axis] = self.channels(raw)
        labels = np.broadcast_to(np.arange(self.channels(raw), dtype=np.int32).reshape(spread), raw.shape[1:])
        zero = np.zeros((1,) * raw.ndim, np.float32)
        return Coalitions(np.ascontiguousarray(labels), keep.astype(np.uint8), zero, whole=True)

    def maps(self, values: Any) -> Any:
        """The layer's values or cotangents as ``[N, C, h, w]``."""
        xp = namespace(values)
        if self.channels_last:
            return xp.permute_dims(values, (0, 3, 1, 2))
        if self.tokens is None:
            return values
        rest = values[:, self.tokens :]
        side = math.isqrt(rest.shape[1])
        return xp.reshape(xp.permute_dims(rest, (0, 2, 1)), (-1, rest.shape[2], side, side))


def map_layer(view: View, layer: str, *, neck: bool = False) -> MapLayer:
    """The layer called ``layer``; for ``auto`` the last one with more than one position before the head or the target.

    Token layers ``[N, T, C]`` count when T, or T less up to 5 class and register tokens, is a square. Where a class
    token carries the answer, nothing of the patches matters behind the last attention, so ``auto`` takes the tokens
    that go into it: normalised, because before a layer norm gradient times value always sums to zero; or with ``neck``
    the residual stream, which everything behind passes through.

    In a file whose activations are integers (QLinearConv ...) the layers are called as these are, and are read as the
    real numbers that they stand for: (integer - zero point) * scale.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions, or the model has no layer that has.
    """
    layers = view.outline.layers
    if layer != "auto":
        found = _as_maps(view.outline.layer(layer))
        if found is None:
            spec = view.outline.layer(layer)
            near = [one.name for one in layers if _as_maps(one) is not None][-3:]
            raise UsageError(
                f"Layer {layer!r} is {_shape(spec)}: it has no positions to draw. Layers that have: {', '.join(near)}."
            )
        return found
    before = _before(view)
    for found in _candidates(before, neck, view.outline.attended):
        return found
    where = f" before target {view.target.name!r}" if len(before) < len(layers) else ""
    raise UsageError(
        f"{view.outline.source} has no layer with positions ([N, C, h, w] or a square grid of tokens){where}, so there "
        "is no class activation map. Use a gradient or perturbation method, such as saliency or occlusion."
    )


def reading(view: View, layer: MapLayer, maps: Any, *, rectify: bool, **more: Any) -> Reading:
    """Maps ``[N, h, w]`` of a layer as a reading of picture size; ``rectify`` keeps only what argues for the target."""
    xp = namespace(maps)
    notes = {"layer": layer.name, **more.pop("notes", {})}
    if rectify:
        maps = xp.where(maps > 0, maps, xp.zeros_like(maps))
        more["warnings"] = (*more.get("warnings", ()), *_emptiness(maps))
    height, width = (int(n) for n in maps.shape[-2:])
    return Reading(
        enlarge(maps, view.layout.plane), resolution=(height, width), notes=notes, signed=not rectify, **more
    )


def _before(view: View) -> Sequence[LayerSpec]:
    """The layers before the target, where that is one of them."""
    layers = view.outline.layers
    inside = set(view.target.tensors)
    return layers[: min([k for k, one in enumerate(layers) if one.name in inside], default=len(layers))]


def _emptiness(maps: Any) -> tuple[Caveat, ...]:
    """Says so where nothing is left of an item's map, item by item; a graph value is not known before it runs."""
    if not isinstance(maps, np.ndarray) or all((one > 0).any() for one in maps):
        return ()
    said = (
        "The map is zero: as this method weighs the layer, nothing argues for the target. Look at hires-cam, which "
        "weighs every position by itself, at signed=True where the method has it, or at another layer."
    )
    return each(("" if (one > 0).any() else said for one in maps), "empty")


def _candidates(layers: Sequence[LayerSpec], neck: bool, attended: str) -> Iterator[MapLayer]:
    """Layers that ``auto`` may take, best first."""
    seen = [(place, spec, _as_maps(spec)) for place, spec in enumerate(layers)]
    tokens = {spec.shape[1] for _, spec, maps in seen if maps is not None and maps.tokens is not None}
    # attention matrices [N, heads, T, T] and their factors are no pictures
    seen = [(k, spec, maps) for k, spec, maps in seen if len(spec.shape) != 4 or not tokens & set(spec.shape[1:])]
    attention = [k for k, spec in enumerate(layers) if spec.does == "Softmax" and tokens & set(spec.shape[2:])]
    called = {attended, attended.rpartition(":")[0]} if attended and not attention else set()
    attention += [k + 1 for k, spec in enumerate(layers) if spec.name in called][:1]
    inside = {name[:k] for name in (one.name for one in layers) for k, letter in enumerate(name) if letter == "."}

    def fitness(place: int, spec: LayerSpec) -> tuple[bool, int]:
        # a torch module that holds others ends like a block: with the sum that is the residual stream
        return (spec.does == "Add" or spec.name in inside) if neck else "norm" in spec.op.lower(), place

    for place, spec, maps in reversed(seen):
        if maps is not None and maps.tokens and attention:
            stream = [
                (fitness(before, earlier), other)
                for before, earlier, other in seen[:place]
                if before < attention[-1] and other is not None and earlier.shape[1:] == spec.shape[1:]
            ]
            if stream:
                yield max(stream, key=lambda one: one[0])[1]
        if maps is not None:
            yield maps


def _as_maps(spec: LayerSpec) -> MapLayer | None:
    if spec.spatial and spec.channels_last:
        return MapLayer(spec.name, channels_last=True)
    if spec.spatial:
        return MapLayer(spec.name, channels_last=channels_last(spec.shape[1:]))
    if len(spec.shape) == 3 and isinstance(spec.shape[1], int) and isinstance(spec.shape[2], int):
        for extra in range(6):
            side = math.isqrt(max(0, spec.shape[1] - extra))
            if side > 1 and side * side == spec.shape[1] - extra:
                return MapLayer(spec.name, tokens=extra)
    return None


def _shape(spec: LayerSpec) -> str:
    return f"[{', '.join('?' if n is None else str(n) for n in spec.shape)}]" if spec.shape else "of unknown shape"
