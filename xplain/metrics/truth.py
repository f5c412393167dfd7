"""How well a map finds what is known to be there: masks of the truth against maps. Nothing is asked of the model.

A mask says where the object is, not why the model decided: a model that is right for a wrong reason, and a map that
shows it, score badly here. Use it where the reason is known: planted objects, segmentations, mosaics.
"""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Positive, Share
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.metrics.maps import masked, mean_ranks, ratio, top_share

__all__ = ["focus", "mass_accuracy", "pointing_game", "rank_accuracy", "roc_auc", "topk_intersection"]


@metric(
    "pointing-game",
    better="large",
    needs="truth",
    unit="hit",
    range=(0.0, 1.0),
    paper=Paper("Zhang 2016", "arXiv:1608.00507"),
)
def pointing_game(values: Array, masks: Array) -> Array:
    """Whether the largest value lies inside the mask: 1 or 0, and the mean over items is the hit rate.

    Where several positions share the largest value, the share of them that lies inside.

    Args:
        values: Maps ``[N, *map]``.
        masks: The truth, bool of the same shape.

    Returns:
        ``[N]``; NaN for an empty mask, which cannot be hit, and for a map with NaN.

    Differs from the paper:
        No margin of 15 pixels around the mask: enlarge the mask where one is wanted. The rate is not averaged by class.

    Cost:
        Nothing is asked.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, section 4.1.
    """
    rows, inside = masked(values, masks)
    top = rows == rows.max(axis=1, keepdims=True)
    hit = ratio((top & inside).sum(axis=1), top.sum(axis=1))
    return np.where(inside.any(axis=1), hit, np.nan)


@metric(
    "relevance-mass",
    better="large",
    needs="truth",
    unit="share of positive mass",
    range=(0.0, 1.0),
    paper=Paper("Arras 2022", "arXiv:2003.07258"),
    aliases=("attribution-localisation", "inside-total"),
)
def mass_accuracy(values: Array, masks: Array) -> Array:
    """The share of the positive values that lies inside the mask: ``sum_S max(a, 0) / sum max(a, 0)``.

    A mask over the share q of the picture gets q by chance.

    Args:
        values: Maps ``[N, *map]``.
        masks: The truth, bool of the same shape.

    Returns:
        ``[N]``, 0..1; NaN where nothing is positive, or the mask is empty.

    Cost:
        Nothing is asked.

    Source:
        Arras, Osman and Samek, CLEVR-XAI, Information Fusion 2022, equation 1.
    """
    rows, inside = masked(values, masks)
    positive = np.maximum(rows, 0.0)
    found = ratio((positive * inside).sum(axis=1), positive.sum(axis=1))
    return np.where(inside.any(axis=1), found, np.nan)


@metric(
    "relevance-rank",
    better="large",
    needs="truth",
    unit="share of the mask",
    range=(0.0, 1.0),
    paper=Paper("Arras 2022", "arXiv:2003.07258"),
)
def rank_accuracy(values: Array, masks: Array) -> Array:
    """Of as many largest values as the mask has positions, the share that lies inside it.

    Args:
        values: Maps ``[N, *map]``.
        masks: The truth, bool of the same shape.

    Returns:
        ``[N]``, 0..1; equal values at the last place count by their share. NaN for an empty mask or a map with NaN.

    Cost:
        Nothing is asked.

    Source:
        Arras, Osman and Samek, CLEVR-XAI, Information Fusion 2022, equation 2.
    """
    rows, inside = masked(values, masks)
    return top_share(rows, inside, inside.sum(axis=1))


@metric(
    "top-k-intersection",
    better="large",
    needs="truth",
    unit="share of the k largest",
    range=(0.0, 1.0),
    paper=Paper("Theiner 2022", "arXiv:2104.14995"),
)
def topk_intersection(values: Array, masks: Array, *, k: Positive = 100) -> Array:
    """Of the ``k`` largest values, the share that lies inside the mask.

    Args:
        values: Maps ``[N, *map]``.
        masks: The truth, bool of the same shape.
        k: Positions that are taken; all of them where there are fewer.

    Returns:
        ``[N]``, 0..1; equal values at the last place count by their share. NaN for an empty mask or a map with NaN.

    Cost:
        Nothing is asked.

    Source:
        Theiner, Müller-Budack and Ewerth, Interpretable Semantic Photo Geolocation, WACV 2022.
    """
    rows, inside = masked(values, masks)
    found = top_share(rows, inside, np.full(len(rows), min(k, rows.shape[1])))
    return np.where(inside.any(axis=1), found, np.nan)


@metric(
    "roc-auc",
    better="large",
    needs="truth",
    unit="probability",
    range=(0.0, 1.0),
    paper=Paper("Fawcett 2006", "doi:10.1016/j.patrec.2005.10.010"),
    aliases=("auc",),
)
def roc_auc(values: Array, masks: Array) -> Array:
    """The probability that a position inside the mask has a larger value than one outside; 0.5 is chance.

    By ranks, equal ones shared: ``(sum of ranks inside - n (n + 1) / 2) / (n (P - n))``, n positions inside.

    Args:
        values: Maps ``[N, *map]``.
        masks: The truth, bool of the same shape.

    Returns:
        ``[N]``, 0..1; NaN where the mask is empty or everything.

    Cost:
        Nothing is asked.

    Source:
        Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006.
    """
    rows, inside = masked(values, masks)
    count = inside.sum(axis=1)
    ranks = (mean_ranks(rows) * inside).sum(axis=1) + count
    return ratio(ranks - count * (count + 1) / 2, count * (rows.shape[1] - count))


@metric(
    "focus",
    better="large",
    needs="truth",
    unit="share of mass in tiles",
    range=(0.0, 1.0),
    paper=Paper("Arias-Duart 2022", "arXiv:2109.15035"),
    aliases=("grid-pointing-game",),
)
def focus(values: Array, masks: Array, *, least: Share = 0.0) -> Array:
    """In a mosaic of pictures, the share of positive values that lies in the tiles of the target's class.

    ``least`` leaves out what is smaller than this share of the largest value, as a person does who looks at the map.

    Args:
        values: Maps of mosaics, ``[N, *map]``; ``xplain.metrics.mosaics.mosaic`` builds them with their masks.
        masks: True in tiles of the target's class, of the same shape.
        least: Share of the largest value from which a position counts.

    Returns:
        ``[N]``, 0..1; NaN where nothing is positive, or no tile is the target's.

    Cost:
        Nothing is asked, but for the explanation of each mosaic.

    Source:
        Arias-Duart et al., Focus! Rating XAI Methods and Finding Biases, FUZZ-IEEE 2022.
    """
    rows, inside = masked(values, masks)
    bar = least * np.max(rows, axis=1, keepdims=True)
    positive = np.where(rows >= bar, np.maximum(rows, 0.0), 0.0)
    positive[np.isnan(rows).any(axis=1)] = np.nan
    found = ratio((positive * inside).sum(axis=1), positive.sum(axis=1))
    return np.where(inside.any(axis=1), found, np.nan)
