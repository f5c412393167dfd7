"""SIDU: channels as masks, weighed by how close to the whole, and how unlike each other, what they show is answered."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import enlarge_to
from xplain.core.declaring.options import Baseline, Cells, Natural, PositiveReal, Share
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Full, Untouched
from xplain.core.query import Flow, Peek, Score, View
from xplain.core.target import every_score
from xplain.explainers.cam.layers import map_layer, reading
from xplain.explainers.design.baseline import fill_of

__all__ = ["sidu"]

_MASK_BYTES = 64 * 2**20
"""Masks held at once; channels are asked in rounds of so many."""


@method(
    "sidu",
    needs=(Peek, Score),
    paper=Paper("Muddamsetty 2021", "arXiv:2101.10710"),
    unit="mean weight of the masks that show a position",
    signed=False,
    traceable=False,
)
def sidu(
    view: View,
    *,
    layer: str = "auto",
    grid: Cells | None = None,
    tokens: Natural = 0,
    threshold: Share = 0.5,
    width: PositiveReal = 0.25,
    baseline: Baseline = 0.0,
) -> Flow:
    """Show the item through each channel of a layer; the masks count by what all classes then say, not one score.

    With P the answer for the item and ``P_k`` that for what mask k shows, both over all classes:
    ``map = 1/K sum over k of  exp(-|P - P_k|^2 / (2 width^2)) * ( sum over j of |P_k - P_j| ) * m_k``,
    the first factor the similarity to the whole, the second the difference from all other masks.

    Args:
        layer: A layer ``[N, C, h, w]`` or of tokens; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        threshold: Share of a channel's range above which it shows; masks are cut so, then enlarged bilinearly.
        width: How far an answer may be from the whole's before its mask counts little, in units of probability.
        baseline: What a hidden position becomes.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from h x w. Does not depend on the target.

    Cost:
        C + 2 evaluations per item, C the layer's channels. Needs no gradient.

    Differs from the paper:
        A channel is scaled to [0, 1] before it is cut; answers are probabilities, by a softmax or sigmoid where the
        model gives logits.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Muddamsetty et al., Visual Explanation of Black-Box Model: Similarity Difference and Uniqueness (SIDU) Method,
        Pattern Recognition 2022.
    """
    chosen = map_layer(view, layer, grid, tokens)
    peeked = yield Peek(view.x, (chosen.name,))
    values = np.asarray(chosen.maps(peeked[chosen.name]), dtype=np.float32)
    fill, plane = fill_of(view, baseline), view.layout.plane
    whole = yield Score(view.x, Untouched(), every_score)
    answer = _probabilities(np.asarray(whole), view.outline.scores.link)  # [N, 1, K]
    low, high = (side(values, axis=tuple(range(2, values.ndim)), keepdims=True) for side in (np.min, np.max))
    cut = ((values - low > threshold * (high - low)) & (high > low)).astype(np.float32)
    rows = max(1, _MASK_BYTES // (len(values) * plane[0] * plane[1] * 4))
    parts = []
    for left in range(0, cut.shape[1], rows):
        some = cut[:, left : left + rows]
        wide = enlarge_to(some.reshape(-1, *some.shape[2:]), view.layout.map_shape)
        masks = np.ascontiguousarray(wide.reshape(*some.shape[:2], *plane), dtype=np.float32)
        parts.append((yield Score(view.x, Full(masks, fill, per_item=True), every_score)))
    shown = _probabilities(np.concatenate(parts, axis=1), view.outline.scores.link)  # [N, C, K]
    near = np.exp(-((answer - shown) ** 2).sum(axis=2) / (2 * width**2))
    weights = near * np.stack([_apart(one) for one in shown])
    return reading(view, chosen, np.einsum("nk,nk...->n...", weights, cut) / cut.shape[1], rectify=True)


def _probabilities(scores: Array, link: str) -> Array:
    """What scores say as probabilities; those that no link turns into any stay as they are."""
    if link == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))
    if link == "softmax":
        away = np.exp(scores - scores.max(axis=2, keepdims=True))
        return np.asarray(away / away.sum(axis=2, keepdims=True))
    return scores


def _apart(answers: Array) -> Array:
    """The sum of each answer's distances to all others, ``[C, K]`` to ``[C]``."""
    square = (answers**2).sum(axis=1)
    apart = square[:, None] + square[None] - 2 * answers @ answers.T
    return np.asarray(np.sqrt(np.maximum(apart, 0)).sum(axis=1))
