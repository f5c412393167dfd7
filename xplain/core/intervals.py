"""How sure a mean is: bootstrap intervals, widened for small samples; and the worst tenth.

An interval of fewer than ``LEAST`` numbers is not given: a resample of four values says nothing of a fifth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from xplain.core.edits import Array

__all__ = ["LEAST", "LEAST_TAIL", "Interval", "mean_of", "worst_tenth"]

LEAST = 5
"""Numbers from which an interval is given."""

LEAST_TAIL = 10
"""Numbers from which a tenth is told apart."""

_ROUNDS = 2000
_AT_ONCE = 2_000_000  # numbers that are drawn together


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of numbers, and how sure it is.

    Args:
        mean: Over those that are known; NaN where none is.
        low: Lower end of the 95 % interval; NaN for fewer than ``LEAST``.
        high: Upper end.
        count: How many are known.
    """

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if not self.count:
            return "not known"
        if math.isnan(self.low):
            return f"{self.mean:.3g} (of {self.count}, too few for an interval)"
        return f"{self.mean:.3g} ({self.low:.3g} to {self.high:.3g})"


def mean_of(values: Array, seed: int = 0, rounds: int = _ROUNDS) -> Interval:
    """The mean of what is known, with a 95 % bootstrap interval over items.

    Percentiles of the means of ``rounds`` resamples, moved outwards so that a sample of n covers nearly as Student's
    interval does (91 of 100 for 8 normal numbers): the percentile is ``Phi(-sqrt(n / (n - 1)) t_{n - 1})`` with
    the normal distribution's Phi.

    Args:
        values: ``[N]``; NaN are left out.
        seed: Root of the resamples.
        rounds: Resamples.

    Source:
        Efron 1979; the expanded percentile: Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 4.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    count = len(known)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(known.mean())
    if count < LEAST:
        return Interval(mean, math.nan, math.nan, count)
    rng = np.random.Generator(np.random.Philox(key=seed))
    step = max(1, _AT_ONCE // count)
    means = np.concatenate(
        [known[rng.integers(0, count, (min(step, rounds - k), count))].mean(axis=1) for k in range(0, rounds, step)]
    )
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * _student(count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), count)


def worst_tenth(values: Array, better_small: bool) -> tuple[float, Array]:
    """The mean of the worst tenth of what is known, and those items' numbers, the worst first.

    Args:
        values: ``[N]``; NaN are left out.
        better_small: Whether a small value is good.

    Returns:
        The mean, NaN where fewer than ``LEAST_TAIL`` are known, and int64 numbers of at least one item, none likewise.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < LEAST_TAIL:
        return math.nan, np.zeros(0, np.int64)
    signs = -1 if better_small else 1
    order = known[np.argsort(signs * values[known], kind="stable")][: max(1, round(len(known) / 10))]
    return float(values[order].mean()), order


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution, within 1 % from 4 degrees of freedom on (Fisher and Cornish)."""
    z, n = NormalDist().inv_cdf(0.975), freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / n + second / n**2 + third / n**3 + fourth / n**4
