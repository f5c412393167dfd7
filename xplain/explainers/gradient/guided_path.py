"""Guided integrated gradients: the path bends round whatever moves the score much, and takes that last."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.declaring.options import Baseline, Fraction, Positive, Share
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Untouched
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.gradient.points import missed

__all__ = ["guided_integrated_gradients"]

_CLOSE = 1e-9
"""Share of the whole way below which two distances are the same."""


@method(
    "guided-integrated-gradients",
    needs=(Score, Sweep),
    paper=Paper("Kapishnikov 2021", "arXiv:2106.09788, algorithm 1"),
    unit="delta {score} from the baseline",
    aliases=("guided-ig",),
    traceable=False,
    trial={"steps": 8},
)
def guided_integrated_gradients(
    view: View,
    *,
    baseline: Baseline = 0.0,
    steps: Positive = 200,
    fraction: Fraction = 0.25,
    corridor: Share = 0.02,
    channels: bool = False,
) -> Flow:
    """Walk from the baseline to the item, at each step only along the elements whose gradient is smallest.

    ``a[i] = sum over k of  d f / d x[i] (x_k) * ( x_{k+1}[i] - x_k[i] )``: as integrated gradients, on a path that goes
    first where the score changes least, and so stays out of places with steep gradients that have nothing to do with
    the answer. Each step shortens the way that is left, ``|x - x_k|_1``, by the same amount.

    Args:
        baseline: Where the path starts.
        steps: Steps; they are taken one after another.
        fraction: Share of elements that move at a time: those with the smallest gradient.
        corridor: How far an element may be ahead of, or behind, the straight path, as a share of its way. 0 is
            integrated gradients.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed; sums to f(x) - f(baseline) as steps grow: ``each["completeness gap"]`` is what is left.

    Cost:
        ``steps`` sweeps, which cannot be batched, and 2 evaluations per item.

    Raises:
        UsageError: the baseline does not fit the items.

    Source:
        Kapishnikov et al., Guided Integrated Gradients: an Adaptive Path Method for Removing Noise, CVPR 2021.
    """
    x = np.asarray(view.x, dtype=np.float64)
    start = np.broadcast_to(np.asarray(fill_of(view, baseline), dtype=np.float64), x.shape)
    at, values = start.copy(), np.zeros(x.shape)
    for k in range(steps):
        answer = yield Sweep(at.astype(np.float32)[:, None], view.target, Rules())
        gradient = np.asarray(answer["input"][1], dtype=np.float64)
        for n in range(len(x)):
            moved = _step(at[n], gradient[n], (start[n], x[n]), (k + 1) / steps, fraction, corridor)
            values[n] += (moved - at[n]) * gradient[n]
            at[n] = moved
    top = yield Score(view.x, Untouched(), view.target)
    bottom = yield Score(start.astype(np.float32), Untouched(), view.target)
    goal = np.asarray(top)[:, 0] - np.asarray(bottom)[:, 0]
    gap = values.sum(axis=tuple(range(1, values.ndim))) - goal
    own = {"completeness gap": gap, "f(x) - f(baseline)": goal}
    shown = values if channels else collapse(values, view.layout)
    caveats = missed(gap, goal)
    return Reading(shown, base=np.asarray(bottom)[:, 0], notes={"steps": steps}, each=own, warnings=caveats)


def _step(
    at: Array, gradient: Array, ends: tuple[Array, Array], share: float, fraction: float, corridor: float
) -> Array:
    """Where one item goes on: until what is left of the way is ``1 - share`` of it.

    Elements outside the corridor are put on its border first; then those with the smallest gradient move, to the far
    border at most, and the next smallest where that is not enough.
    """
    start, end = ends
    way = end - start
    low, high = max(share - corridor, 0.0), min(share + corridor, 1.0)
    least, most = start + low * way, start + high * way
    done = np.divide(at - start, way, out=np.full(at.shape, high), where=way != 0)
    at = np.where(done < low, least, at)
    whole = np.abs(way).sum()
    wanted, size = whole * (1 - share), np.abs(gradient)
    size = np.where(at == most, np.inf, size)
    while np.isfinite(size).any():
        left = np.abs(end - at).sum()
        if left - wanted <= _CLOSE * whole:
            break
        bound = np.quantile(size, fraction, method="lower")
        some = np.isfinite(size) & (size <= (bound if np.isfinite(bound) else size[np.isfinite(size)].min()))
        room = np.abs((most - at)[some]).sum()
        if room > left - wanted:
            at = np.where(some, at + (left - wanted) / room * (most - at), at)
            break
        at = np.where(some, most, at)
        size = np.where(some, np.inf, size)
    return np.asarray(at)
