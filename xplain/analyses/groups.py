"""Groups of explanations within one class: spectral relevance analysis at several numbers of groups, and HDBSCAN.

How many groups there are is not known, and the largest gap of eigenvalues, by which it is often told, chose 4, 3 and 8
on three sets that hold two. So several numbers are reported side by side, and none is called the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.analyses.clusters import clusters
from xplain.analyses.neighbours import nearest
from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = ["Grouping", "embedding", "grouped"]


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """One way of parting items.

    Args:
        way: ``spectral`` or ``hdbscan``.
        count: Groups asked for (spectral), or found.
        own: int64 ``[N]``: each item's group, the largest first; -1 where HDBSCAN calls it noise.
        gaps: The first differences of rising eigenvalues; the place of the largest is what an eigengap would choose.
    """

    way: str
    count: int
    own: Array
    gaps: Array


def embedding(vectors: Any, width: int = 8, neighbours: int = 10) -> tuple[Array, Array]:
    """Items as the first eigenvectors of their graph of neighbours, and the eigenvalues.

    ``A = (K + K') / 2`` with K the 0/1 matrix of each item's nearest, ``L = I - D^-1/2 A D^-1/2``; the eigenvectors
    of the smallest eigenvalues, rows brought to length 1.

    Args:
        vectors: ``[N, D]``, such as shares of maps or directions of relevance.
        width: Eigenvectors.
        neighbours: Of each item.

    Returns:
        ``[N, width]``, and ``[width + 1]`` eigenvalues, rising.

    Raises:
        UsageError: too few items for so many eigenvectors.

    Source:
        Lapuschkin et al., Unmasking Clever Hans Predictors, Nature Communications 10, 2019 (SpRAy); Ng, Jordan and
        Weiss, On Spectral Clustering, NIPS 2001.
    """
    rows = checked(vectors, 3)
    if len(rows) < 4 * width:
        raise UsageError(f"There are {len(rows)} items; {width} eigenvectors need at least {4 * width}.")
    from scipy import sparse
    from scipy.sparse.linalg import eigsh

    near = nearest(rows, min(neighbours, len(rows) - 1)).index
    at = np.repeat(np.arange(len(rows)), near.shape[1])
    ones = sparse.csr_matrix((np.ones(at.size), (at, near.reshape(-1))), shape=(len(rows), len(rows)))
    graph = (ones + ones.T) / 2
    scale = sparse.diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).reshape(-1), 1e-12)))
    like = scale @ graph @ scale
    start = np.random.default_rng(0).normal(size=len(rows))  # ARPACK's own start differs from call to call
    values, found = eigsh(like + sparse.identity(len(rows)), k=width + 1, which="LA", v0=start)
    order = np.argsort(-values)
    found = found[:, order[:width]]
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, length, out=np.zeros_like(found), where=length > 1e-12), 2 - values[order]


def grouped(vectors: Any, counts: Sequence[int] = (2, 4, 8), *, seed: int = 0) -> list[Grouping]:
    """Part items into groups: spectral ones for each of some numbers, and HDBSCAN's, which may leave items over.

    Args:
        vectors: ``[N, D]``, no NaN; a few thousand at most.
        counts: Numbers of groups.
        seed: Root of all randomness.

    Raises:
        UsageError: fewer than 32 items.
        MissingDependency: scikit-learn is not installed.

    Source:
        ``embedding``'s; Campello, Moulavi and Sander, Density-Based Clustering Based on Hierarchical Density Estimates,
        PAKDD 2013, as scikit-learn has it.
    """
    try:
        from sklearn.cluster import HDBSCAN
    except ImportError:
        raise MissingDependency(
            "Groups by density need scikit-learn, which is not installed: pip install 'xplain[audit]'."
        ) from None
    flat, values = embedding(vectors)
    gaps = np.diff(values)
    found = []
    for count in counts:
        own = np.full(len(flat), -1, np.int64)
        for k, one in enumerate(clusters(flat[:, :count], (), count, seed=seed)):
            own[one.items] = k
        found.append(Grouping("spectral", count, own, gaps))
    dense = HDBSCAN(min_cluster_size=max(10, len(flat) // 40), copy=True).fit_predict(flat)
    sizes = np.bincount(dense[dense >= 0]) if (dense >= 0).any() else np.zeros(0, int)
    place = np.empty(len(sizes) + 1, np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    place[-1] = -1
    found.append(Grouping("hdbscan", len(sizes), place[dense], gaps))
    return found
