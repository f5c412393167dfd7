"""Concept vectors: whether a score rises towards what some items share, more than towards as many random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.core.keeping.plain import counted

__all__ = ["Concept", "holm", "sensitivity"]

_LEAST = 2
_RIDGE = 0.01
"""Of the mean squared length of centred vectors: keeps a direction finite where items are fewer than numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """What a score makes of one concept.

    Args:
        shares: float64 ``[S]``: for each random set the share of items whose score rises towards the concept.
        cosines: float64 ``[N]``: of each item's gradient with the concept's direction, mean over random sets.
        accuracy: Share of concept and random items on their own side of the boundary when left out, mean over sets.
        p: Two-sided probability of a mean cosine as far out, if the concept's items were random ones.
    """

    shares: Array
    cosines: Array
    accuracy: float
    p: float


def sensitivity(
    concept: Array, others: Array, gradients: Array, *, sets: int, draws: int, rng: np.random.Generator
) -> Concept:
    """Whether a score rises towards a concept, with an exact test.

    The direction v is the normal of a linear boundary (ridge regression on +1 and -1) between the concept's m vectors
    and m random ones, drawn anew for each of ``sets``. The share of items with ``gradient . v > 0`` is the paper's
    score. The test exchanges labels: m of all vectors are called the concept, the same is computed, ``draws`` times;
    ``p = 2 min(P(>=), P(<=))`` of the mean cosine, at most 1, at least ``2 / (draws + 1)``.

    Args:
        concept: ``[m, D]``.
        others: ``[M, D]``, random items.
        gradients: ``[N, D]``: of the score, by the layer, at each item.
        sets: Random sets.
        draws: Exchanges of labels.
        rng: What is drawn with.

    Raises:
        UsageError: fewer than 2 items of the concept or random ones, all equal, or a gradient of zero at each item.
        NonFinite: NaN or infinity.

    Source:
        Kim et al., Quantitative Testing with Concept Activation Vectors, ICML 2018.
    """
    count = min(len(concept), len(others))
    if count < _LEAST:
        raise UsageError(
            f"The concept has {counted(len(concept), 'item')} beside {len(others)} random ones; give 2 of each."
        )
    rows = checked(np.concatenate([concept, others])).astype(np.float64)
    rows -= rows.mean(axis=0)
    steep = np.asarray(gradients, np.float64)
    if not np.isfinite(steep).all():
        raise NonFinite("The gradient at this layer holds NaN or infinity for an item. Read another layer.")
    length = np.linalg.norm(steep, axis=1)
    if not length.any():
        raise UsageError("The gradient at this layer is zero for every item. Read another layer.")
    kernel = rows @ rows.T
    along = steep @ rows.T / np.where(length > 0, length, 1)[:, None]  # [N, m + M]
    own = np.arange(len(concept))

    def of(some: Array) -> tuple[Array, Array]:
        rest = np.setdiff1d(np.arange(len(rows)), some)
        pairs = [(rng.choice(some, count, False), rng.choice(rest, count, False)) for _ in range(sets)]
        found = [_direction(kernel, np.concatenate(pair)) for pair in pairs]
        cosines = [along[:, np.concatenate(pair)] @ v for pair, (v, _) in zip(pairs, found, strict=True)]
        return np.stack(cosines), np.array([right for _, right in found])

    cosines, right = of(own)
    seen = cosines.mean()
    null = np.array([of(rng.choice(len(rows), len(own), False))[0].mean() for _ in range(draws)])
    tails = [(1 + int((null >= seen).sum())) / (1 + draws), (1 + int((null <= seen).sum())) / (1 + draws)]
    shares = (cosines > 0).mean(axis=1)
    return Concept(shares, cosines.mean(axis=0), float(right.mean()), min(1.0, 2 * min(tails)))


def _direction(kernel: Array, some: Array) -> tuple[Array, float]:
    """The boundary's normal of length 1 as weights of the vectors, the first half of which are the concept's.

    With it the share of vectors on their own side of the boundary that the others make, by the hat matrix.
    """
    size = len(some)
    side = np.repeat([1.0, -1.0], size // 2)
    centre = np.eye(size) - 1 / size
    inside = centre @ kernel[np.ix_(some, some)] @ centre
    ridge = _RIDGE * max(np.trace(inside) / size, np.finfo(float).tiny)
    inverse = np.linalg.inv(inside + ridge * np.eye(size))
    weights = centre @ (inverse @ side)
    hat = inside @ inverse + 1 / size
    left_out = side - (side - hat @ side) / np.maximum(1 - np.diag(hat), np.finfo(float).eps)
    length = np.sqrt(max(weights @ inside @ weights, 0.0))
    return weights / (length or 1.0), float((left_out * side > 0).mean())


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that one false alarm among all is as rare as one test says.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = np.argsort(p, kind="stable")
    found, largest = [0.0] * len(p), 0.0
    for place, test in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[test]))
        found[test] = largest
    return found
