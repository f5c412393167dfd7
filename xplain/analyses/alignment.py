"""How alike two nets see the same items, layer by layer: centred kernel alignment, and neighbours in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xplain.analyses.neighbours import Metric, nearest
from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["LEAST", "MOST", "Alignment", "alignment", "linear_cka"]

LEAST = 8
"""Items below which nothing is compared."""

MOST = 2000
"""Items whose kernels are compared; of more, so many are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The layers of one net against those of another.

    Args:
        first: Names of the P layers of the first net.
        second: Names of the Q layers of the second.
        cka: float64 ``[P, Q, 3]``: debiased linear centred kernel alignment, and its 95 % interval; 1 for spaces that
            are alike up to rotation and scale, 0 (and a little below) for spaces that have nothing in common.
        shared: float64 ``[P, Q, 3]``: the share of each item's k nearest neighbours that both layers agree on, with
            its interval.
        k: Those neighbours.
        chance: What ``shared`` is by chance.
        items: int64: rows that were compared.
        agreement: float64 ``[Q', N]`` by pairs ``pairs``: for each item, the cosine between how it is alike to all
            others in one layer and in the other. The nets differ most on the items with the lowest.
        pairs: For each row of ``agreement``, the places of its two layers.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    cka: Array
    shared: Array
    k: int
    chance: float
    items: Array
    agreement: Array
    pairs: tuple[tuple[int, int], ...]

    def most_different(self, pair: int = -1, count: int = 12) -> Array:
        """Rows of the items on which a pair of layers (the last one by default) differs most, those first."""
        return np.asarray(self.items[np.argsort(self.agreement[pair], kind="stable")[:count]])


def alignment(
    first: Mapping[str, Array],
    second: Mapping[str, Array],
    *,
    k: int = 10,
    metric: Metric = "euclidean",
    draws: int = 100,
    seed: int = 0,
) -> Alignment:
    """Every layer of one net against every layer of another, on vectors of the same items in the same order.

    Kernel alignment: ``HSIC1(K, L) / sqrt(HSIC1(K, K) HSIC1(L, L))`` of ``K = X X^T``, with the estimator of HSIC that
    has no bias (the plain one calls layers alike where they are merely wide and the items few). Its interval draws
    halves of the items without putting back (delete-half jackknife): a bootstrap that draws an item twice would make
    it its own neighbour. Neighbours in common: the mean over items, drawn again for its interval. Of more than 2,000
    items 2,000 are drawn. Items are looked at one by one for the layers of one name, and for the last of both.

    Args:
        first: Layer to vectors ``[N, D]`` of the first net, in their order.
        second: The same of the other; widths may differ.
        k: Neighbours.
        metric: Of the neighbours.
        draws: Draws of an interval.
        seed: Root of all randomness.

    Raises:
        UsageError: fewer than ``LEAST`` items, other numbers of items, or ``k`` is not below their number.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414; the estimator without bias: Song et al. 2012, as Nguyen et al. 2021,
        arXiv:2010.15327, take it.
    """
    given = [*first.items(), *second.items()]
    if not first or not second:
        raise UsageError("Nothing to compare: each net needs at least one layer.")
    found = [checked(rows, LEAST, f"vectors of layer {name}") for name, rows in given]
    counts = {len(rows) for rows in found}
    if len(counts) > 1:
        raise UsageError(f"The layers have vectors of {sorted(counts)} items; the same items are needed of all.")
    (count,) = counts
    rng = np.random.default_rng([seed, 0xA1])
    items = np.arange(count) if count <= MOST else np.sort(rng.permutation(count)[:MOST])
    if not 1 <= k < len(items):
        raise UsageError(option="k", got=k, accepted=f"1 to {len(items) - 1}, one less than the items")
    found = [rows[items] for rows in found]
    kernels = [_kernel(rows) for rows in found]
    near = [nearest(rows, k, metric=metric).index for rows in found]
    halves = [np.sort(rng.permutation(len(items))[: len(items) // 2]) for _ in range(draws)]
    split = len(first)
    cka = _with_halves(kernels[:split], kernels[split:], halves)
    shared = np.empty((split, len(second), 3))
    again = rng.integers(0, len(items), (draws, len(items)))
    for p in range(split):
        for q in range(len(second)):
            own = _in_common(near[p], near[split + q])
            drawn = own[again].mean(axis=1)
            shared[p, q] = own.mean(), *np.quantile(drawn, [0.025, 0.975])
    names = tuple(first), tuple(second)
    pairs = [(names[0].index(name), names[1].index(name)) for name in names[0] if name in names[1]]
    last = (len(names[0]) - 1, len(names[1]) - 1)
    pairs = [pair for pair in pairs if pair != last] + [last]
    agreement = np.stack([_alike(kernels[p], kernels[split + q]) for p, q in pairs])
    chance = k / (len(items) - 1)
    return Alignment(*names, cka, shared, k, chance, items, agreement, tuple(pairs))


def linear_cka(first: Array, second: Array, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment of vectors ``[N, P]`` and ``[N, Q]`` of the same items.

    Args:
        first: Of one layer.
        second: Of the other.
        debiased: By the estimator without bias; else ``||Y^T X||^2 / (||X^T X|| ||Y^T Y||)`` of centred X and Y.
    """
    if not debiased:
        x, y = (np.asarray(one, np.float64) - np.mean(one, axis=0, dtype=np.float64) for one in (first, second))
        cross, own, other = (np.linalg.norm(product) for product in (y.T @ x, x.T @ x, y.T @ y))
        return float(cross**2 / (own * other))
    return float(_scaled(_table([_kernel(first)], [_kernel(second)]), [_kernel(first)], [_kernel(second)])[0, 0])


def _kernel(rows: Array) -> Array:
    """``X X^T`` of centred X, scaled, its diagonal zero: what the estimator without bias reads."""
    centred = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    kernel = centred @ centred.T
    kernel /= np.abs(kernel).max() or 1.0
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _table(first: list[Array], second: list[Array]) -> Array:
    """HSIC without bias for all pairs: ``tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 / (n-2) 1'KL1``, over ``n (n-3)``."""
    n = len(first[0])
    flat = [np.stack([kernel.ravel() for kernel in some]) for some in (first, second)]
    sums = [np.stack([kernel.sum(axis=1) for kernel in some]) for some in (first, second)]
    whole = [one.sum(axis=1) for one in sums]
    value = flat[0] @ flat[1].T + np.outer(*whole) / ((n - 1) * (n - 2)) - 2 / (n - 2) * sums[0] @ sums[1].T
    return np.asarray(value / (n * (n - 3)))


def _scaled(table: Array, first: list[Array], second: list[Array]) -> Array:
    own = [np.array([_table([kernel], [kernel])[0, 0] for kernel in some]) for some in (first, second)]
    scale = np.sqrt(np.maximum(np.outer(*own), 0))
    return np.asarray(np.divide(table, scale, out=np.zeros_like(table), where=scale > 0))


def _with_halves(first: list[Array], second: list[Array], halves: list[Array]) -> Array:
    """The alignment of all pairs ``[P, Q, 3]``: of all items, and the ends of its interval by halves of them."""
    value = _scaled(_table(first, second), first, second)
    drawn = []
    for half in halves:
        some = [[np.ascontiguousarray(kernel[np.ix_(half, half)]) for kernel in net] for net in (first, second)]
        drawn.append(_scaled(_table(*some), *some))
    spread = np.stack(drawn) - np.mean(drawn, axis=0)  # halves of half the items: their spread is that of the whole
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    return np.stack([value, value + low, np.minimum(value + high, 1.0)], axis=2)


def _in_common(first: Array, second: Array) -> Array:
    """The share of each item's neighbours ``[N, k]`` that both have."""
    return np.asarray((first[:, :, None] == second[:, None, :]).any(axis=2).mean(axis=1))


def _alike(first: Array, second: Array) -> Array:
    """For each item, the cosine between its rows of two kernels."""
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    product = (first * second).sum(axis=1)
    return np.asarray(np.divide(product, scale, out=np.zeros_like(product), where=scale > 0))
