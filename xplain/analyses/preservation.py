"""How much of a space a map of it keeps: stated beside every map, so that nobody reads what is not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.analyses.neighbours import Metric
from xplain.analyses.vectors import Rows
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Preservation", "preservation"]

_ALL = 4000
"""Vectors up to which each is looked from; of more, so many are drawn."""

_TOGETHER = 2**22
"""Distances that are held at once, for each of the two spaces: 32 MiB."""


@dataclass(frozen=True, slots=True)
class Preservation:
    """How well neighbourhoods of k survived, each number 1 where they did perfectly.

    Args:
        k: Size of a neighbourhood.
        trustworthiness: 1 less what is wrongly shown as near, weighted by how far away it is in truth.
        continuity: 1 less what is near in truth and torn away, weighted by how far it is shown.
        kept: Share of the k nearest neighbours that are still among the k nearest; k / (N - 1) by chance.
        looked: Vectors that were looked from.
        chance: What ``kept`` would be of a random map.
        each: float64 ``[looked]``: ``kept`` for each of them.
        of: int64 ``[looked]``: their rows.
    """

    k: int
    trustworthiness: float
    continuity: float
    kept: float
    looked: int
    chance: float
    each: Array
    of: Array

    def __str__(self) -> str:
        return (
            f"of each item's {self.k} nearest {self.kept:.0%} are near on the map ({self.chance:.1%} by chance); "
            f"trustworthiness {self.trustworthiness:.3f}, continuity {self.continuity:.3f}"
        )


def preservation(
    vectors: Array, places: Array, k: int = 10, *, metric: Metric = "euclidean", seed: int = 0
) -> Preservation:
    """Trustworthiness, continuity and the share of k nearest neighbours that a map keeps.

    ``T = 1 - 2 / (n k (2 N - 3 k - 1)) * sum over i, over j near on the map alone, of (rank of j in truth - k)``; the
    continuity exchanges the two. Of more than 4,000 vectors n = 4,000 are looked from, drawn by ``seed``, and compared
    with all.

    Args:
        vectors: ``[N, D]``.
        places: ``[N, 2]``, or of any width.
        k: Size of a neighbourhood; below half of N.
        metric: Of the vectors.
        seed: Of the draw.

    Raises:
        UsageError: ``k`` is not below half of the vectors, or there are other numbers of both.

    Source:
        Venna and Kaski 2001; the definition of scikit-learn's ``trustworthiness``.
    """
    space, count = Rows(vectors, metric), len(vectors)
    if len(places) != count:
        raise UsageError(f"There are {count} vectors and {len(places)} places; one place each is needed.")
    if not 1 <= k < count / 2:
        raise UsageError(option="k", got=k, accepted=f"1 to {(count - 1) // 2}, below half of the {count} vectors")
    rows = np.arange(count)
    if count > _ALL:
        rows = np.sort(np.random.default_rng([seed, 0x9E]).permutation(count)[:_ALL])
    torn = np.zeros(2)
    kept = np.zeros(len(rows))
    plane = Rows(np.asarray(places, np.float64), "euclidean", 1, differ=False)
    centres = space.mean(), plane.mean()
    step = max(1, _TOGETHER // count)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        far = [one.apart(one.take(some), centre) for one, centre in zip((space, plane), centres, strict=True)]
        for n, row in enumerate(some):
            truth, shown = (_ranks(one[n], int(row)) for one in far)
            near, drawn = truth <= k, shown <= k
            torn += (truth[drawn & ~near] - k).sum(), (shown[near & ~drawn] - k).sum()
            kept[start + n] = (near & drawn).sum() / k
    scale = 2 / (len(rows) * k * (2 * count - 3 * k - 1))
    trust, continuity = (float(one) for one in 1 - scale * torn)
    return Preservation(k, trust, continuity, float(kept.mean()), len(rows), k / (count - 1), kept, rows)


def _ranks(far: Array, row: int) -> Array:
    """The rank of every point by its distance from one, 1 the nearest; its own is beyond all."""
    far[row] = np.inf
    ranks = np.empty(len(far), np.int64)
    ranks[np.argsort(far, kind="stable")] = np.arange(1, len(far) + 1)
    return ranks
