"""XRAI: regions of a picture, the densest in integrated gradients first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.features.superpixels import felzenszwalb, pictures

__all__ = ["grown", "xrai"]

_SCALES = (50.0, 100.0, 150.0, 250.0, 500.0, 1200.0)
"""Of the segmentations, coarser and coarser; as the authors' code."""
_SIGMA, _LEAST = 0.8, 150
_ROWS = 32
_WIDEN = 5
"""Pixels by which segments reach over their borders, where edges and their attributions lie."""


@method(
    "xrai",
    needs=Sweep,
    paper=Paper("Kapishnikov 2019", "arXiv:1906.02825"),
    unit="mean delta {score} of a pixel of the region",
    traceable=False,
    trial={"steps": 8},
)
def xrai(view: View, *, steps: Positive = 32, least: Positive = 50) -> Flow:
    """Cut the picture into overlapping regions, and add up those that hold most attribution for their size.

    Attribution is integrated gradients from black and from white, the mean of both, so that neither black nor white
    parts are blind. The picture is cut at six scales; regions are taken greedily, always the one whose pixels that are
    not taken yet have the largest mean, and these pixels get that mean.

    Args:
        steps: Points on each of the two paths.
        least: Pixels below which what a region would add is not looked at.

    Returns:
        ``[N, H, W]``, signed, constant over regions. Sums to about f(x) - (f(black) + f(white)) / 2.

    Cost:
        2 ``steps`` sweeps per item, and about a second of cutting for 224 x 224 pixels.

    Differs from the paper:
        Black and white are the item's own least and largest value, as in the authors' code; channels are added up,
        where that code takes the largest.

    Raises:
        UsageError: the items are no pictures.

    Source:
        Kapishnikov et al., XRAI: Better Attributions Through Regions, ICCV 2019.
    """
    if not view.layout.is_picture:
        raise UsageError(
            f"XRAI cuts pictures into regions; the items are of layout {view.layout.axes}. Use integrated-gradients or "
            "partition-shap."
        )
    x, axes = np.asarray(view.x, dtype=np.float32), tuple(range(1, view.x.ndim))
    shares = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    total: Any = 0.0
    for edge in (x.min(axis=axes, keepdims=True), x.max(axis=axes, keepdims=True)):
        away = x - edge
        mean: Any = 0.0
        for left in range(0, steps, _ROWS):
            part = shares[left : left + _ROWS].reshape(1, -1, *[1] * len(axes))
            answer = yield Sweep(edge[:, None] + part * away[:, None], view.target, Rules())
            mean = mean + answer["input"][1] * (part.size / steps)
        total = total + mean * away / 2
    channel = view.layout.channel_axis
    maps = np.asarray(total if channel is None else total.sum(axis=channel), dtype=np.float64)
    cuts = _segments(view)
    values = np.stack([grown(one, own, least) for one, own in zip(maps, cuts, strict=True)])
    return Reading(values, notes={"steps": steps}, each={"regions": [len(own) for own in cuts]})


def grown(attribution: Array, regions: Sequence[Array], least: int) -> Array:
    """The map of one picture: regions taken by the mean attribution of what they add, and what is left at last.

    Args:
        attribution: ``[H, W]``.
        regions: Bool ``[H, W]`` each.
        least: Pixels that a region must add.
    """
    free = np.ones(attribution.shape, bool)
    values = np.zeros(attribution.shape)
    left = list(regions)
    while left:
        adds = [one & free for one in left]
        sizes = np.array([one.sum() for one in adds])
        sums = np.array([attribution[one].sum() for one in adds])
        fits = sizes >= least
        if not fits.any():
            break
        best = int(np.where(fits, sums / np.maximum(sizes, 1), -np.inf).argmax())
        values[adds[best]] = sums[best] / sizes[best]
        free &= ~adds[best]
        left = [one for k, one in enumerate(left) if fits[k] and k != best]
    if free.any():
        values[free] = attribution[free].mean()
    return values


def _segments(view: View) -> list[list[Array]]:
    """The regions of each picture, at all scales, each reaching a little over its border."""
    from scipy import ndimage

    height, width = pictures(view).shape[1:3]
    reach = min(_WIDEN, min(height, width) // 40)
    least = max(1, min(_LEAST, height * width // 50))
    found: list[list[Array]] = [[] for _ in range(len(view.x))]
    for scale in _SCALES:
        parts = felzenszwalb(view, scale=scale, sigma=_SIGMA, least=least)
        for n in range(len(view.x)):
            labels = parts.of(n)
            for number in range(int(labels.max()) + 1):
                region = labels == number
                found[n].append(ndimage.binary_dilation(region, iterations=reach) if reach else region)
    return found
