"""Occlusion: hide a window, see how far the score falls."""

from __future__ import annotations

import numpy as np

from xplain import native
from xplain.core.declaring.options import Size
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, View
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.design.game import Hidden
from xplain.explainers.design.windows import extent, sliding_windows
from xplain.explainers.features.spec import Features
from xplain.explainers.perturbation.ablation import ablation

__all__ = ["occlusion"]


@method(
    "occlusion",
    needs=Score,
    paper=Paper("Zeiler & Fergus 2014", "arXiv:1311.2901, section 4.2"),
    unit="delta {score} when hidden",
    aliases=("sliding-window",),
)
def occlusion(
    view: View,
    *,
    patch: Size | None = None,
    stride: Size | None = None,
    baseline: Hidden = 0.0,
    features: Features | None = None,
) -> Flow:
    """Hide one window after another; a position matters as much as the score falls while it is hidden.

    With windows ``w`` covering position p:  ``a[p] = mean over w of ( f(x) - f(x with w hidden) )``.

    Args:
        patch: Height and width of the window in positions; default 1/14 of the shorter side (16 at 224), at least 1. Of
            volumes and video: depth (or time), height and width; default 1/8 of each axis, at least 2.
        stride: Step between windows in positions; default half the patch, at least 1. A stride above the patch leaves
            positions that no window covers; their value is 0.
        baseline: What a hidden position becomes; ``inpaint`` needs ``features``.
        features: Hide these instead of windows: superpixels, cells, channels, columns, words, stretches of time. The
            values are those of ``ablation``.

    Returns:
        ``[N, H, W]``, signed: positive where hiding lowers the score. Does not sum to f(x) - f(baseline).

    Cost:
        1 + M evaluations per item, M = (ceil((H - patch) / stride) + 1) * (the same for W): 730 at 224 with 16/8. For
        volumes the same for D: 3,375 at 64 x 128 x 128.

    Differs from the paper:
        The paper shows the score itself at each window's centre; here the fall is spread over the window's positions
        and averaged where windows overlap, as in captum.

    Raises:
        UsageError: the patch is larger than the input, or windows and features are asked for at once.

    Source:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
    """
    if features is not None:
        if patch is not None or stride is not None:
            raise UsageError(
                "method 'occlusion': patch and stride describe windows; leave them out when features are given."
            )
        return (yield from ablation(view, features=features, baseline=baseline))
    grid = view.layout.grid
    size = _usual(grid) if patch is None else extent(patch, grid)
    step = extent(stride, grid) if stride is not None else tuple(max(1, one // 2) for one in size)
    boxes, resolution = sliding_windows(grid, size, step)
    edits = Windows(boxes, fill_of(view, baseline))

    base = yield Score(view.x, Untouched(), view.target)
    scores = yield Score(view.x, edits, view.target)

    fall = np.asarray(base) - np.asarray(scores)
    covered = native.coverage(edits, grid, len(view.x))
    values = native.accumulate(edits, fall, grid) / np.maximum(covered, 1)
    return Reading(
        values.reshape(len(view.x), *view.layout.map_shape),
        base=np.asarray(base)[:, 0],
        resolution=resolution,
        notes={"windows": len(boxes), "patch": size, "stride": step},
    )


def _usual(grid: tuple[int, ...]) -> tuple[int, ...]:
    """A window of a size that suits the grid."""
    if len(grid) == 3:
        return tuple(min(n, max(2, round(n / 8))) for n in grid)
    side = min(grid) if grid[0] > 1 else grid[1]
    return extent(max(1, round(side / 14)), grid)
