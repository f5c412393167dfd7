"""Extremal perturbation: the part of a given size that, shown alone, makes the score largest."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import enlarging
from xplain.core.declaring.options import Fraction, Positive, Size
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.design.baseline import Blur, blurred
from xplain.explainers.design.windows import extent

__all__ = ["extremal_perturbation"]

_LEVELS = 8
"""Of blur, the sharp picture among them."""
_RATE, _DECAY = 0.02, (0.9, 0.99)
"""Of Adam, whose steps do not depend on the unit of the score."""
_LAMBDA = 1.0, 150.0
"""Weight of the area at the first and the last step, the rise of the score from nothing to the item being 1."""
_FREE = 0.1
"""Share of the steps without it: of equal cells none is among the largest."""


@method(
    "extremal-perturbation",
    needs=(Score, Sweep),
    paper=Paper("Fong 2019", "arXiv:1910.08485"),
    unit="share of a position that is shown",
    aliases=("meaningful-perturbation",),
    signed=False,
    traceable=False,
    trial={"steps": 40, "cells": 6},
)
def extremal_perturbation(
    view: View,
    *,
    area: Fraction = 0.1,
    steps: Positive = 300,
    cells: Size = 10,
    sigma: Blur = 20.0,
) -> Flow:
    """Look for the mask of a fixed area through which the model still says what it says of the whole.

    ``maximise over m:  f(x seen through m) / (f(x) - f(blurred x)) - lambda * mean( (sort(m) - r)^2 )``, with r 0 for
    all but the largest ``area`` of positions and 1 for these: the mask comes to be 0 or 1, and of that area. Seen
    through m, a position is under a Gaussian of ``(1 - m) sigma``, so that a faint mask shows nothing fine; a mixture
    with one blurred picture would still show all edges. m is smooth: cells, enlarged linearly. lambda grows.

    Args:
        area: Share of positions that are shown.
        steps: Steps of gradient ascent (Adam), one after another.
        cells: Cells of the mask per axis, (rows, columns).
        sigma: Width of the Gaussian over what is hidden, in pixels.

    Returns:
        ``[N, H, W]`` in [0, 1], the mask. ``each["shown"]`` is the score through it, ``each["kept"]`` that as a share
        of the way from the blurred item's score to the item's, ``each["area"]`` its mean.

    Cost:
        ``steps`` sweeps, which cannot be batched, and 3 evaluations per item.

    Differs from the paper:
        Adam instead of momentum with a hand-set rate, the score is measured in its own rise, and cells are enlarged
        linearly instead of by a soft maximum of convolutions: fewer steps.

    Raises:
        UsageError: the items are no pictures.

    Source:
        Fong, Patrick and Vedaldi, Understanding Deep Networks via Extremal Perturbations and Smooth Masks, ICCV 2019.
    """
    layout = view.layout
    if not layout.is_picture:
        raise UsageError(
            f"Extremal perturbation masks pictures; the items are of layout {layout.axes}. Use occlusion or "
            "partition-shap."
        )
    x = np.asarray(view.x, dtype=np.float32)
    levels = np.stack([blurred(x, layout, sigma * k / (_LEVELS - 1)) if k else x for k in range(_LEVELS)])
    grid = tuple(min(a, b) for a, b in zip(extent(cells, layout.plane), layout.plane, strict=True))
    spread = [enlarging(small, large).astype(np.float64) for small, large in zip(grid, layout.plane, strict=True)]
    top = np.asarray((yield Score(x, Untouched(), view.target)))[:, 0]
    bottom = np.asarray((yield Score(levels[-1], Untouched(), view.target)))[:, 0]
    rise = np.where(np.abs(top - bottom) > 0, top - bottom, 1.0)
    ascent = _Ascent(np.full((len(x), *grid), 0.75), area, steps)
    for k in range(steps):
        masks = ascent.masks(spread)
        shown, rising = _through(levels, masks, layout.channel_axis)
        answer = yield Sweep(shown[:, None], view.target, Rules())
        slope = np.asarray(answer["input"][1], dtype=np.float64) * rising
        slope = slope if layout.channel_axis is None else slope.sum(axis=layout.channel_axis)
        ascent.step(k, masks, slope / np.abs(rise)[:, None, None], spread)
    masks = ascent.masks(spread)
    shown, _ = _through(levels, masks, layout.channel_axis)
    seen = np.asarray((yield Score(shown, Untouched(), view.target)))[:, 0]
    own = {"shown": seen, "kept": (seen - bottom) / rise, "area": masks.mean(axis=(1, 2)), "f(blurred)": bottom}
    return Reading(masks, base=bottom, resolution=grid, notes={"steps": steps}, each=own)


class _Ascent:
    """Adam on each item's cells, for itself."""

    def __init__(self, cells: Array, area: float, steps: int) -> None:
        self.cells, self.area, self.steps = cells, area, steps
        self.first, self.second = np.zeros(cells.shape), np.zeros(cells.shape)

    def masks(self, spread: list[Array]) -> Array:
        """The masks ``[N, H, W]`` that cells stand for, in [0, 1]."""
        return np.stack([np.clip(spread[0] @ one @ spread[1].T, 0, 1) for one in self.cells])

    def step(self, k: int, masks: Array, slope: Array, spread: list[Array]) -> None:
        """One step uphill; ``slope`` is that of the score by the mask."""
        share = k / max(1, self.steps - 1)
        weight = _LAMBDA[0] * (_LAMBDA[1] / _LAMBDA[0]) ** share if share > _FREE else 0.0
        flat = masks.reshape(len(masks), -1)
        shown = max(1, round(self.area * flat.shape[1]))
        goal = np.zeros(flat.shape)
        for n, one in enumerate(flat):
            goal[n, np.argsort(-one, kind="stable")[:shown]] = 1.0
        uphill = slope - weight * 2 * (masks - goal.reshape(masks.shape)) / flat.shape[1]
        ascent = np.stack([spread[0].T @ one @ spread[1] for one in uphill])
        self.first = _DECAY[0] * self.first + (1 - _DECAY[0]) * ascent
        self.second = _DECAY[1] * self.second + (1 - _DECAY[1]) * ascent**2
        first, second = (m / (1 - d ** (k + 1)) for m, d in zip((self.first, self.second), _DECAY, strict=True))
        self.cells = np.clip(self.cells + _RATE * first / (np.sqrt(second) + 1e-12), 0, 1)


def _through(levels: Array, masks: Array, channel: int | None) -> tuple[Array, Array]:
    """What is seen through masks ``[N, H, W]``, and its derivative by them; both ``[N, *item]``.

    Between two levels of blur, ``[levels, N, *item]``, the sharpest first, it is their mixture.
    """
    wide = masks if channel is None else np.expand_dims(masks, channel)
    depth = np.broadcast_to((1 - wide) * (len(levels) - 1), levels.shape[1:])
    upper = np.minimum(depth.astype(np.int64), len(levels) - 2)
    sharp, soft = (np.take_along_axis(levels, level[None], axis=0)[0] for level in (upper, upper + 1))
    share = (depth - upper).astype(np.float32)
    return np.asarray(sharp + share * (soft - sharp), dtype=np.float32), (sharp - soft) * np.float32(len(levels) - 1)
