"""Groups of vectors, named by what is commonest in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.analyses.neighbours import Metric
from xplain.analyses.vectors import Rows
from xplain.core.edits import Array

__all__ = ["Cluster", "clusters"]

_MOST = 10_000
"""Vectors from which centres are found; of more, so many are drawn, and all go to the nearest centre."""


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """A group of items.

    Args:
        name: The commonest label among them; empty where there are no labels, or no two of several items
            share one.
        share: How many of them have it.
        items: int64: their rows.
        medoid: The row nearest to their mean.
    """

    name: str
    share: float
    items: Array
    medoid: int


def clusters(
    vectors: Array, labels: Sequence[str] = (), count: int | None = None, *, metric: Metric = "euclidean", seed: int = 0
) -> list[Cluster]:
    """Groups by k-means in the vectors' own space, not on a map of it; the largest first.

    Starts are drawn far apart (k-means++), the best of four runs is taken. ``count`` is a choice, not a finding: None
    makes about one group per 20 items, at least 2 and at most 24. Groups that nothing fell to are left out. Of more
    than 10,000 vectors the centres are those of 10,000, drawn by ``seed``.

    Args:
        vectors: ``[N, D]``.
        labels: One per item; empty for none.
        count: Groups.
        metric: Of the vectors.
        seed: Root of all randomness.

    Source:
        Arthur and Vassilvitskii 2007, k-means++; Lloyd's steps by numpy.
    """
    rows = Rows(vectors, metric)
    wanted = min(len(rows), count if count is not None else min(24, max(2, round(len(rows) / 20))))
    rng = np.random.default_rng([seed, 0xC1])
    some = np.arange(len(rows)) if len(rows) <= _MOST else np.sort(rng.permutation(len(rows))[:_MOST])
    drawn = rows.take(some).astype(np.float32)
    centres = min((_means(drawn, wanted, rng) for _ in range(4)), key=lambda run: run[1])[0]
    own, apart = np.empty(len(rows), np.int64), np.empty(len(rows))
    for part, block in rows.blocks():
        own[part] = _squares(block.astype(np.float32), centres).argmin(axis=1)
        apart[part] = ((block.astype(np.float32) - centres[own[part]]) ** 2).sum(axis=1)
    found = []
    for group in range(len(centres)):
        items = np.flatnonzero(own == group)
        if not len(items):
            continue
        name, times = Counter(labels[int(n)] for n in items).most_common(1)[0] if len(labels) else ("", 0)
        if times == 1 < len(items):
            name = ""  # one item's label is no name for several
        found.append(Cluster(name, times / len(items), items, int(items[apart[items].argmin()])))
    return sorted(found, key=lambda one: (-len(one.items), one.medoid))


def _means(rows: Array, count: int, rng: np.random.Generator) -> tuple[Array, float]:
    """One run: the centres, and the sum of squares."""
    centres = rows[rng.integers(len(rows))][None]
    far = _squares(rows, centres)[:, 0]
    while len(centres) < count:
        total = far.sum()
        chosen = rng.choice(len(rows), p=far / total) if total > 0 else rng.integers(len(rows))
        centres = np.concatenate([centres, rows[chosen][None]])
        far = np.minimum(far, _squares(rows, centres[-1:])[:, 0])
    own = np.full(len(rows), -1)
    for _ in range(100):
        squares = _squares(rows, centres)
        new = squares.argmin(axis=1)
        if (new == own).all():
            break
        own = new
        for group in np.unique(own):
            centres[group] = rows[own == group].mean(axis=0)
    return centres, float(squares[np.arange(len(rows)), own].sum())


def _squares(rows: Array, centres: Array) -> Array:
    far = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(axis=1)[None]
    return np.asarray(np.maximum(far.astype(np.float64), 0))
