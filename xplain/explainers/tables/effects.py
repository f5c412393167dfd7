"""What a model does with a column, or a score, over a whole table: dependence, local effects, permutation, SAGE."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array, Untouched
from xplain.core.query import Flow, Reading, Score, View
from xplain.core.target import every_score

__all__ = ["bins_of", "dependence", "local_effects", "permutation_importance", "sage"]

_ROWS = 4096
"""Rows that one question holds, at least one row's own."""


def dependence(view: View, place: int, grid: Array) -> Flow:
    """The score of every row with column ``place`` set to each value of the grid: ``[N, G]``, one ICE curve per row."""
    curves = []
    few = max(1, _ROWS // len(grid))
    for left in range(0, len(view.x), few):
        rows = np.arange(left, min(left + few, len(view.x)))
        x = np.repeat(view.x[rows], len(grid), axis=0)
        x[:, place] = np.tile(grid, len(rows))
        answer = yield Score(x, Untouched(), view.target.take(np.repeat(rows, len(grid))))
        curves.append(np.asarray(answer, np.float64).reshape(len(rows), -1))
    return Reading(np.concatenate(curves))


def bins_of(values: Array, count: int) -> tuple[Array, Array]:
    """Edges ``[B + 1]`` that hold about as many values each, and the bin of each value; equal edges are one."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1), method="inverted_cdf"))
    return edges, np.clip(np.searchsorted(edges, values, side="left") - 1, 0, max(len(edges) - 2, 0))


def local_effects(view: View, place: int, edges: Array, bins: Array) -> Flow:
    """How far the score moves across each row's own bin of column ``place``, all else as it is: ``[N]``.

    ``f(z_k, rest) - f(z_(k-1), rest)``, Apley and Zhu 2020, equation 16: no row is asked about far from where it is.
    """
    x = np.repeat(view.x, 2, axis=0)
    x[0::2, place], x[1::2, place] = edges[bins], edges[bins + 1]
    answer = yield Score(x, Untouched(), view.target.take(np.repeat(np.arange(len(view.x)), 2)))
    scores = np.asarray(answer, np.float64).reshape(-1, 2)
    return Reading(scores[:, 1] - scores[:, 0])


Loss: TypeAlias = Callable[[Array, Array], Array]
"""Scores ``[R, K]`` of rows, and their numbers in the table, to the loss of each ``[R]``."""


def permutation_importance(view: View, loss: Loss, repeats: int) -> Flow:
    """How much larger the mean loss is when one column's values are shuffled between the rows: ``[repeats, S]``."""
    count, columns = view.x.shape
    every = np.arange(count)
    answer = yield Score(view.x, Untouched(), every_score)
    plain = loss(np.asarray(answer)[:, 0], every)
    found = np.zeros((repeats, columns))
    for r in range(repeats):
        for j in range(columns):
            x = view.x.copy()
            x[:, j] = x[view.rng(f"permutation {r} {j}").permutation(count), j]
            answer = yield Score(x, Untouched(), every_score)
            found[r, j] = (loss(np.asarray(answer)[:, 0], every) - plain).mean()
    return Reading(found, each={"loss": plain})


def sage(view: View, loss: Loss, orders: int, background: Array) -> Flow:
    """How much each column lowers the loss when columns become known in a random order: ``[orders, S]``, one row each.

    What is not known yet is taken from the background rows, over which the model's answers are averaged before the
    loss is: the Shapley value of ``v(S) = - E loss(E[f | x_S], y)``, Covert 2020. Each order is one row of the table.
    """
    count, columns = view.x.shape
    answer = yield Score(view.x, Untouched(), every_score)
    plain = loss(np.asarray(answer)[:, 0], np.arange(count))
    found = np.zeros((orders, columns))
    size = len(background)
    for m in range(orders):
        rng = view.rng(f"sage {m}")
        row, order = int(rng.integers(count)), rng.permutation(columns)
        x = np.tile(background, (columns + 1, 1))
        for k, j in enumerate(order):
            x[(k + 1) * size :, j] = view.x[row, j]
        answer = yield Score(np.ascontiguousarray(x), Untouched(), every_score)
        means = np.asarray(answer, np.float64)[:, 0].reshape(columns + 1, size, -1)
        losses = loss(means.mean(axis=1), np.full(columns + 1, row))
        found[m, order] = losses[:-1] - losses[1:]
    return Reading(found, each={"loss": plain})
