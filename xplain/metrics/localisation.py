"""Weakly supervised localisation: from a map to a region, a box, a segmentation, and how well these fit the truth.

A map is ``[H, W]``; a box is (y0, x0, y1, x1) in pixels, half open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.declaring.options import Share
from xplain.core.declaring.registry import metric
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = [
    "SPREAD",
    "Box",
    "Region",
    "best_iou",
    "evened",
    "iou",
    "localisation_error",
    "mask_iou",
    "region",
    "segment",
]

Box: TypeAlias = tuple[int, int, int, int]

SPREAD = 0.05
"""Standard deviation with which maps of single pixels are evened out, as a share of their longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The largest connected part of a thresholded map.

    Args:
        mask: bool ``[H, W]``.
        box: Its bounding box (y0, x0, y1, x1).
        threshold: Value from which a position counts, in the map's unit.
    """

    mask: Array
    box: Box
    threshold: float


def evened(values: Array, spread: float = SPREAD) -> Array:
    """The positive values of a map under a Gaussian, above their median: speckles become the areas in which they lie.

    A map of single pixels, such as a gradient, is speckled: its maximum is one pixel's, and the largest connected part
    of what reaches a share of it is wherever speckles happen to touch. Under a Gaussian alone it is nowhere near zero,
    so the level that it has in half of the picture is taken off. Maps of cells need none of this.

    Args:
        values: One map ``[H, W]``.
        spread: The Gaussian's standard deviation, as a share of the longer side; 0 changes nothing.

    Source:
        The Gaussian: Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, for gradient maps
        (with 0.02). The wider spread and the median are choices made here.
    """
    if not spread:
        return np.asarray(values)
    from scipy import ndimage

    positive = np.maximum(np.asarray(values, np.float64), 0.0)
    found: Array = ndimage.gaussian_filter(positive, spread * max(positive.shape), mode="nearest")
    above: Array = np.maximum(found - np.median(found), 0.0)
    return above if above.any() else found


def region(values: Array, share: float = 0.2) -> Region:
    """The largest 8-connected component of the positions that reach ``share`` of the map's maximum, and its box.

    ``share`` 0.2 is the rule of the CAM paper. Negative values never count. Of components of equal size the one that
    comes first by rows is taken.

    Raises:
        UsageError: the map is not ``[H, W]``, ``share`` is not in (0, 1], or nothing in the map is positive.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section 3.2.
    """
    values = np.asarray(values)
    if values.ndim != 2:
        raise UsageError(f"The map is {list(values.shape)}; accepted: one map [H, W], such as attribution.values[0].")
    if not 0 < share <= 1:
        raise UsageError(f"The threshold is {share} of the maximum; accepted: a share in (0, 1].")
    top = float(values.max())
    if not top > 0:
        raise UsageError("Nothing in the map is positive, so nothing argues for the target and there is no region.")
    from scipy import ndimage

    labelled, count = ndimage.label(values >= share * top, structure=np.ones((3, 3)))
    sizes = np.bincount(labelled.reshape(-1), minlength=count + 1)[1:]
    mask = labelled == 1 + int(np.argmax(sizes))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return Region(mask, box, share * top)


def segment(
    picture: Array,
    values: Array,
    *,
    foreground: float = 0.95,
    background: float = 0.3,
    with_: Literal["grabcut", "random-walker"] = "grabcut",
) -> Array:
    """Segment the object by colour, from what a map is sure of: bool ``[H, W]``.

    Positions above the map's ``foreground`` quantile are surely object, those below its ``background`` quantile surely
    not; a colour model decides on the rest.

    Args:
        picture: uint8 ``[H, W, 3]``, what the model saw.
        values: The map ``[H, W]``; its magnitude counts.
        foreground: Quantile above which a position is object.
        background: Quantile below which it is background.
        with_: ``grabcut`` (OpenCV: iterated graph cut on Gaussian mixtures) or ``random-walker`` (scikit-image).

    Raises:
        UsageError: shapes do not fit, or the quantiles are not 0 <= background < foreground <= 1.
        MissingDependency: ``grabcut`` without OpenCV.

    Source:
        Simonyan, Vedaldi and Zisserman 2013, section 3.2 (quantiles 0.95 and 0.3); Rother et al. 2004 (GrabCut).
    """
    values = np.abs(np.asarray(values, dtype=np.float64))
    if picture.shape != (*values.shape, 3) or picture.dtype != np.uint8:
        raise UsageError(f"The picture is {picture.dtype} {list(picture.shape)} for a map of {list(values.shape)}.")
    if not 0 <= background < foreground <= 1:
        raise UsageError(
            f"The quantiles are {background} and {foreground}; accepted: 0 <= background < foreground <= 1."
        )
    sure = values >= np.quantile(values, foreground)
    never = values <= np.quantile(values, background)
    never &= ~sure
    if with_ == "random-walker":
        from skimage.segmentation import random_walker

        seeds = np.where(sure, 1, np.where(never, 2, 0))
        return np.asarray(random_walker(picture, seeds, beta=100, mode="cg_j", tol=1e-6, channel_axis=-1) == 1)
    cv2: Any
    try:
        import cv2
    except ImportError:
        raise MissingDependency(
            "GrabCut needs OpenCV: pip install opencv-python-headless. Or use ", option("with_", "random-walker"), "."
        ) from None
    state = np.where(sure, cv2.GC_FGD, np.where(never, cv2.GC_BGD, cv2.GC_PR_BGD)).astype(np.uint8)
    cv2.setRNGSeed(0)  # its mixtures start from k-means with random seeds
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(picture[..., ::-1]), state, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    return np.asarray((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 for empty boxes."""
    overlap = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union if union > 0 else 0.0


@metric("mask-iou", better="large", unit="intersection over union", range=(0.0, 1.0))
def mask_iou(a: Array, b: Array) -> float:
    """Intersection over union of two boolean masks of one shape, 0..1; 0 when both are empty."""
    if a.shape != b.shape:
        raise UsageError(f"The masks are {list(a.shape)} and {list(b.shape)}; they must have one shape.")
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 0.0


def best_iou(box: Box, truths: Sequence[Box]) -> float:
    """The best intersection over union of ``box`` with any true box; 0 where there is none."""
    return max((iou(box, truth) for truth in truths), default=0.0)


@metric("localisation-error", better="small", unit="share of items", range=(0.0, 1.0))
def localisation_error(boxes: Sequence[Box], truths: Sequence[Sequence[Box]], *, least: Share = 0.5) -> dict[str, Any]:
    """The share of items whose box meets no true box with an IoU of at least ``least``.

    Args:
        boxes: The box found in each item.
        truths: The true boxes of each item.
        least: Intersection over union from which a box counts as found; 0.5 in ILSVRC.

    Returns:
        ``error`` 0..1, ``mean iou``, and ``iou`` per item.

    Raises:
        UsageError: the lists differ in length, or are empty.
    """
    if len(boxes) != len(truths) or not boxes:
        raise UsageError(
            f"There are {len(boxes)} boxes and truths for {len(truths)} items; give one list of each per item."
        )
    found = [best_iou(box, one) for box, one in zip(boxes, truths, strict=True)]
    return {"error": float(np.mean([f < least for f in found])), "mean iou": float(np.mean(found)), "iou": found}
