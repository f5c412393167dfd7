"""Curves by regions: patches or superpixels are hidden, those that the explanation puts first, first.

A patch holds together what a model sees together, so the score falls for the reason that is hidden and not for the
speckles that hiding single pixels makes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, TypeAlias

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.core.query import Answer, Flow, Query, Reading, View
from xplain.metrics.asking import blank, clean, grid, summed_by, without
from xplain.metrics.maps import of_view, ratio

__all__ = ["irof", "region_perturbation", "selectivity"]

Curve: TypeAlias = Generator[Query, Answer, tuple[Array, Array]]


@metric(
    "region-perturbation",
    better="large",
    needs="curve",
    unit="score",
    paper=Paper("Samek 2017", "arXiv:1509.06321"),
    aliases=("aopc",),
    trial={"cells": 4, "steps": 4},
)
def region_perturbation(view: View, values: Array, fill: Array, *, cells: Positive = 14, steps: Positive = 28) -> Flow:
    """How far the score falls on average while patches are hidden, those with the largest sums first.

    ``AOPC = 1 / (K + 1) sum_{k = 0 .. K} (f(x) - f(x_k))``, ``x_k`` the item without the first k groups of patches.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        cells: Patches along each axis.
        steps: Groups in which the patches go; all of them go in the end.

    Returns:
        ``[N]`` in units of the score; ``shares [K + 1]`` are in ``notes``, ``scores [N, K + 1]`` in ``each``.

    Differs from the paper:
        Patches become the baseline instead of noise, and all go, where the paper stops after 100 of 9 x 9 pixels.

    Cost:
        ``steps`` + 1 evaluations per item; none where ``selectivity`` asked with the same options.

    Source:
        Samek et al., Evaluating the Visualization of What a Deep Neural Network has Learned, IEEE TNNLS 2017.
    """
    shares, scores = yield from _by_patch(view, values, fill, cells, steps)
    return _reading((scores[:, :1] - scores).mean(axis=1), shares, scores)


@metric(
    "selectivity",
    better="small",
    needs="curve",
    unit="score",
    paper=Paper("Montavon 2018", "arXiv:1706.07979"),
    trial={"cells": 4, "steps": 4},
)
def selectivity(view: View, values: Array, fill: Array, *, cells: Positive = 14, steps: Positive = 28) -> Flow:
    """The area under the score while patches are hidden, those with the largest sums first.

    By the trapezoid rule over the share of patches that is hidden, as ``deletion`` over that of positions. Arguments,
    returns and cost as ``region-perturbation``, whose evaluations it shares.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        cells: Patches along each axis.
        steps: Groups in which the patches go.

    Source:
        Montavon, Samek and Müller, Methods for interpreting and understanding deep neural networks, 2018, section 7.2.
    """
    shares, scores = yield from _by_patch(view, values, fill, cells, steps)
    return _reading(_area(shares, scores), shares, scores)


@metric(
    "irof",
    better="large",
    needs="curve",
    unit="share of the score",
    paper=Paper("Rieger 2020", "arXiv:2003.08747"),
    trial={"segments": 8, "steps": 4},
)
def irof(
    view: View,
    values: Array,
    fill: Array,
    *,
    segments: Positive = 100,
    steps: Positive = 28,
    whole: Literal["range", "score"] = "range",
) -> Flow:
    """The area over the score while superpixels are hidden, those with the largest mean first, as a share of the whole.

    ``IROF = 1 - integral over q of r(q) dq`` with ``r(q) = (f(x_q) - f(x0)) / (f(x) - f(x0))``, q the share of the
    superpixels that is hidden, x0 the item with everything hidden.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        segments: Superpixels that are wanted (SLIC); items that are no pictures are divided evenly.
        steps: Groups in which they go.
        whole: ``score`` divides by f(x) alone, as the paper does with probabilities; a logit has no zero, so the same
            explanation would score anything.

    Returns:
        ``[N]``; NaN where the whole is not above 0. ``shares`` and ``scores`` as ``region-perturbation``.

    Differs from the paper:
        ``whole="range"``, which is the paper's where f(x0) is 0.

    Cost:
        ``steps`` + 1 evaluations per item.

    Source:
        Rieger and Hansen, IROF: a low resource evaluation metric for explanation methods, 2020.
    """
    of_view(view, values)
    labels, count = _superpixels(view, segments)
    sizes = summed_by(np.ones(values.shape), labels, count)
    means = np.where(sizes > 0, ratio(summed_by(values, labels, count), sizes), -np.inf)
    shares, scores = yield from _hidden(view, fill, (labels, means), steps)
    base = (yield from blank(view, fill))[:, None] if whole == "range" else np.zeros((len(values), 1))
    rest = ratio(scores - base, np.where(scores[:, :1] - base > 0, scores[:, :1] - base, 0.0))
    return _reading(1 - _area(shares, rest), shares, scores)


def _by_patch(view: View, values: Array, fill: Array, cells: int, steps: int) -> Curve:
    of_view(view, values)
    labels, count = grid(view, cells)
    return (yield from _hidden(view, fill, (labels, summed_by(values, labels, count)), steps))


def _hidden(view: View, fill: Array, features: tuple[Array, Array], steps: int) -> Curve:
    """Shares of the features ``[K + 1]`` and the scores ``[N, K + 1]`` while those with the largest worth go first."""
    labels, worth = features
    count = worth.shape[1]
    places = np.argsort(np.argsort(-worth, axis=1, kind="stable"), axis=1, kind="stable")
    counts = np.unique(np.rint(np.linspace(0, count, steps + 1)).astype(np.int64))
    keep = (places[:, None] >= counts[None, 1:-1, None]).astype(np.uint8)
    first, last = (yield from clean(view)), (yield from blank(view, fill))
    between = np.zeros((len(worth), 0)) if len(counts) < 3 else (yield from without(view, labels, keep, fill))
    return counts / count, np.concatenate([first[:, None], between, last[:, None]], axis=1)


def _area(shares: Array, scores: Array) -> Array:
    return np.asarray((scores[:, 1:] + scores[:, :-1]) / 2 @ np.diff(shares))


def _reading(values: Array, shares: Array, scores: Array) -> Reading:
    return Reading(values, notes={"shares": shares}, each={"scores": scores})


def _superpixels(view: View, segments: int) -> tuple[Array, int]:
    """SLIC's superpixels of each picture, int32 ``[N, H, W]``, and their largest number; else an even division."""
    layout = view.layout
    if not layout.is_picture:
        return grid(view, max(1, round(segments ** (1 / len(layout.map_shape)))))
    from skimage import segmentation

    found = []
    for item in np.asarray(view.x, np.float64):
        picture = item if layout.channel_axis is None else np.moveaxis(item, layout.channel_axis - 1, -1)
        low, high = picture.min(), picture.max()
        scaled = (picture - low) / (high - low) if high > low else np.zeros_like(picture)
        axis = None if layout.channel_axis is None else -1
        found.append(segmentation.slic(scaled, n_segments=segments, start_label=0, channel_axis=axis))
    labels = np.stack(found).astype(np.int32)
    return labels, int(labels.max()) + 1
