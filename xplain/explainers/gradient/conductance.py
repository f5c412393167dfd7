"""Which units inside carry the decision: conductance and internal influence, along the path of integrated gradients."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.declaring.options import Baseline, Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Peek, Reading, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.gradient.points import blocks, inside, missed
from xplain.explainers.gradient.starts import INPUT

__all__ = ["conductance", "internal_influence"]


@method(
    "conductance",
    needs=(Score, Peek, Sweep),
    paper=Paper("Dhamdhere 2018", "arXiv:1805.12233"),
    unit="delta {score} through a unit",
    aliases=("layer-conductance", "neuron-conductance"),
    traceable=False,
    trial={"steps": 8},
)
def conductance(
    view: View, *, layer: str = "auto", baseline: Baseline = 0.0, steps: Positive = 64, channels: bool = False
) -> Flow:
    """How much of the rise of the score, from the baseline to the item, flows through each unit of a layer.

    ``c[j] = integral over t of  d f / d y[j] * d y[j] / d t``, y the layer on the straight path from the baseline to
    the item; as a sum over steps, of the gradient at each step's middle times how far the unit moves on it.

    Args:
        layer: The layer; ``auto`` takes the one that class activation maps read, or the last before the scores where no
            layer has positions. ``input`` gives integrated gradients.
        baseline: Where the path of the items starts.
        steps: Steps of equal length.
        channels: Keep channels, so that every unit has its value, instead of summing over them.

    Returns:
        Over the positions of the layer, signed. Where everything passes the layer the values sum to f(x) - f(baseline)
        as steps grow: ``each["completeness gap"]`` is what is left.

    Cost:
        ``steps`` sweeps, ``steps`` + 1 looks at the layer and 2 evaluations per item.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit the items.

    Source:
        Dhamdhere, Sundararajan and Yan, How Important Is a Neuron?, ICLR 2019; captum's LayerConductance.
    """
    name = _layer(view, layer)
    start, away = _path(view, baseline)
    rank, items = view.x.ndim - 1, len(view.x)

    def at(shares: Array) -> Array:
        return np.asarray(start + shares.astype(np.float32).reshape(1, -1, *[1] * rank) * away)

    values: Any = 0.0
    before: Array | None = None
    for part in blocks(items, steps):
        edges = np.arange(part.start + (before is not None), part.stop + 1) / steps
        seen = (yield from inside(view, name, at(edges))).astype(np.float64)
        if before is not None:
            seen = np.concatenate([before, seen], axis=1)
        middles = at((np.arange(part.start, part.stop) + 0.5) / steps)
        gradient = yield from _gradients(view, name, middles)
        for k in range(gradient.shape[1]):  # one by one, whatever items are beside this one
            values = values + gradient[:, k] * (seen[:, k + 1] - seen[:, k])
        before = seen[:, -1:]
    top = yield Score(view.x, Untouched(), view.target)
    bottom = yield Score(np.ascontiguousarray(np.broadcast_to(start[:, 0], view.x.shape)), Untouched(), view.target)
    goal = np.asarray(top)[:, 0] - np.asarray(bottom)[:, 0]
    gap = values.sum(axis=tuple(range(1, values.ndim))) - goal
    own = {"completeness gap": gap, "f(x) - f(baseline)": goal}
    caveats = missed(gap, goal, "; if that does not help, part of the score does not pass this layer")
    shown = values if channels else collapse(values, view.layout_of(name, values))
    return Reading(shown, base=np.asarray(bottom)[:, 0], notes={"layer": name}, each=own, warnings=caveats)


@method(
    "internal-influence",
    needs=Sweep,
    paper=Paper("Leino 2018", "arXiv:1802.03788"),
    unit="delta {score} per unit of the layer",
    trial={"steps": 8},
)
def internal_influence(
    view: View, *, layer: str = "auto", baseline: Baseline = 0.0, steps: Positive = 32, channels: bool = False
) -> Flow:
    """How strongly the score leans on each unit of a layer, on average between the baseline and the item.

    ``a[j] = integral over t in [0, 1] of  d f / d y[j] (x0 + t (x - x0)) dt``, midpoint rule; conductance weighs the
    same gradient by how far the unit moves.

    Args:
        layer: The layer; ``auto`` takes the one that class activation maps read, or the last before the scores where no
            layer has positions; ``input`` is the item itself.
        baseline: Where the path of the items starts.
        steps: Points on the path.
        channels: Keep channels, so that every unit has its value, instead of summing over them.

    Returns:
        Over the positions of the layer, signed. Sums to nothing.

    Cost:
        ``steps`` sweeps per item.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit the items.

    Source:
        Leino et al., Influence-Directed Explanations for Deep Convolutional Networks, ITC 2018; captum's
        InternalInfluence.
    """
    name = _layer(view, layer)
    fill = fill_of(view, baseline)
    shares = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    start, away = fill[:, None], (view.x - fill)[:, None]
    points = start + shares.reshape(1, -1, *[1] * (len(view.x.shape) - 1)) * away
    answer = yield Sweep(points, view.target, Rules(), (name,))
    mean = answer[name][1]
    notes = {"layer": name, "steps": steps}
    return Reading(mean if channels else collapse(mean, view.layout_of(name, mean)), notes=notes)


def _path(view: View, baseline: Any) -> tuple[Array, Array]:
    """Where the items' path starts and how far it goes, ``[N or 1, 1, *item]``."""
    fill = fill_of(view, baseline)
    return fill[:, None], (np.asarray(view.x, dtype=np.float32) - fill)[:, None]


def _gradients(view: View, layer: str, points: Array) -> Generator[Sweep, Any, Array]:
    """The gradient at a layer for each of the items ``[N, S, *item]``: ``[N, S, *layer]``."""
    rows = np.repeat(np.arange(len(points)), points.shape[1])
    flat = points.reshape(-1, 1, *points.shape[2:])
    answer = yield Sweep(flat, view.target.take(rows), Rules(), (layer,))
    found = np.asarray(answer[layer][1], dtype=np.float64)
    return found.reshape(*points.shape[:2], *found.shape[1:])


def _layer(view: View, layer: str) -> str:
    """The layer that is meant; ``auto``: the one of class activation maps, else the last before the target."""
    if layer not in ("auto", INPUT):
        view.outline.layer(layer)  # says which there are
    if layer != "auto":
        return layer
    try:
        return map_layer(view, "auto").name
    except UsageError:
        lineage = view.lineage
        if lineage is None:
            raise
        aims = view.aims(lineage)
        names = [(spec.name, lineage.tensor(spec.name)) for spec in view.outline.layers]
        fit = [name for name, tensor in names if tensor in view.between and tensor not in aims]
        if not fit:
            raise
        return fit[-1]
