"""Nearest neighbours: exact ones from blocks of products, approximate ones of very many vectors through usearch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from xplain.analyses.vectors import Rows
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = ["EXACT", "Metric", "Near", "nearest", "recall"]

Metric: TypeAlias = Literal["euclidean", "cosine"]

EXACT = 100_000
"""Vectors up to which all are compared with all."""

_TOGETHER = 2**24
"""Numbers of the vectors whose neighbours are looked for together: 64 MiB of float32."""


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
        N^2 D products of float32, in blocks: 10,000 vectors of 1,280 numbers take some seconds of a core, and memory
        does not grow with the vectors where they are mapped from a disk. An index holds a copy of them.

    Raises:
        UsageError: fewer than two vectors, all equal, or ``k`` below 1.
        NonFinite: NaN or infinity.
        MissingDependency: an index is needed, and usearch is not installed.
    """
    rows = Rows(vectors, metric)
    if k < 1:
        raise UsageError(option="k", got=k, accepted="a whole number of at least 1")
    k = min(k, len(rows) - 1)
    if exact is None:
        exact = len(rows) <= EXACT
    if not exact:
        return _indexed(rows, k, metric)
    index = np.empty((len(rows), k), np.int64)
    distance = np.empty((len(rows), k))
    for n, others in _candidates(rows, k):
        index[n], distance[n] = _measured(rows, n, others, k)
    return Near(index, _told(distance, rows, index), True, metric)


def _measured(rows: Rows, n: int, others: Array, k: int) -> tuple[Array, Array]:
    """The ``k`` of some rows that are nearest to one, and their squared distances, difference by difference."""
    both = rows.take(np.append(others, n))
    apart = both[:-1] - both[-1]
    far = np.einsum("nd,nd->n", apart, apart)
    order = np.lexsort((others, far))[:k]
    return others[order], far[order]


def _candidates(rows: Rows, k: int) -> Iterator[tuple[int, Array]]:
    """Each row, and the rows that may be among its ``k`` nearest."""
    centre = rows.mean()  # centred they have the same distances, and smaller products, which are rounded less
    lengths = np.concatenate([np.einsum("nd,nd->n", one - centre, one - centre) for _, one in rows.blocks()])
    unit = 2.0**-24
    slack = rows.width * unit / (1 - rows.width * unit) + 8 * unit
    reach = np.sqrt(lengths) + np.sqrt(lengths.max())
    squares = lengths.astype(np.float32)
    step = max(64, min(4096, _TOGETHER // rows.width))
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        own = -2 * (rows.take(slice(start, stop)) - centre).astype(np.float32)
        near = _Nearest(stop - start, k, 2 * slack * reach[start:stop] ** 2)
        for part, block in rows.blocks():
            for low in range(part.start, part.stop, step):
                high = min(low + step, part.stop)
                small = (block[low - part.start : high - part.start] - centre).astype(np.float32)
                far = own @ small.T
                far += squares[low:high]
                far += squares[start:stop, None]
                same = np.arange(max(start, low), min(stop, high))
                far[same - start, same - low] = np.inf  # a vector is not its own neighbour
                near.add(far, low)
        yield from ((start + n, others) for n, others in enumerate(near.columns()))


class _Nearest:
    """The columns that may be among the ``k`` smallest of each row, while a wide table goes by in blocks.

    Args:
        count: Rows.
        k: How many.
        slack: ``[count]``: how far above the k-th smallest a value may be and still belong to it.
    """

    def __init__(self, count: int, k: int, slack: Array) -> None:
        self.k, self._slack = k, slack
        self._kth = np.full(count, np.inf)
        self._row, self._column = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._value = np.zeros(0, np.float32)

    def add(self, block: Array, first: int) -> None:
        """Take in columns ``first`` onwards, ``[count, M]``; infinite values are none."""
        if self.k <= block.shape[1] and not np.isfinite(self._kth).all():
            self._kth = np.minimum(self._kth, np.partition(block, self.k - 1, axis=1)[:, self.k - 1])
        row, column = np.nonzero(block <= (self._kth + self._slack)[:, None])
        value = block[row, column]
        there = np.isfinite(value)
        row, column, value = row[there], column[there] + first, value[there]
        row, column = np.concatenate([self._row, row]), np.concatenate([self._column, column])
        value = np.concatenate([self._value, value])
        order = np.lexsort((value, row))
        row, column, value = row[order], column[order], value[order]
        begin = np.searchsorted(row, np.arange(len(self._kth) + 1))
        full = np.flatnonzero(np.diff(begin) >= self.k)
        self._kth[full] = value[begin[full] + self.k - 1]
        kept = value <= (self._kth + self._slack)[row]
        self._row, self._column, self._value = row[kept], column[kept], value[kept]

    def columns(self) -> list[Array]:
        """For each row the columns that are left."""
        return np.split(self._column, np.searchsorted(self._row, np.arange(1, len(self._kth))))


def _told(squares: Array, rows: Rows, index: Array) -> Array:
    """Distances of the metric from squared Euclidean ones."""
    if rows.metric == "euclidean":
        return np.sqrt(squares)
    length = np.concatenate([np.einsum("nd,nd->n", one, one) for _, one in rows.blocks()])  # 1; 0 has no direction
    return np.asarray((squares + (2 - length[:, None] - length[index])) / 2)


def _indexed(rows: Rows, k: int, metric: Metric) -> Near:
    """Neighbours by an index of usearch's (HNSW): quick, and not always the nearest; distances are measured."""
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingDependency(
            f"{len(rows):,} vectors are too many to compare all with all (up to {EXACT:,} are), and usearch, which "
            "finds near ones by an index, is not installed: pip install 'xplain[see]'."
        ) from None
    made = Index(ndim=rows.width, metric="l2sq", dtype="f32")
    for part, block in rows.blocks():
        made.add(np.arange(part.start, part.stop), block.astype(np.float32), threads=1)
    index = np.empty((len(rows), k), np.int64)
    distance = np.empty((len(rows), k))
    for part, block in rows.blocks():
        found = np.asarray(made.search(block.astype(np.float32), k + 1, threads=1).keys, np.int64).reshape(-1, k + 1)
        own = found == np.arange(part.start, part.stop)[:, None]
        own[~own.any(axis=1), -1] = True  # where the index did not find a vector itself, the farthest goes
        for n, others in enumerate(found[~own].reshape(-1, k), part.start):
            index[n], distance[n] = _measured(rows, n, others, k)
    return Near(index, _told(distance, rows, index), False, metric)


def recall(vectors: Array, near: Near, some: int = 200) -> float:
    """Share of the true ``k`` nearest that an index found, over up to ``some`` evenly spread rows; 1 where exact."""
    if near.exact:
        return 1.0
    rows, k = Rows(vectors, near.metric), near.index.shape[1]
    asked = np.unique(np.linspace(0, len(rows) - 1, some).astype(int))
    far = rows.apart(rows.take(asked), rows.mean())
    far[np.arange(len(asked)), asked] = np.inf
    true = np.argpartition(far, k - 1, axis=1)[:, :k]
    hits = sum(len(np.intersect1d(one, near.index[n])) for one, n in zip(true, asked, strict=True))
    return float(hits / (len(asked) * k))
