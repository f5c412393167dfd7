"""Questions that several metrics ask alike, so that what one has asked is remembered for the next.

A session remembers answers by the content of a question. The untouched item, the item with everything hidden, random
sets of cells, each cell by itself: these depend on the item and the options alone, not on the map that is judged, so
five maps and four metrics ask them once.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from xplain.core.edits import Array, Coalitions, Ranked, Untouched
from xplain.core.query import Answer, Query, Score, View

__all__ = ["blank", "clean", "each_cell", "grid", "random_cells", "summed_by", "without"]

Scores = Generator[Query, Answer, Array]


def clean(view: View) -> Scores:
    """f(x): the target's value for the untouched items, ``[N]``; 1 evaluation per item."""
    scores = yield Score(view.x, Untouched(), view.target)
    return np.asarray(scores, np.float64)[:, 0]


def blank(view: View, fill: Array) -> Scores:
    """f(x0): the same with every position hidden, ``[N]``; 1 evaluation per item."""
    shape = view.layout.map_shape
    count = math.prod(shape)
    order = np.arange(count, dtype=np.int32).reshape(shape)
    scores = yield Score(view.x, Ranked(order, np.array([count], np.int64), fill), view.target)
    return np.asarray(scores, np.float64)[:, 0]


def grid(view: View, cells: int) -> tuple[Array, int]:
    """Positions divided into ``cells`` along each axis, as even as can be: int32 ``[*map]``, and their number S.

    Every position is a cell of its own along an axis that has no more of them; so is every column of a table.
    """
    shape = view.layout.map_shape
    columns = bool(set(view.layout.axes) & {"S", "X"})
    labels, count = np.zeros(shape, np.int64), 1
    for axis, extent in enumerate(shape):
        own = extent if columns else min(cells, extent)
        along = (np.arange(extent) * own // extent).reshape([-1 if axis == k else 1 for k in range(len(shape))])
        labels, count = labels * own + along, count * own
    return labels.astype(np.int32), count


def summed_by(values: Array, labels: Array, count: int) -> Array:
    """The sum of each item's values in each feature, float64 ``[N, S]``; labels ``[*map]`` or ``[N, *map]``."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    places = np.broadcast_to(labels, values.shape).reshape(len(values), -1)
    flat = places + count * np.arange(len(values))[:, None]
    return np.bincount(flat.ravel(), rows.ravel(), minlength=count * len(values)).reshape(len(values), count)


def without(view: View, labels: Array, keep: Array, fill: Array) -> Scores:
    """The target's value for each set of features that is kept, ``[N, M]``."""
    scores = yield Score(view.x, Coalitions(labels, keep, fill), view.target)
    return np.asarray(scores, np.float64)


def random_cells(
    view: View, fill: Array, cells: int, runs: int, share: float
) -> Generator[Query, Answer, tuple[Array, Array, Array]]:
    """The fall of the score while random sets of cells are hidden.

    Each set has ``max(1, round(share * S))`` of the S cells, drawn for each item under its own key.

    Returns:
        The cells int32 ``[*map]``; which are hidden, bool ``[N, runs, S]``; the fall ``[N, runs]``.
    """
    labels, count = grid(view, cells)
    size = min(count, max(1, round(share * count)))
    keep = np.ones((len(view.x), runs, count), np.uint8)
    for n, rng in enumerate(view.rngs("random cells of metrics")):
        chosen = np.argsort(rng.random((runs, count)), axis=1, kind="stable")[:, :size]
        np.put_along_axis(keep[n], chosen, np.uint8(0), axis=1)
    before = yield from clean(view)
    after = yield from without(view, labels, keep, fill)
    return labels, keep == 0, before[:, None] - after


def each_cell(view: View, fill: Array, cells: int) -> Generator[Query, Answer, tuple[Array, Array]]:
    """The fall of the score while one cell is hidden: the cells int32 ``[*map]``, and ``[N, S]``."""
    labels, count = grid(view, cells)
    before = yield from clean(view)
    after = yield from without(view, labels, (1 - np.eye(count)).astype(np.uint8), fill)
    return labels, before[:, None] - after
