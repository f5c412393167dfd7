"""Recipro-CAM: show the rest of the net one position of a layer alone; it matters as much as the score then is."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import namespace
from xplain.core.declaring.options import Cells, Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Full
from xplain.core.positions.layout import Layout
from xplain.core.query import Flow, Peek, Score, View
from xplain.explainers.cam.layers import MapLayer, map_layer, reading

__all__ = ["recipro_cam"]

_BYTES = 64 * 2**20
"""Of the masks of one question."""
_POSITIONS = {1: "T", 2: "HW", 3: "DHW"}


@method(
    "recipro-cam",
    needs=(Peek, Score),
    paper=Paper("Byun & Lee 2022, 2023", "arXiv:2209.14074; arXiv:2310.02588 for transformers"),
    unit="{score} of a position alone, above that of nothing",
    aliases=("reciprocam", "vit-recipro-cam"),
    signed=False,
    traceable=True,
)
def recipro_cam(
    view: View,
    *,
    layer: str = "auto",
    grid: Cells | None = None,
    tokens: Natural = 0,
    smooth: bool = True,
    signed: bool = False,
) -> Flow:
    """Keep one position of a layer, or a small Gaussian about it, set all others to zero, and run the rest of the net.

    ``map[q] = f(tail(A * m_q)) - f(tail(0))``, ``m_q`` 1 at q and 0 elsewhere, or 3 x 3 weights ``exp(-d^2 / 2)``. Of a
    transformer the class token, and others that are no positions, are kept throughout.

    Args:
        layer: A layer with positions that everything passes through; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        smooth: Whether a position's neighbours are kept too, at the weights of a Gaussian of one cell.
        signed: Keep positions that alone say less than nothing does, instead of cutting them off at 0.

    Returns:
        ``[N, H, W]``, enlarged bilinearly from h x w; at least 0 unless ``signed``. ``base`` is the score of nothing.

    Cost:
        One evaluation, and h w + 1 of the model's tail only; no gradient, so that integer files and any runtime do, and
        a compiled file is the model with its tail a second time.

    Differs from the paper:
        The score is read as everywhere here, a logit where there is one, and nothing is scaled to [0, 1].

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions, or part of the score does not pass it.

    Source:
        Byun and Lee, Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks, 2022;
        ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision Transformer, 2023.
    """
    chosen = map_layer(view, layer, grid, tokens, neck=True)
    raw = (yield Peek(view.x, (chosen.name,)))[chosen.name]
    raw = np.ascontiguousarray(raw, dtype=np.float32) if isinstance(raw, np.ndarray) else raw
    item = tuple(int(extent) for extent in raw.shape[1:])
    layout, masks = _layout(chosen, item), _masks(chosen, item, smooth)
    zero = np.zeros((1,) * (1 + len(item)), np.float32)
    few, parts = max(1, _BYTES // masks[0].nbytes), []
    for left in range(0, len(masks), few):
        shown = Full(masks[left : left + few], zero)
        parts.append((yield Score(raw, shown, view.target, at=chosen.name, layout=layout)))
    xp = namespace(parts[0])
    scores = xp.concat(parts, axis=1)
    nothing = scores[:, len(masks) - 1 : len(masks)]
    maps = xp.reshape(scores[:, : len(masks) - 1] - nothing, (-1, *chosen.grid.cells))
    return reading(view, chosen, maps, rectify=not signed, base=xp.reshape(nothing, (-1,)))


def _kernels(chosen: MapLayer, smooth: bool) -> Array:
    """What each position's mask leaves of every position, ``[positions + 1, positions + 1]``.

    The last row is the mask of nothing; the last column stands for what is no position, and is kept by all.
    """
    cells = chosen.grid.cells
    at = np.stack(np.unravel_index(np.arange(int(np.prod(cells))), cells), axis=1)
    apart = np.abs(at[:, None] - at[None])
    weights = (apart.max(axis=2) == 0).astype(np.float64)
    if smooth:
        weights = np.where(apart.max(axis=2) <= 1, np.exp(-0.5 * (apart**2).sum(axis=2)), 0.0)
    whole = np.zeros((len(at) + 1, len(at) + 1))
    whole[:-1, :-1] = weights
    whole[:, -1] = 1.0
    return whole


def _masks(chosen: MapLayer, item: tuple[int, ...], smooth: bool) -> Array:
    """The masks over the plane of the layer's own positions, float32 ``[positions + 1, *plane]``."""
    size = int(np.prod(item))
    where = np.asarray(chosen.maps(np.arange(size).reshape(1, *item)))[0]  # [C, *cells]: the element that stands there
    place = np.full(size, -1)
    place[where.reshape(len(where), -1)] = np.arange(where[0].size)
    place = place.reshape(item).take(0, axis=chosen.grid.channel)  # all channels of a position are alike
    masks = _kernels(chosen, smooth)[:, place].astype(np.float32)
    return masks.reshape(len(masks), *_layout(chosen, item).plane)


def _layout(chosen: MapLayer, item: tuple[int, ...]) -> Layout:
    """How the axes of the layer's own values ``[N, *item]`` are named."""
    letters = list(_POSITIONS[len(item) - 1])
    letters.insert(chosen.grid.channel, "C")
    return Layout("N" + "".join(letters), item)
