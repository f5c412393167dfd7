"""Intrinsic dimension: how many numbers a point of a cloud of vectors is really described by.

Three estimators with three faults. Two-NN and maximum likelihood look at the nearest neighbours and read low where the
dimension is high, for then no number of points fills a neighbourhood; shortest paths on a graph of neighbours read
high there. The truth of a layer lies between, so all are told, each with an interval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from xplain.analyses.neighbours import nearest
from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.mapped import chosen, parts

__all__ = ["ESTIMATORS", "Dimension", "Estimate", "dimension", "distinct"]

ESTIMATORS = ("two-nn", "maximum-likelihood", "graph")

LEAST = 8
"""Distinct points below which nothing is estimated."""

_FEW = 100
"""Distinct points below which a warning says that they are few."""

_MOST_PATHS = 2000
"""Points between which shortest paths are followed; of more, so many are drawn."""

_GRAPHS = (6, 10, 15)
"""Neighbours joined by an edge: the graph whose distances fit a sphere's best is taken."""

_DISCARDED = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A dimension and its 95 % interval.

    Args:
        value: The estimate.
        low: Lower end; NaN where no interval can be told.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Dimension:
    """The dimension of a cloud of vectors by each estimator.

    Args:
        estimates: Name of the estimator (``ESTIMATORS``) to its estimate.
        points: Points that were used.
        duplicates: Points that were left out because they nearly repeat another.
        width: Numbers of a vector.
        facts: Of the graph: ``neighbours`` (edges of a point), ``connected`` (share of pairs with a path), ``misfit``
            (root mean square of the fit), ``points`` (between which paths were followed).
        warnings: What must be known before the estimates are believed.
    """

    estimates: Mapping[str, Estimate]
    points: int
    duplicates: int
    width: int
    facts: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def dimension(vectors: Array, *, k: int = 20, near: float = 0.02, draws: int = 200, seed: int = 0) -> Dimension:
    """The intrinsic dimension by three estimators, near-duplicates left out first.

    * two-NN: ``-log(1 - F(mu)) = d log(mu)`` with ``mu = r2 / r1``, a line through the origin over the smaller 90 %.
    * maximum likelihood: ``1 / d`` is the mean over points, and over j < k, of ``log(r_k / r_j)``.
    * graph: shortest paths on the graph of nearest neighbours are distributed as on a sphere of dimension d:
      ``log p(r) / p(r_m) = (d - 1) log sin(pi r / (2 r_m))`` over ``[r_m - 2 sd, r_m]``, ``r_m`` their mode.

    Intervals draw the points' own terms again (of the graph: the points that paths start from); that neighbouring
    points share neighbours is left out, so they are somewhat narrow.

    Args:
        vectors: ``[N, D]``.
        k: Neighbours of the maximum likelihood.
        near: A point nearer to another than this share of the distance to its tenth neighbour repeats it.
        draws: Draws of an interval.
        seed: Root of all randomness.

    Raises:
        UsageError: fewer than ``LEAST`` distinct points, or all are equal.

    Source:
        Facco et al. 2017, doi:10.1038/s41598-017-11873-y; Levina and Bickel 2004, averaged as by MacKay and Ghahramani
        2005; Granata and Carnevale 2016, doi:10.1038/srep31377, as used by Gong et al. 2019, arXiv:1803.09672.
    """
    rows = checked(vectors)
    kept = distinct(rows, near)
    points = chosen(rows, kept)
    if len(points) < LEAST:
        raise UsageError(
            f"{len(points)} of {len(rows)} vectors are distinct; a dimension is estimated of at least {LEAST}. Give "
            "more items, or items that differ more."
        )
    k = min(k, len(points) - 1)
    far = nearest(points, max(2, k)).distance
    rng = np.random.default_rng([seed, 0xD1])
    estimates = {
        "two-nn": _drawn(np.log(far[:, 1] / far[:, 0]), _two_nn, draws, rng),
        "maximum-likelihood": _drawn(_likelihood_terms(far[:, :k]), lambda terms: 1 / terms.mean(), draws, rng),
    }
    some = points if len(points) <= _MOST_PATHS else points[np.sort(rng.permutation(len(points))[:_MOST_PATHS])]
    estimates["graph"], facts, warnings = _graph(some, draws, rng)
    if len(points) < _FEW:
        warnings += (f"{len(points)} distinct items are few: look at the intervals, and take {_FEW} or more.",)
    if estimates["graph"].value > 2 * estimates["two-nn"].value:
        warnings += ("The estimators are far apart: the points are too few for this dimension; it lies between.",)
    return Dimension(estimates, len(points), len(rows) - len(points), rows.shape[1], facts, warnings)


def distinct(vectors: Array, near: float = 0.02) -> Array:
    """The rows that are left when of points that nearly coincide the first alone stays, int64.

    Near is measured on the spot: by the distance to the tenth neighbour that is no copy, so that a dense cloud loses
    nothing. Of a cloud of dimension d, ``9 near^d`` of the points are lost by chance: 0.4 % of a plane at 0.02.
    """
    rows = np.asarray(vectors)
    kept = _different(rows)
    while len(kept) > 2:
        found = nearest(chosen(rows, kept), min(10, len(kept) - 1))
        close = found.distance[:, 0] < near * found.distance[:, -1]
        later = close & (found.index[:, 0] < np.arange(len(kept)))  # of a pair the second goes
        if not later.any():
            break
        kept = kept[~later]
    return np.asarray(kept)


def _different(rows: Array) -> Array:
    """The first of the rows that are equal, in their order; told apart by a digest of their numbers."""
    first: dict[bytes, int] = {}
    for part in parts(rows):
        block = rows[part] + rows.dtype.type(0)  # -0 and 0 are one number
        for n, row in enumerate(block, part.start):
            first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), n)
    return np.array(list(first.values()), np.int64)


def _two_nn(logs: Array) -> float:
    """The slope of ``-log(1 - F)`` over ``log mu`` through the origin, over the smaller ratios."""
    ordered = np.sort(logs)
    count = int(len(ordered) * (1 - _DISCARDED))
    x, y = ordered[:count], -np.log1p(-np.arange(1, count + 1) / len(ordered))
    return float(x @ y / (x @ x))


def _likelihood_terms(far: Array) -> Array:
    """What each point says of 1 / d: the mean of ``log(r_k / r_j)``."""
    return np.asarray(np.log(far[:, -1:] / far[:, :-1]).mean(axis=1))


def _drawn(terms: Array, of: Callable[[Array], float], draws: int, rng: np.random.Generator) -> Estimate:
    again = [of(terms[rng.integers(0, len(terms), len(terms))]) for _ in range(draws)]
    return Estimate(float(of(terms)), *map(float, np.quantile(again, [0.025, 0.975])))


def _graph(points: Array, draws: int, rng: np.random.Generator) -> tuple[Estimate, dict[str, float], tuple[str, ...]]:
    """The estimate by shortest paths, facts of the graph, and what must be known of it."""
    best: tuple[float, float, Array, Array, int, float] | None = None
    for k in _GRAPHS:
        if k >= len(points):
            break
        paths = _paths(points, k)
        upper = paths[np.triu_indices(len(paths), 1)]
        connected = float(np.isfinite(upper).mean())
        reach = upper[np.isfinite(upper)]
        edges = np.linspace(0, reach.max(), max(30, int(np.sqrt(len(reach)) / 4)) + 1)
        counts = _histograms(paths, edges)
        value, misfit = _sphere(counts.sum(axis=0), edges)
        if np.isfinite(value) and (best is None or misfit < best[1]):
            best = value, misfit, counts, edges, k, connected
    if best is None:
        why = "No graph of the points has distances like a sphere's, so the graph's estimate is left out."
        return Estimate(np.nan, np.nan, np.nan), {"points": len(points)}, (why,)
    value, misfit, counts, edges, k, connected = best
    again = [
        _sphere(np.bincount(rng.integers(0, len(counts), len(counts)), minlength=len(counts)) @ counts, edges)[0]
        for _ in range(draws)
    ]
    facts = {"neighbours": k, "connected": connected, "misfit": misfit, "points": len(points)}
    warnings: tuple[str, ...] = ()
    if connected < 0.95:
        why = f"Only {connected:.0%} of the pairs are joined by a path: the items fall into groups"
        low = "maximum likelihood reads low where its neighbours are more than a group has"
        warnings = (f"{why}. The graph's estimate is of their insides, and {low}.",)
    return Estimate(value, *map(float, np.nanquantile(again, [0.025, 0.975]))), facts, warnings


def _paths(points: Array, k: int) -> Array:
    """Lengths of the shortest paths between all points over edges to ``k`` neighbours; infinite where there is none."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import shortest_path

    found, count = nearest(points, k), len(points)
    rows = np.repeat(np.arange(count), k)
    edges = csr_matrix((found.distance.ravel(), (rows, found.index.ravel())), shape=(count, count))
    return np.asarray(shortest_path(edges, method="D", directed=False))


def _histograms(paths: Array, edges: Array) -> Array:
    """How many paths from each point have each length, ``[N, bins]``."""
    bins, width = len(edges) - 1, edges[1] - edges[0]
    counts = np.zeros((len(paths), bins))
    for n, lengths in enumerate(paths):
        own = lengths[np.isfinite(lengths) & (lengths > 0)]
        counts[n] = np.bincount(np.minimum((own / width).astype(int), bins - 1), minlength=bins)
    return counts


def _sphere(counts: Array, edges: Array) -> tuple[float, float]:
    """The dimension of the sphere whose distances are distributed so below their mode, and the fit's misfit."""
    centre = (edges[1:] + edges[:-1]) / 2
    smooth = np.convolve(counts, np.ones(5) / 5, "same")
    top = int(smooth.argmax())
    mode, total = centre[top], counts.sum()
    mean = counts @ centre / total
    spread = np.sqrt(max(counts @ (centre - mean) ** 2 / total, 0.0))
    inside = (centre > max(mode - 2 * spread, 0.0)) & (centre < mode) & (smooth > 0)
    if inside.sum() < 3:
        return np.nan, np.inf
    x = np.log(np.sin(np.pi * centre[inside] / (2 * mode)))
    y = np.log(smooth[inside] / smooth[top])
    slope = float(x @ y / (x @ x))
    return 1 + slope, float(np.sqrt(np.mean((y - slope * x) ** 2)))
