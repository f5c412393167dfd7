"""A regression tree as surrogate: what each feature's splits add along the item's own path."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.explainers.estimation.regression import Fit

__all__ = ["tree_fit"]

_DEPTH = 4
_LEAST = 10
_FOLDS = 10


def tree_fit(rows: Array, scores: Array, weights: Array) -> Fit:
    """A tree of depth 4 on 0/1 features, grown greedily on the weighted squared error, at least 10 rows in a leaf.

    A feature's value is the sum, over the splits on it along the path of all ones, of the mean behind the split less
    the mean before it; so values and the intercept (the root's mean) sum to the tree's prediction for the item. The
    deviations are those of a jackknife over 10 folds of the rows.
    """
    values, root, predicted = _grow(rows, scores, weights)
    without = np.stack(
        [
            _grow(*(part[np.arange(len(rows)) % _FOLDS != fold] for part in (rows, scores, weights)))[0]
            for fold in range(_FOLDS)
        ]
    )
    deviations = (without - without.mean(axis=0)) * np.sqrt((_FOLDS - 1) / _FOLDS)
    share = weights / weights.sum()
    spread = float(share @ (scores - root) ** 2)
    return Fit(values, deviations, root, 1.0 - float(share @ (scores - predicted) ** 2) / spread if spread > 0 else 1.0)


def _grow(rows: Array, scores: Array, weights: Array) -> tuple[Array, float, Array]:
    """Values of the features for all ones, the root's mean, and the prediction of every row."""
    values, predicted = np.zeros(rows.shape[1]), np.empty(len(rows))
    root = float(np.average(scores, weights=weights))

    def split(inside: Array, depth: int, on_path: bool) -> None:
        w, y, z = weights[inside], scores[inside], rows[inside] > 0.5
        mean = float(w @ y / w.sum())
        predicted[inside] = mean
        if depth == _DEPTH or len(inside) < 2 * _LEAST:
            return
        on, total = w @ z, w.sum()
        sums = (w * (y - mean)) @ z
        enough = (z.sum(axis=0) >= _LEAST) & ((~z).sum(axis=0) >= _LEAST)
        gain = np.where(enough, sums**2 * total / np.maximum(on * (total - on), 1e-300), 0.0)
        best = int(gain.argmax())
        if gain[best] <= 1e-12 * float(w @ (y - mean) ** 2) or gain[best] == 0:
            return
        if on_path:
            values[best] += sums[best] / on[best]
        split(inside[z[:, best]], depth + 1, on_path)
        split(inside[~z[:, best]], depth + 1, False)

    split(np.arange(len(rows)), 0, True)
    return values, root, predicted
