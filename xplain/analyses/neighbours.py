"""Nearest neighbours: exact ones from blocks of products, approximate ones of very many vectors through usearch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from xplain.analyses.vectors import checked, prepared
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = ["EXACT", "Metric", "Near", "nearest", "recall"]

Metric: TypeAlias = Literal["euclidean", "cosine"]

EXACT = 100_000
"""Vectors up to which all are compared with all."""

_BLOCK = 2**24
"""Entries of a block of distances: 64 MiB of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The nearest neighbours of each vector, the nearest first.

    Args:
        index: int64 ``[N, k]``: the rows of the neighbours; a vector is not its own.
        distance: float64 ``[N, k]``: Euclidean, or 1 less the cosine.
        exact: Whether all were compared with all.
        metric: Of the distances.
    """

    index: Array
    distance: Array
    exact: bool
    metric: Metric


def nearest(vectors: Array, k: int, *, metric: Metric = "euclidean", exact: bool | None = None) -> Near:
    """The ``k`` vectors that are nearest to each: those, and in the order, that comparing all in float64 gives.

    Products of float32 propose: whatever may be among the nearest, given how far such a product can be off
    (``gamma_D = D u / (1 - D u)``, ``u = 2^-24``), is measured again in float64, difference by difference. Equal
    distances go to the lower row. ``k`` beyond the others that there are means all of them.

    Args:
        vectors: ``[N, D]``.
        k: Neighbours of each.
        metric: ``euclidean``, or ``cosine``: 1 less the cosine of the angle.
        exact: Whether to compare all with all; None: up to ``EXACT`` vectors, an index of usearch's above.

    Cost:
        N^2 D products of float32, in blocks of 64 MiB: 10,000 vectors of 1,280 numbers take some seconds of a core.

    Raises:
        UsageError: fewer than two vectors, all equal, or ``k`` below 1.
        NonFinite: NaN or infinity.
        MissingDependency: an index is needed, and usearch is not installed.
    """
    rows = checked(vectors)
    if k < 1:
        raise UsageError(option="k", got=k, accepted="a whole number of at least 1")
    k = min(k, len(rows) - 1)
    if exact is None:
        exact = len(rows) <= EXACT
    if not exact:
        return _indexed(rows, k, metric)
    rows = prepared(rows, metric)
    index = np.empty((len(rows), k), np.int64)
    distance = np.empty((len(rows), k))
    for n, others, far in _candidates(rows, k):
        order = np.lexsort((others, far))[:k]
        index[n], distance[n] = others[order], far[order]
    return Near(index, _told(distance, metric, rows, index), True, metric)


def _candidates(rows: Array, k: int) -> Iterator[tuple[int, Array, Array]]:
    """Each row, the rows that may be among its ``k`` nearest, and their squared distances."""
    centred = rows - rows.mean(axis=0)  # the same distances, and smaller products, which are rounded less
    lengths = np.einsum("nd,nd->n", centred, centred)
    small = centred.astype(np.float32)
    del centred
    unit = 2.0**-24
    slack = rows.shape[1] * unit / (1 - rows.shape[1] * unit) + 8 * unit
    reach = np.sqrt(lengths) + np.sqrt(lengths.max())
    step = max(1, _BLOCK // len(rows))
    squares = lengths.astype(np.float32)
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        block = small[start:stop] @ small.T
        block *= -2
        block += squares[None]
        block += squares[start:stop, None]
        block[np.arange(stop - start), np.arange(start, stop)] = np.inf
        bound = np.partition(block, k - 1, axis=1)[:, k - 1] + 2 * slack * reach[start:stop] ** 2
        for n in range(start, stop):
            others = np.flatnonzero(block[n - start] <= bound[n - start])
            apart = rows[others] - rows[n]
            yield n, others, np.einsum("nd,nd->n", apart, apart)


def _told(squares: Array, metric: Metric, rows: Array, index: Array) -> Array:
    """Distances of the metric from squared Euclidean ones."""
    if metric == "euclidean":
        return np.sqrt(squares)
    length = np.einsum("nd,nd->n", rows, rows)  # 1, or 0 for what has no direction
    return np.asarray((squares + (2 - length[:, None] - length[index])) / 2)


def _indexed(rows: Array, k: int, metric: Metric) -> Near:
    """Neighbours by an index of usearch's (HNSW): quick, and not always the nearest."""
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingDependency(
            f"{len(rows):,} vectors are too many to compare all with all (up to {EXACT:,} are), and usearch, which "
            "finds near ones by an index, is not installed: pip install 'xplain[see]'."
        ) from None
    made = Index(ndim=rows.shape[1], metric="cos" if metric == "cosine" else "l2sq", dtype="f32")
    keys = np.arange(len(rows))
    small = np.ascontiguousarray(rows, np.float32)
    made.add(keys, small, threads=1)
    found = made.search(small, k + 1, threads=1)
    index = np.asarray(found.keys, np.int64)
    far = np.asarray(found.distances, np.float64)
    own = index == keys[:, None]
    own[~own.any(axis=1), -1] = True  # where the index did not find a vector itself, the farthest goes
    kept = ~own
    far = np.sqrt(np.maximum(far, 0)) if metric == "euclidean" else far
    return Near(index[kept].reshape(-1, k), far[kept].reshape(-1, k), False, metric)


def recall(vectors: Array, near: Near, some: int = 200) -> float:
    """Share of the true ``k`` nearest that an index found, over up to ``some`` evenly spread rows; 1 where exact."""
    if near.exact:
        return 1.0
    rows, k = prepared(checked(vectors), near.metric), near.index.shape[1]
    asked = np.unique(np.linspace(0, len(rows) - 1, some).astype(int))
    hits = 0
    for n in asked:
        apart = rows - rows[n]
        far = np.einsum("nd,nd->n", apart, apart)
        far[n] = np.inf
        hits += len(np.intersect1d(np.argpartition(far, k - 1)[:k], near.index[n]))
    return float(hits / (len(asked) * k))
