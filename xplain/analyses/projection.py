"""Vectors laid out in a plane: principal components, t-SNE, UMAP, PaCMAP; each seeded, each by a well-kept library."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.analyses.neighbours import Metric
from xplain.analyses.vectors import Rows
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError, unknown

__all__ = ["PROJECTIONS", "Places", "Projection", "principal", "project"]

Projection: TypeAlias = Literal["pca", "t-sne", "umap", "pacmap"]

_FIRST = 50
"""Principal components that t-SNE, UMAP and PaCMAP are given of wider vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where each vector lies in the plane.

    Args:
        places: float64 ``[N, 2]``.
        by: The projection.
        library: Who computed it, with its version.
        facts: What was set, such as the perplexity, or the variance that two components hold.
    """

    places: Array
    by: str
    library: str
    facts: Mapping[str, Any]


def project(
    vectors: Array,
    by: Projection = "t-sne",
    *,
    metric: Metric = "euclidean",
    perplexity: float = 30.0,
    neighbours: int = 15,
    seed: int = 0,
) -> Places:
    """The vectors in a plane.

    No plane shows a space of many dimensions truly; ``xplain.analyses.preservation`` says how much of it to believe.
    Vectors wider than 50 go through their first 50 principal components before t-SNE, UMAP and PaCMAP, as is usual;
    ``facts`` say so, with the share of the variance that these hold.

    Args:
        vectors: ``[N, D]``.
        by: ``pca`` (linear; distances between far points mean something), ``t-sne`` (neighbourhoods; distances between
            groups and sizes of groups mean nothing), ``umap`` or ``pacmap`` (neighbourhoods and, less well, order).
        metric: Of the vectors; ``cosine`` compares directions.
        perplexity: Of t-SNE: about how many neighbours each point has; at most a third of the points.
        neighbours: Of UMAP and PaCMAP.
        seed: Root of all randomness.

    Raises:
        UsageError: fewer than 3 vectors (5 for all but ``pca``), or all are equal.
        UnknownName: no such projection.
        MissingDependency: its library is not installed; the message says how to.
    """
    if by not in PROJECTIONS:
        raise unknown("projection", by, PROJECTIONS, option="by")
    rows = Rows(vectors, metric, 3)
    if len(rows) < 5 and by != "pca":
        raise UsageError(
            f"{len(rows)} vectors have no neighbourhoods to draw",
            option="by",
            got=by,
            accepted="pca for fewer than 5 vectors",
        )
    facts: dict[str, Any] = {}
    if by == "pca":
        narrow, held = _principal(rows, 2)
        facts = {"variance held": float(held.sum())}
    elif rows.width > _FIRST < len(rows):
        narrow, held = _principal(rows, _FIRST)
        facts = {"principal components before": _FIRST, "variance held by them": float(held.sum())}
    else:
        narrow = rows.take(slice(None))
    size = {"perplexity": min(perplexity, (len(rows) - 1) / 3), "neighbours": min(neighbours, len(rows) - 1)}
    places, library, told = PROJECTIONS[by](narrow, size, seed)
    return Places(np.asarray(places, np.float64), by, library, {**facts, **told})


def principal(rows: Array, count: int) -> tuple[Array, Array]:
    """The vectors' first principal components ``[N, count]``, and the share of the variance that each holds.

    By the singular values of the centred vectors, or, of more vectors than numbers, the covariance's. The sign of a
    component is such that its largest loading is positive, as scikit-learn has it. Components that the vectors do not
    have are zero. Of more vectors than numbers a block at a time is held.
    """
    return _principal(Rows(rows, "euclidean", 1, differ=False), count)


def _principal(rows: Rows, count: int) -> tuple[Array, Array]:
    mean = rows.mean()
    if len(rows) <= rows.width:
        _, _, axes = np.linalg.svd(rows.take(slice(None)) - mean, full_matrices=False)
    else:
        together = np.zeros((rows.width, rows.width))
        for _, block in rows.blocks():
            together += (block - mean).T @ (block - mean)
        axes = np.linalg.eigh(together)[1].T[::-1]
    axes = axes[:count]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    found = np.concatenate([(block - mean) @ axes.T for _, block in rows.blocks()])
    whole = sum(float(((block - mean) ** 2).sum()) for _, block in rows.blocks())
    held = (found**2).sum(axis=0) / max(whole, np.finfo(float).tiny)
    missing = count - found.shape[1]
    return np.pad(found, ((0, 0), (0, max(0, missing)))), np.pad(held, (0, max(0, missing)))


_Made: TypeAlias = tuple[Array, str, dict[str, Any]]


def _t_sne(rows: Array, size: Mapping[str, float], seed: int) -> _Made:
    """By openTSNE where it is installed, else by scikit-learn."""
    perplexity = size["perplexity"]
    told = {"perplexity": round(float(perplexity), 3), "start": "principal components"}
    try:
        import openTSNE
    except ImportError:
        pass
    else:
        made = openTSNE.TSNE(perplexity=perplexity, initialization="pca", random_state=seed, n_jobs=1)
        return np.asarray(made.fit(rows)), f"openTSNE {openTSNE.__version__}", told
    try:
        import sklearn
        from sklearn.manifold import TSNE
    except ImportError:
        raise _missing("t-SNE", "openTSNE, or scikit-learn") from None
    made = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(rows)), f"scikit-learn {sklearn.__version__}", told


def _umap(rows: Array, size: Mapping[str, float], seed: int) -> _Made:
    try:
        import umap
    except ImportError:
        raise _missing("UMAP", "umap-learn", "xplain[maps]") from None
    count = max(2, int(size["neighbours"]))
    made = umap.UMAP(n_neighbors=count, random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(rows)), f"umap-learn {umap.__version__}", {"neighbours": count}


def _pacmap(rows: Array, size: Mapping[str, float], seed: int) -> _Made:
    try:
        import pacmap
    except ImportError:
        raise _missing("PaCMAP", "pacmap", "xplain[maps]") from None
    from importlib.metadata import version

    count = max(2, int(size["neighbours"]))
    told = logging.getLogger(pacmap.PaCMAP.__module__)
    level = told.level
    told.setLevel(logging.ERROR)  # that a seed is set is no news
    try:
        made = pacmap.PaCMAP(n_neighbors=count, random_state=seed)
    finally:
        told.setLevel(level)
    return np.asarray(made.fit_transform(rows)), f"pacmap {version('pacmap')}", {"neighbours": count}


def _pca(rows: Array, size: Mapping[str, float], seed: int) -> _Made:
    """The two components that ``project`` has found."""
    return rows, f"numpy {np.__version__}", {}


PROJECTIONS: Mapping[str, Callable[[Array, Mapping[str, float], int], _Made]] = {
    "pca": _pca,
    "t-sne": _t_sne,
    "umap": _umap,
    "pacmap": _pacmap,
}
"""Name of a projection to what lays vectors out."""


def _missing(what: str, library: str, package: str = "xplain[see]") -> MissingDependency:
    return MissingDependency(f"{what} needs {library}, which is not installed: pip install '{package}'.")
