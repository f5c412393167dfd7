"""IDGI: integrated gradients whose every step gives out the change of the score along the gradient alone."""

from __future__ import annotations

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.caveat import each
from xplain.core.declaring.options import Baseline, Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.gradient.points import blocks, heights, slopes
from xplain.explainers.gradient.starts import Path, layer_values, passes_through

__all__ = ["idgi"]

_FLAT = 0.05
"""Share of the difference of the scores that may fall to steps without a gradient without a word."""


@method(
    "idgi",
    needs=(Score, Sweep),
    paper=Paper("Yang 2023", "arXiv:2303.14242, equation 9"),
    unit="delta {score} from the baseline",
    aliases=("important-direction-gradient-integration",),
    traceable=False,
    trial={"steps": 8},
)
def idgi(
    view: View, *, baseline: Baseline = 0.0, steps: Positive = 64, layer: str = "input", channels: bool = False
) -> Flow:
    """Walk from the baseline to the item; each step's rise of the score goes to positions by their squared gradient.

    ``a[i] = sum over k of  g_k[i]^2 / |g_k|^2 * ( f(x_{k+1}) - f(x_k) )``, ``g_k`` the gradient at the step's middle.
    Integrated gradients multiply by the step instead, so that what moves across the gradient, and changes nothing, gets
    a share too: its noise.

    Args:
        baseline: Where the path starts.
        steps: Steps of equal length.
        layer: Tensor to attribute to: the path then runs between its values at the baseline and at the item.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed, or over the positions of the layer; sums to f(x) - f(baseline) but for steps on which the
        gradient is zero: ``each["without gradient"]`` is their share of the change.

    Cost:
        ``steps`` sweeps and ``steps`` + 1 evaluations per item; at a layer 2 evaluations more.

    Differs from the paper:
        The gradient is taken at the middle of a step, not at its start, which halves the order of the error.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit the items, or the target is no function of the layer's values.

    Source:
        Yang, Wang and Bilgic, IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients, CVPR 2023.
    """
    told = passes_through(view, layer, held=True)
    start = yield from layer_values(view, layer, fill_of(view, baseline))
    end = yield from layer_values(view, layer, view.x)
    path = Path(view, layer, np.asarray(start), np.asarray(end))
    begin, away = path.start[:, None], np.broadcast_to(path.away, path.end.shape)[:, None]
    items, rank = len(path.end), path.end.ndim - 1

    def at(shares: Array) -> Array:
        return np.asarray(begin + shares.astype(np.float32).reshape(1, -1, *[1] * rank) * away)

    scores = []
    for part in blocks(items, steps + 1):
        scores.append((yield from heights(path, at(np.arange(part.start, part.stop) / steps))))
    height = np.concatenate(scores, axis=1)
    rise = np.diff(height, axis=1)  # [N, steps]
    values = np.zeros(path.end.shape)
    missed = np.zeros(items)
    for part in blocks(items, steps):
        gradient = (yield from slopes(path, at((np.arange(part.start, part.stop) + 0.5) / steps))).astype(np.float64)
        for k in range(gradient.shape[1]):  # one by one: how many go at a time depends on the items beside this one
            square, step = gradient[:, k] ** 2, rise[:, part.start + k]
            size = square.sum(axis=tuple(range(1, square.ndim)))
            missed += np.where(size > 0, 0.0, np.abs(step))
            share = np.where(size > 0, step / np.where(size > 0, size, 1.0), 0.0)
            values += square * share.reshape(-1, *[1] * rank)
    goal = height[:, -1] - height[:, 0]
    share = missed / np.maximum(np.abs(rise).sum(axis=1), np.finfo(np.float32).tiny)
    text = "On {:.0%} of the way the gradient is zero, so that part of the change is nobody's; try another baseline."
    caveats = each((text.format(part) if part > _FLAT else "" for part in share), "incomplete")
    own = {"without gradient": share, "f(x) - f(baseline)": goal}
    shown = values if channels else collapse(values, path.layout)
    return Reading(shown, base=height[:, 0], notes={"steps": steps}, each=own, warnings=(*told, *caveats))
