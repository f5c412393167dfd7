"""Class activation maps whose weights come from asking: Score-CAM, Ablation-CAM, and Eigen-CAM that asks nothing."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import enlarge_to
from xplain.core.declaring.options import Baseline, Cells, Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Full, Untouched
from xplain.core.query import Flow, Peek, Score, View
from xplain.explainers.cam.layers import map_layer, reading
from xplain.explainers.design.baseline import fill_of

__all__ = ["ablation_cam", "eigen_cam", "score_cam"]

_MASK_BYTES = 64 * 2**20
"""Masks held at once; channels are asked in rounds of so many."""


@method(
    "score-cam",
    needs=(Peek, Score),
    paper=Paper("Wang 2019", "arXiv:1910.01279, algorithm 1"),
    unit="softmax weight times activation",
    aliases=("scorecam",),
    signed=False,
    traceable=False,
)
def score_cam(
    view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0, baseline: Baseline = 0.0
) -> Flow:
    """Each channel weighted by the score the item gets when only what that channel sees is shown.

    ``m_k`` = channel k enlarged and scaled to [0, 1]; ``C_k = f(m_k * x + (1 - m_k) * baseline) - f(baseline)``;
    ``map = max(0, sum over k of softmax(C)_k A_k)``.

    Args:
        layer: A layer ``[N, C, h, w]`` or of tokens; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        baseline: What a hidden position becomes.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from h x w.

    Cost:
        C + 2 evaluations per item, C the layer's channels. Needs no gradient.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR-W 2020.
    """
    chosen = map_layer(view, layer, grid, tokens)
    peeked = yield Peek(view.x, (chosen.name,))
    values = np.asarray(chosen.maps(peeked[chosen.name]), dtype=np.float32)
    fill = fill_of(view, baseline)
    plane, channels = view.layout.plane, values.shape[1]
    hidden = yield Score(view.x, Full(np.zeros((1, *plane), np.float32), fill), view.target)
    rows = max(1, _MASK_BYTES // (len(values) * plane[0] * plane[1] * 4))
    parts = []
    for left in range(0, channels, rows):
        some = values[:, left : left + rows]
        wide = enlarge_to(some.reshape(-1, *some.shape[2:]), view.layout.map_shape)
        masks = _unit_range(wide.reshape(*some.shape[:2], *plane))
        parts.append((yield Score(view.x, Full(masks, fill, per_item=True), view.target)))
    increase = np.concatenate(parts, axis=1) - hidden
    weights = np.exp(increase - increase.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return reading(view, chosen, np.einsum("nk,nk...->n...", weights, values), rectify=True)


@method(
    "ablation-cam",
    needs=(Peek, Score),
    paper=Paper("Desai 2020", "doi:10.1109/WACV45572.2020.9093360"),
    unit="delta {score} when a channel is removed, times activation",
    aliases=("ablationcam",),
    signed=False,
    traceable=False,
)
def ablation_cam(
    view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0, signed: bool = False
) -> Flow:
    """Each channel weighted by how far the score falls when that channel alone is set to zero.

    ``w_k = f(x) - f(x with A_k = 0)``; ``map = max(0, sum over k of w_k A_k)``. Only the part of the model behind the
    layer is run again.

    Args:
        layer: A layer ``[N, C, h, w]``; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        signed: Keep what argues against the target, instead of cutting it off at 0.

    Returns:
        ``[N, H, W]``, enlarged bilinearly from h x w; at least 0 unless ``signed``.

    Cost:
        C + 2 evaluations per item, C the layer's channels; all but two of the model's tail only.

    Differs from the paper:
        The fall is not divided by f(x), which would turn the map round for negative logits.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization, WACV 2020.
    """
    chosen = map_layer(view, layer, grid, tokens, neck=True)
    peeked = yield Peek(view.x, (chosen.name,))
    raw = np.ascontiguousarray(peeked[chosen.name], dtype=np.float32)
    values = np.asarray(chosen.maps(raw))
    edits = chosen.hiding(raw, ~np.eye(chosen.channels(raw), dtype=bool))
    base = yield Score(view.x, Untouched(), view.target)
    without = yield Score(raw, edits, view.target, at=chosen.name)
    weights = np.asarray(base) - np.asarray(without)
    maps = np.einsum("nk,nk...->n...", weights, values)
    return reading(view, chosen, maps, rectify=not signed)


@method(
    "eigen-cam",
    needs=Peek,
    paper=Paper("Muhammad 2020", "arXiv:2008.00299"),
    unit="projection on the first principal direction",
    aliases=("eigencam",),
    traceable=False,
)
def eigen_cam(view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0) -> Flow:
    """What the layer mostly says, whatever the class: its projection on the first right singular vector.

    With ``A`` as ``[h w, C] = U S V^T``:  ``map = A V[:, 0]``, the sign chosen so that the map's sum is positive.

    Args:
        layer: A layer ``[N, C, h, w]`` or of tokens; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.

    Returns:
        ``[N, H, W]``, signed, enlarged bilinearly from h x w. Does not depend on the target.

    Cost:
        1 evaluation per item.

    Differs from the paper:
        The sign of a singular vector is arbitrary; here it is fixed.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.
    """
    chosen = map_layer(view, layer, grid, tokens)
    peeked = yield Peek(view.x, (chosen.name,))
    values = np.asarray(chosen.maps(peeked[chosen.name]), dtype=np.float64)
    flat = values.reshape(*values.shape[:2], -1).swapaxes(1, 2)
    first = np.linalg.svd(flat, full_matrices=False)[2][:, 0]
    maps = np.einsum("npc,nc->np", flat, first)
    maps *= np.where(maps.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    return reading(view, chosen, maps.reshape(len(maps), *values.shape[2:]), rectify=False)


def _unit_range(maps: Array) -> Array:
    """Each map scaled to [0, 1]; a constant map shows nothing."""
    low, high = maps.min(axis=(2, 3), keepdims=True), maps.max(axis=(2, 3), keepdims=True)
    return np.asarray((maps - low) / np.where(high > low, high - low, 1), dtype=np.float32)
