"""Prototypes and criticisms: few of many vectors that stand for all, and those that the few do not speak for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.analyses.neighbours import Metric
from xplain.analyses.vectors import checked, prepared
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Critique", "prototypes"]

_NO_NEWS = 1e-10
"""Share of a vector's kernel that earlier criticisms leave open, below which it repeats them."""


@dataclass(frozen=True, slots=True, eq=False)
class Critique:
    """What stands for some vectors.

    Args:
        prototypes: int64 ``[m]``: their rows, in the order in which they were chosen.
        criticisms: int64 ``[c]``: likewise; fewer than were asked for where all others repeat them.
        discrepancy: float64 ``[m]``: the squared maximum mean discrepancy of the first 1, 2, ... m prototypes to all.
        witness: float64 ``[N]``: the density of all vectors at each less that of the prototypes.
        nearest: int64 ``[N]``: the place among the prototypes of the one that is most alike.
        gamma: The kernel's, as it was used.
    """

    prototypes: Array
    criticisms: Array
    discrepancy: Array
    witness: Array
    nearest: Array
    gamma: float


def prototypes(
    vectors: Array, count: int, criticisms: int = 0, *, metric: Metric = "euclidean", gamma: float | None = None
) -> Critique:
    """The vectors whose density is most like that of all, and those where the two densities differ most.

    With ``k(x, y) = exp(-gamma |x - y|^2)`` prototypes S maximise, one added after the other,

        J(S) = 2 / (n |S|) sum_{i, j in S} k(x_i, x_j) - 1 / |S|^2 sum_{i, j in S} k(x_i, x_j)

    which is the mean of k over all pairs less the squared maximum mean discrepancy of S to all. Criticisms C, none of
    them a prototype, maximise likewise ``sum_{l in C} |w(l)| + log det k(C, C)``: far off, and unlike one another,
    ``w(x) = 1/n sum_i k(x_i, x) - 1/|S| sum_{j in S} k(x_j, x)``. Of equal ones the lower row is taken.

    Args:
        vectors: ``[N, D]``.
        count: Prototypes, fewer than N.
        criticisms: Criticisms, at most the others.
        metric: ``euclidean``, or ``cosine``: by direction alone.
        gamma: The kernel's; None is 1 over the median squared distance of two vectors that differ.

    Cost:
        N^2 D products, and memory for N^2 numbers.

    Raises:
        UsageError: more are asked for than there are, or all vectors are equal.
        NonFinite: NaN or infinity.

    Source:
        Kim, Khanna and Koyejo, Examples are not Enough, Learn to Criticize!, NIPS 2016, sections 3 and 4.
    """
    rows = prepared(checked(vectors, 3), metric)
    if not 0 < count < len(rows):
        raise UsageError(f"There are {len(rows)} vectors; 1 to {len(rows) - 1} of them can stand for all, not {count}.")
    kernel, gamma = _kernel(rows, gamma)
    density = kernel.mean(axis=1)
    chosen, discrepancy = _prototypes(kernel, density, count)
    alike = kernel[:, chosen]
    witness = density - alike.mean(axis=1)
    wanted = min(criticisms, len(rows) - count)
    return Critique(
        chosen, _criticisms(kernel, witness, chosen, wanted), discrepancy, witness, alike.argmax(axis=1), gamma
    )


def _kernel(rows: Array, gamma: float | None) -> tuple[Array, float]:
    """``k(x_i, x_j)``, ``[N, N]``, and its gamma."""
    centred = rows - rows.mean(axis=0)  # where products cancel least
    squares = (centred**2).sum(axis=1)
    far = np.maximum(squares[:, None] + squares - 2 * (centred @ centred.T), 0)
    np.fill_diagonal(far, 0)
    if gamma is None:
        apart = far[far > 0]
        gamma = 1.0 / float(np.median(apart)) if apart.size else 1.0
    return np.exp(-gamma * far), gamma


def _prototypes(kernel: Array, density: Array, count: int) -> tuple[Array, Array]:
    """The rows that are chosen, and the squared discrepancy after each."""
    among, to_chosen = 0.0, np.zeros(len(kernel))  # sum of k within S, and from each vector to S
    to_all, own = 0.0, np.diag(kernel)
    chosen: list[int] = []
    reached = []
    for size in range(1, count + 1):
        value = 2 / size * (to_all + density) - (among + 2 * to_chosen + own) / size**2
        value[chosen] = -np.inf
        best = int(value.argmax())
        among += 2 * to_chosen[best] + own[best]
        to_all += density[best]
        to_chosen = to_chosen + kernel[best]
        chosen.append(best)
        reached.append(density.mean() - value[best])
    return np.array(chosen, np.int64), np.maximum(reached, 0)


def _criticisms(kernel: Array, witness: Array, prototypes: Array, count: int) -> Array:
    """The rows that are chosen; the determinant grows by what earlier ones leave open (a pivoted Cholesky)."""
    left = np.diag(kernel).copy()  # det k(C + l) / det k(C)
    factors = np.zeros((len(kernel), count))
    free = np.ones(len(kernel), bool)
    free[prototypes] = False
    chosen: list[int] = []
    for place in range(count):
        new = free & (left > _NO_NEWS)
        if not new.any():
            break
        best = int(np.where(new, np.abs(witness) + np.log(np.where(new, left, 1)), -np.inf).argmax())
        factors[:, place] = (kernel[:, best] - factors @ factors[best]) / np.sqrt(left[best])
        left = left - factors[:, place] ** 2
        free[best] = False
        chosen.append(best)
    return np.array(chosen, np.int64)
