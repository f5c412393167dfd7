"""Filters: the kernels of a convolution as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.kernels import Kernel
from xplain.core.lenses.scene import Scene, Seeing
from xplain.explainers.see.layers import short_name

__all__ = ["filters"]

_DEAD = 1e-6  # of the largest norm of a layer
_ALIKE = 0.999  # cosine from which two kernels are one
_SHOWN = 8  # that a sentence names


@lens(
    "filters",
    items="none",
    paper=Paper("Krizhevsky 2012", "doi:10.1145/3065386"),
    trial={"layer": "auto", "k": 3},
)
def filters(
    scene: Scene,
    *,
    layer: str = "auto",
    k: Positive | None = None,
    channels: Positive = 32,
    sort: Literal["norm", "channel"] = "norm",
    shared: bool = False,
) -> Seeing[Cells]:
    """The kernels of a convolution: what its channels weigh, and with which sign.

    A kernel that reads a picture's red, green and blue is drawn in these colours, in the picture's own units: the
    card's factors and its order of channels are undone, ``w_c * scale / std_c``. All others are drawn in grey, one
    tile per input channel. Integers are read as the real numbers they stand for.

    Args:
        layer: The layer that the convolution makes, or ``auto`` for the first convolution.
        k: How many kernels are shown; none for up to 128 of one tile each, 32 where each has a row of its own.
        channels: Input channels of a kernel that are shown, of those with the largest norm.
        sort: Kernels by their norm, the largest first, or in the order of their channels.
        shared: Draw all kernels on one scale, so that weak ones look weak, rather than each on its own.

    Returns:
        A gallery with a cell per kernel, or a row of cells; values are the Euclidean norms of the kernels, and
        ``facts`` name dead ones (no weight at all) and those that are the same but for a factor.

    Cost:
        None: only weights are read.

    Raises:
        UsageError: the layer is made by no convolution; the message names some that are.

    Source:
        Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012; the
        grids of grey tiles are ConvNetJS's.
    """
    yield from ()  # a lens is a flow, also one that asks nothing
    kernel = _chosen(scene, layer)
    weights = kernel.values.astype(np.float64)
    colours, note = _in_colours(kernel, scene.card)
    if colours is not None:
        weights = colours
    norms = np.sqrt((weights.reshape(len(weights), -1) ** 2).sum(axis=1))
    order = np.argsort(-norms, kind="stable") if sort == "norm" else np.arange(len(norms))
    single = colours is not None or weights.shape[1] == 1 or weights.ndim == 3
    order = order[: k or (128 if single else 32)]
    dead = np.flatnonzero(norms <= _DEAD * max(float(norms.max()), np.finfo(np.float64).tiny))
    alike = _duplicates(weights, norms, set(dead.tolist()))
    name = short_name(kernel.layer)
    found: list[Cell] = []
    for c in map(int, order):
        unit, told = f"{name}[{c}]", f"{c}: dead" if c in dead else f"{c}: {norms[c]:.2g}"
        tiles = [_tile(weights[c], colours is not None)] if single else None
        strongest = np.sort(np.argsort(-np.abs(weights[c]).reshape(weights.shape[1], -1).sum(axis=1))[:channels])
        for n in [-1] if tiles is not None else strongest:
            tile = tiles[0] if tiles is not None else _flat(weights[c, n])
            caption = told if n < 0 else ""
            found.append(Cell(unit, float(norms[c]), maps=(tile.astype(np.float32),), caption=caption))
    extent = "x".join(map(str, weights.shape[2:]))
    kind = "depthwise " if kernel.depthwise else ""
    shown = "" if len(order) == len(norms) else f" {len(order)} of"
    warnings = [*note, *_told(dead.tolist(), alike)]
    return cells(
        found,
        f"{name}:{shown} {len(norms)} {kind}kernels of {extent} over {counted(weights.shape[1], 'channel')}",
        "norm of the kernel",
        map_names=("weight",),
        form="grid" if single else "rows",
        look="colour" if colours is not None else "grey",
        contrast="shared" if shared else "unit",
        about={} if single else {f"{name}[{c}]": f"norm {norms[c]:.3g}" for c in map(int, order)},
        facts={"layer": kernel.layer, "dead": dead.tolist(), "duplicates": [list(pair) for pair in alike]},
        warnings=tuple(warnings),
    )


def _chosen(scene: Scene, layer: str) -> Kernel:
    known = scene.outline.kernels() if scene.outline.kernels is not None else ()
    if not known:
        raise UsageError(f"{scene.outline.source} has no convolution whose kernels could be shown.")
    if layer == "auto":
        return next((one for one in known if one.first), known[0])
    found = [one for one in known if one.layer == layer]
    if not found:
        some = ", ".join(repr(one.layer) for one in known[:4])
        raise UsageError(
            f"Layer {layer!r} is made by no convolution, so it has no kernels. Layers that are: {some}"
            f"{f' and {len(known) - 4} more' if len(known) > 4 else ''}. Give one of these as ",
            option("layer"),
            ".",
        )
    return found[0]


def _in_colours(kernel: Kernel, card: Card | None) -> tuple[Array | None, list[Caveat]]:
    """A first layer's kernels over red, green and blue in the picture's units, ``[O, 3, h, w]``; else None."""
    weights = kernel.values.astype(np.float64)
    if not kernel.first or weights.shape[1] != 3 or weights.ndim != 4:
        return None, []
    if card is None:
        text = (
            "No card says how pictures become the input, so channels are taken for red, green and blue, of one scale. "
            "Give a card, for colours of the picture."
        )
        return weights, [Caveat(text, "input")]
    factors = card.scale / np.broadcast_to(np.asarray(card.std, np.float64), 3)
    weights = weights * factors[:, None, None]
    return (weights[:, ::-1] if card.mode == "BGR" else weights), []


def _tile(one: Array, colour: bool) -> Array:
    """One kernel as ``[h, w, d]``."""
    if colour:
        return np.moveaxis(one, 0, 2)
    if one.ndim == 2:  # of a series: channels by time
        return one[:, :, None]
    return _flat(one[0])


def _flat(one: Array) -> Array:
    """What a kernel does to one channel as ``[h, w, 1]``: of a volume its slices side by side."""
    if one.ndim == 1:
        return one[None, :, None]
    if one.ndim == 3:
        one = np.concatenate(list(one), axis=1)
    return one[:, :, None]


def _duplicates(weights: Array, norms: Array, dead: set[int]) -> list[tuple[int, int]]:
    """Pairs of kernels that are the same but for a positive factor; the one that comes first is named once."""
    alive = [c for c in range(len(norms)) if c not in dead]
    if len(alive) < 2 or len(alive) > 2048:
        return []
    flat = weights.reshape(len(weights), -1)[alive] / norms[alive, None]
    close = flat @ flat.T >= _ALIKE
    return [(alive[a], alive[b]) for a, b in combinations(range(len(alive)), 2) if close[a, b]]


def _told(dead: Sequence[int], alike: Sequence[tuple[int, int]]) -> list[Caveat]:
    told = []
    if len(dead):
        one, is_ = ("kernel", "is") if len(dead) == 1 else ("kernels", "are")
        names = ", ".join(map(str, dead[:_SHOWN])) + (" ..." if len(dead) > _SHOWN else "")
        told.append(Caveat(f"{len(dead)} {one} {is_} dead, all weights zero: {names}.", "model"))
    if alike:
        names = ", ".join(f"{a} and {b}" for a, b in alike[:_SHOWN]) + (" ..." if len(alike) > _SHOWN else "")
        told.append(Caveat(f"Kernels that are the same but for a factor: {names}.", "model"))
    return told
