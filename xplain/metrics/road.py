"""ROAD: what was removed is replaced by what its neighbours say, so that no edge of a removed patch gives it away.

Filling with a colour tells the model which positions were taken, by the shape of the hole; a map is then rewarded for
the shape of its noise. A blend of the neighbours hides the hole, and needs no model that is trained anew.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from xplain import native
from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import NonNegative, Positive, Share
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Flow, Reading, Score, View
from xplain.metrics.asking import clean
from xplain.metrics.maps import of_view

__all__ = ["imputed", "road"]


@metric(
    "road",
    better="small",
    needs="curve",
    unit="score",
    paper=Paper("Rong 2022", "arXiv:2202.00449"),
    trial={"steps": 2},
)
def road(
    view: View, values: Array, fill: Array, *, steps: Positive = 5, most: Share = 0.5, noise: NonNegative = 0.01
) -> Flow:
    """The mean score while the positions with the largest values are replaced by a noisy blend of their neighbours.

    A removed position is the weighted mean of its neighbours, removed or not: straight ones count 1, diagonal ones 1/2,
    which is one sparse linear system for all that are removed together.
    ``ROAD = (1 / most) integral over q in [0, most] of f(x_q) dq``, by the trapezoid rule.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``; ties go by position.
        fill: Not used: nothing is filled in.
        steps: Shares at which the score is asked, evenly up to ``most``.
        most: The largest share of positions that is removed.
        noise: Standard deviation of what is added to a blend, as a share of that of the item's channel.

    Returns:
        ``[N]`` in units of the score; ``shares [steps + 1]`` are in ``notes``, ``scores [N, steps + 1]`` in ``each``.

    Differs from the paper:
        The score of the target per item, instead of the share of a data set that is still classified right; that is
        ``argmax == label`` of the same questions.

    Cost:
        ``steps`` + 1 evaluations per item and map, and the solution of ``steps`` sparse systems, which at 224 x 224
        costs more than a small model does.

    Raises:
        UsageError: the items are rows of a table, whose columns have no neighbours, or texts.

    Source:
        Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022.
    """
    of_view(view, values)
    layout, count = view.layout, int(np.prod(values.shape[1:]))
    if layout.axes == "NT" or set(layout.axes) & {"S", "X"}:
        what = "are words or ids, of which there is no blend" if layout.axes == "NT" else "have none"
        raise UsageError(
            f"ROAD blends a position from its neighbours, but items {layout.axes} {what}. Use deletion instead."
        )
    if not most:
        raise UsageError(option="most", got=most, accepted="a share above 0 and up to 1")
    counts = np.unique(np.rint(np.linspace(0, most * count, steps + 1)).astype(np.int64))
    counts = counts[counts < count]  # something must be left to blend from
    places = native.rank(values)
    x = np.asarray(view.x, np.float32)
    axes = tuple(layout.plane_axes)
    spread = noise * x.std(axis=axes, keepdims=True)
    drawn = np.stack([rng.standard_normal(x.shape[1:], np.float32) for rng in view.rngs("road")])
    scores = [(yield from clean(view))]
    for taken in counts[1:]:
        rows = np.stack([imputed(one, order < taken, layout) for one, order in zip(x, places, strict=True)])
        gone = (
            np.expand_dims(places < taken, layout.channel_axis) if layout.channel_axis is not None else places < taken
        )
        rows = (rows + np.where(gone, spread * drawn, 0)).astype(x.dtype)
        answer = yield Score(rows, Untouched(), view.target)
        scores.append(np.asarray(answer, np.float64)[:, 0])
    curve, shares = np.stack(scores, axis=1), counts / count
    areas = (curve[:, 1:] + curve[:, :-1]) / 2 @ np.diff(shares) / shares[-1] if len(shares) > 1 else curve[:, 0]
    return Reading(areas, notes={"shares": shares}, each={"scores": curve})


def imputed(item: Array, gone: Array, layout: Layout) -> Array:
    """An item whose positions ``gone`` are blends of their neighbours, float64.

    Each solves ``sum_j w_ij (v_i - v_j) = 0`` over its neighbours j inside the item, ``w = 1 / 2^(k - 1)`` for one that
    lies k axes away; the values that are left are the right-hand side, all channels at once.

    Args:
        item: One item, without the batch axis.
        gone: bool ``[*map]``, not all of it.
        layout: Which axis is which.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    shape, channel = layout.map_shape, layout.channel_axis
    planes = np.asarray(item, np.float64)
    planes = planes[None] if channel is None else np.moveaxis(planes, channel - 1, 0)
    values = planes.reshape(len(planes), -1).copy()
    missing = np.flatnonzero(gone)
    if not len(missing):
        return np.asarray(item, np.float64)
    number = np.full(values.shape[1], -1)
    number[missing] = np.arange(len(missing))
    at = np.unravel_index(missing, shape)
    total = np.zeros(len(missing))
    known = np.zeros((len(missing), len(planes)))
    entries: list[tuple[Any, Any, Any]] = []
    for step in itertools.product((-1, 0, 1), repeat=len(shape)):
        if not any(step):
            continue
        weight = 0.5 ** (sum(map(abs, step)) - 1)
        there = [one + s for one, s in zip(at, step, strict=True)]
        inside = np.all([(one >= 0) & (one < extent) for one, extent in zip(there, shape, strict=True)], axis=0)
        rows = np.flatnonzero(inside)
        beside = np.ravel_multi_index([one[rows] for one in there], shape)
        total[rows] += weight
        unknown = number[beside] >= 0
        entries.append((rows[unknown], number[beside[unknown]], np.full(int(unknown.sum()), -weight)))
        known[rows[~unknown]] += weight * values[:, beside[~unknown]].T
    entries.append((np.arange(len(missing)), np.arange(len(missing)), total))
    row, column, data = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = coo_matrix((data, (row, column)), shape=(len(missing),) * 2).tocsc()
    values[:, missing] = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(known).T
    found = values.reshape(len(planes), *shape)
    return np.asarray(found[0] if channel is None else np.moveaxis(found, 0, channel - 1))
