"""Blur integrated gradients: the path runs from a blurred item to the sharp one, so that no baseline is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.arrays import collapse, doubled, namespace
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.design.baseline import Blur
from xplain.explainers.gradient.points import missed

__all__ = ["blur_integrated_gradients", "blurring"]

_CUT = 4.0
"""Standard deviations at which a Gaussian ends."""


@method(
    "blur-integrated-gradients",
    needs=(Score, Sweep),
    paper=Paper("Xu 2020", "arXiv:2004.03383"),
    unit="delta {score} from the blurred item",
    aliases=("blur-ig",),
    traceable=True,
    trial={"steps": 6, "sigma": 2.0},
)
def blur_integrated_gradients(view: View, *, sigma: Blur = 50.0, steps: Positive = 32, channels: bool = False) -> Flow:
    """Let the item come into focus; each position's share of the change of the score on the way.

    ``a[p] = sum over k of  d f / d x[p] (x_{s_k}) * ( x_{s_k - d}[p] - x_{s_k + d}[p] )``, ``x_s`` the item under a
    Gaussian of s positions; the widths fall from ``sigma`` to 0, in short steps where little is blurred, and the
    gradient is taken in the middle of each. What is fine shows last, and no colour is out of the picture's own range.

    Args:
        sigma: The widest Gaussian, in positions.
        steps: Steps from it to the item.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed; sums to f(x) - f(blurred x) as steps grow: ``each["completeness gap"]`` is what is left.

    Cost:
        ``steps`` sweeps and 2 evaluations per item.

    Differs from the paper:
        Differences of blurred items stand for the derivative by the width, so that the steps add up to the whole way;
        roots of widths fall by equal steps, not widths, since scores change most at small ones; borders are reflected,
        where the paper's code lets black in.

    Raises:
        UsageError: the items have no positions to blur.

    Source:
        Xu, Venugopalan and Sundararajan, Attribution in Scale and Space, CVPR 2020.
    """
    layout = view.layout
    if layout.axes == "NS" or not layout.plane_axes:
        raise UsageError(
            "The columns of a row have no neighbours to blur. Use integrated gradients, or if the items are series, "
            "say so: ",
            option("layout", "NT"),
            ".",
        )
    widths = sigma * (np.arange(steps, -1, -1) / steps) ** 2
    middles = np.sqrt((widths[1:] ** 2 + widths[:-1] ** 2) / 2)
    values: Any = 0.0
    before = first = _blurred(view.x, layout.plane_axes, float(widths[0]))
    for middle, width in zip(middles, widths[1:], strict=True):
        after = _blurred(view.x, layout.plane_axes, float(width))
        point = _blurred(view.x, layout.plane_axes, float(middle))
        answer = yield Sweep(point[:, None], view.target, Rules())
        values = values + doubled(answer["input"][1]) * (after - before)
        before = after
    shown = values if channels else collapse(values, layout)
    if view.traced:
        return Reading(shown, notes={"steps": steps})
    top = yield Score(view.x, Untouched(), view.target)
    bottom = yield Score(np.asarray(first), Untouched(), view.target)
    goal = np.asarray(top)[:, 0] - np.asarray(bottom)[:, 0]
    gap = values.sum(axis=tuple(range(1, values.ndim))) - goal
    own = {"completeness gap": gap, "f(x) - f(blurred)": goal}
    caveats = missed(gap, goal)
    return Reading(shown, base=np.asarray(bottom)[:, 0], notes={"steps": steps}, each=own, warnings=caveats)


def blurring(extent: int, sigma: float) -> Array:
    """The matrix ``[extent, extent]`` of a Gaussian cut at 4 sigma, borders reflected (``d c b a | a b c d``)."""
    if sigma <= 0:
        return np.eye(extent, dtype=np.float32)
    reach = int(_CUT * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    place = (np.arange(extent)[:, None] + offsets) % (2 * extent)
    place = np.where(place >= extent, 2 * extent - 1 - place, place)
    matrix = np.zeros((extent, extent))
    np.add.at(matrix, (np.arange(extent)[:, None], place), np.broadcast_to(weights, place.shape))
    return matrix.astype(np.float32)


def _blurred(x: Any, axes: tuple[int, ...], sigma: float) -> Any:
    """``x`` blurred along axes by matrix products, which numpy and a graph that is being built both have."""
    xp, rank = namespace(x), len(x.shape)
    for axis in axes if sigma > 0 else ():
        matrix = xp.asarray(blurring(int(x.shape[axis]), sigma).T.copy())
        order = (*(k for k in range(rank) if k != axis), axis)
        back = tuple(order.index(k) for k in range(rank))
        turned = xp.permute_dims(x, order)
        if isinstance(turned, np.ndarray):  # row by row, so that no item's last bits depend on the items beside it
            turned = turned[..., None, :]
        product = xp.matmul(turned, matrix)
        x = xp.permute_dims(product[..., 0, :] if isinstance(product, np.ndarray) else product, back)
    return x
