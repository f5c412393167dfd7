"""What chance alone would give: p-values of permutations, corrections for many tests, intervals of shares and means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["bootstrap", "excess", "holm", "permuted_p", "relabelled", "wilson"]

_BLOCK = 2**24
"""Entries of a block of permuted labels: 64 MiB of float32."""


def holm(p: Sequence[float] | Array) -> Array:
    """P-values corrected for their number, so that the chance of any false one stays what each says.

    In rising order ``adjusted_(i) = min(1, max over j <= i of (m - j + 1) p_(j))``; valid whatever hangs together.

    Args:
        p: m p-values in [0, 1]. NaN is a test that was not made: it stays NaN and is not counted.

    Returns:
        float64 ``[m]``, in the order given.

    Source:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    given = np.asarray(p, np.float64)
    out = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return out


def permuted_p(observed: float, null: Array) -> float:
    """``(1 + permuted statistics >= observed) / (1 + all permuted ones)``: never 0, uniform where labels mean nothing.

    What differs by rounding alone counts as equal, which is the careful side.

    Source:
        Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010, arXiv:1603.05766.
    """
    slack = 1e-12 * max(1.0, abs(observed))
    return float((1 + int((np.asarray(null) >= observed - slack).sum())) / (1 + len(null)))


def relabelled(inside: Array, draws: int, seed: int, strata: Array | None = None) -> Iterator[Array]:
    """Blocks ``[b, N]`` of permuted labels, float32 of 0 and 1, ``draws`` rows in all; each keeps the number of ones.

    Args:
        inside: bool ``[N]``.
        draws: Permutations.
        seed: Root of all randomness.
        strata: Number of each item's stratum, int ``[N]``; labels are exchanged within one alone. None for one stratum.
    """
    rng = np.random.default_rng([seed, 0xCA])
    given = np.asarray(inside, np.float32)
    places = [np.arange(len(given))] if strata is None else [np.flatnonzero(strata == s) for s in np.unique(strata)]
    step = max(1, _BLOCK // max(1, len(given)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        block = np.empty((rows, len(given)), np.float32)
        for some in places:
            block[:, some] = rng.permuted(np.broadcast_to(given[some], (rows, len(some))), axis=1)
        yield block


def wilson(hits: float, of: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share ``hits / of``; right for small numbers, and for shares of 0 and 1.

    ``(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4 n^2)) / (1 + z^2 / n)``.

    Args:
        hits: How many.
        of: Of how many; 0 gives (0, 1).
        level: Share of such intervals that hold the truth; ``1 - 0.05 / m`` for m of them at once (Bonferroni).

    Source:
        Wilson, Probable Inference, JASA 22, 1927.
    """
    if not 0 <= hits <= of:
        raise UsageError(f"The share is {hits} of {of}; accepted: a part of a whole.")
    if of == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = hits / of, z * z / of
    half = z * sqrt(share * (1 - share) / of + spread / (4 * of))
    low, high = (share + spread / 2 - half) / (1 + spread), (share + spread / 2 + half) / (1 + spread)
    return (0.0 if hits == 0 else max(0.0, low)), (1.0 if hits == of else min(1.0, high))


def bootstrap(values: Array, level: float = 0.95, draws: int = 999, seed: int = 0) -> tuple[float, float]:
    """The interval of a mean: quantiles of the means of samples drawn from the values with replacement.

    Args:
        values: ``[N]``; one value gives that value twice.
        level: Share of such intervals that hold the truth.
        draws: Samples.
        seed: Root of all randomness.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentiles).
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        raise UsageError("There are no values, so there is no mean; accepted: at least one.")
    rng = np.random.default_rng([seed, 0xB0])
    step = max(1, 2**22 // len(given))
    sizes = [min(step, draws - start) for start in range(0, draws, step)]
    means = np.concatenate([given[rng.integers(len(given), size=(n, len(given)))].mean(axis=1) for n in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def excess(hits: int, of: int, all_hits: int, all_of: int) -> float:
    """P-value that a part of a whole has a share of hits so far from the whole's by chance (Fisher's exact, two-sided).

    Of ``all_of`` items with ``all_hits`` hits, ``of`` are drawn without replacement: the hypergeometric probabilities
    of all numbers of hits that are no likelier than ``hits``, added up.

    Source:
        Fisher 1935; the two-sided form of R's ``fisher.test``.
    """
    low, high = max(0, of - (all_of - all_hits)), min(of, all_hits)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, all_of + 1)))])  # log n!
    k = np.arange(low, high + 1)
    ways = logs[all_hits] - logs[k] - logs[all_hits - k]
    rest = all_of - all_hits
    ways = ways + logs[rest] - logs[of - k] - logs[rest - of + k]
    chance = np.exp(ways - (logs[all_of] - logs[of] - logs[all_of - of]))
    own = chance[hits - low]
    return float(min(1.0, chance[chance <= own * (1 + 1e-7)].sum()))
