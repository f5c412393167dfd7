"""Which features a surrogate may use: the K largest, the K best one by one, the first K of the Lasso's path."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.explainers.estimation.lasso import lasso_supports
from xplain.explainers.estimation.regression import ridge_fit

__all__ = ["select"]

_FEW = 6


def select(rows: Array, scores: Array, weights: Array, most: int | None, how: str) -> Array:
    """Indices of at most ``most`` columns of ``rows [n, S]``, in ascending order; all of them for None.

    Args:
        rows: Coalitions.
        scores: Their worth ``[n]``.
        weights: How much each row counts ``[n]``.
        most: K.
        how: ``highest`` size of coefficient times mean of the column in a fit almost without penalty; ``forward``: the
            column that raises the weighted R² most, again and again; ``lasso-path``: the columns of the Lasso with the
            smallest penalty that lets in no more than K; ``auto``: forward up to 6, else highest.
    """
    players = rows.shape[1]
    if most is None or most >= players:
        return np.arange(players)
    if how == "auto":
        how = "forward" if most <= _FEW else "highest"
    if how == "forward":
        return _forward(rows, scores, weights, most)
    if how == "lasso-path":
        return _lasso_path(rows, scores, weights, most)
    fit = ridge_fit(rows, scores, weights, 0.01)
    return np.sort(np.argsort(-np.abs(fit.values), kind="stable")[:most])


def _forward(rows: Array, scores: Array, weights: Array, most: int) -> Array:
    chosen: list[int] = []
    for _ in range(most):
        rest = [k for k in range(rows.shape[1]) if k not in chosen]
        fits = [ridge_fit(rows[:, [*chosen, k]], scores, weights, 0.0).r2 for k in rest]
        chosen.append(rest[int(np.argmax(fits))])
    return np.sort(np.array(chosen))


def _lasso_path(rows: Array, scores: Array, weights: Array, most: int) -> Array:
    """The features at the last knot of the Lasso's path, exactly followed, that lets in no more than ``most``."""
    root = np.sqrt(weights / weights.sum())
    centred = (rows - (root**2) @ rows) * root[:, None]
    gains = (scores - (root**2) @ scores) * root
    gram, right = centred.T @ centred, centred.T @ gains
    found = next(support for support in reversed(lasso_supports(gram, right)) if len(support) <= most)
    return found if len(found) else np.sort(np.argsort(-np.abs(right), kind="stable")[:most])
