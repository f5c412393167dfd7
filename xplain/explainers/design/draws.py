"""Random coalitions, none asked twice, and what each then stands for.

A sample without replacement whose inclusion probabilities are known. Coalitions are drawn one after another, each with
its probability p, and a repeated draw costs nothing: it is not asked again. After n draws a coalition is included with
probability ``pi = 1 - (1 - p)^n``, so those seen are weighted by ``p / pi`` (Horvitz and Thompson 1952). Where features
are many, this is a plain sample with equal weights; where they are few, weights and errors go to those of the whole
population as more of it is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array

__all__ = ["Distinct", "Sample", "sized"]

_LISTED = 17


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Distinct coalitions in the order in which they were first drawn.

    Args:
        rows: uint8 ``[m, S]``.
        weights: What each stands for in the population, ``[m]``; they sum to about 1.
        correction: Finite population correction of each row's error, ``sqrt(1 - pi)``, in [0, 1]: 0 where the row was
            sure to be drawn.
    """

    rows: Array
    weights: Array
    correction: Array


@dataclass
class Distinct:
    """The distinct coalitions of a stream of draws, in the order in which they first appear.

    Up to 17 features by an exponential race: every coalition arrives after an exponential time with its probability as
    rate, and the order of arrival is that of first appearances in a stream of draws (Efraimidis and Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003), without drawing the stream. Beyond, the stream is drawn.

    Args:
        players: S.
        odds: Probability of each coalition ``[n, S] -> [n]``, 0 for those that are never drawn.
        draw: ``(first, count) -> rows [count, S]`` of the stream, however it is cut.
        uniform: ``(count) -> numbers [count]`` in [0, 1) for the times of arrival.
    """

    players: int
    odds: Callable[[Array], Array]
    draw: Callable[[int, int], Array]
    uniform: Callable[[int], Array]

    def __post_init__(self) -> None:
        self._last = Sample(np.zeros((0, self.players), np.uint8), np.zeros(0), np.zeros(0))
        self._arrivals: tuple[Array, Array, Array] | None = None

    def first(self, wanted: int) -> Sample:
        """The first ``wanted`` distinct coalitions; the last answer is kept, since every item reads the same."""
        if len(self._last.rows) != wanted:
            self._last = self._race(wanted) if self.players <= _LISTED else self._drawn(wanted)
        return self._last

    def _race(self, wanted: int) -> Sample:
        if self._arrivals is None:
            rows = ((np.arange(2**self.players)[:, None] >> np.arange(self.players)) & 1).astype(np.uint8)
            odds = self.odds(rows)
            rows, odds = rows[odds > 0], odds[odds > 0]
            times = -np.log1p(-self.uniform(len(rows))) / odds
            order = np.argsort(times, kind="stable")
            self._arrivals = rows[order], odds[order], times[order]
        everything, odds, times = self._arrivals
        own = odds[:wanted]
        seen = np.ones(wanted) if wanted == len(everything) else -np.expm1(-own * times[:wanted][-1:])
        return Sample(everything[:wanted], own / seen, np.sqrt(1 - seen))

    def _drawn(self, wanted: int) -> Sample:
        size = max(64, wanted)
        rows = self.draw(0, size)
        while True:
            packed = np.packbits(rows.astype(bool), axis=1)
            keys = packed.view(f"V{packed.shape[1]}").reshape(-1)
            new = np.sort(np.unique(keys, return_index=True)[1])[:wanted]
            if len(new) == wanted:
                break
            rows, size = np.concatenate([rows, self.draw(size, size)]), 2 * size
        rows = rows[new].astype(np.uint8)
        # where coalitions are so many that one is never met again, each stands for an equal share
        odds, taken = np.maximum(self.odds(rows), 1e-200), int(new[-1]) + 1
        seen = -np.expm1(taken * np.log1p(-odds))
        return Sample(rows, odds / seen, np.sqrt(1 - seen))


def sized(uniform: Array, ladder: Array, sizes: Array) -> Array:
    """Random coalitions bool ``[n, S]`` from uniforms ``[n, 1 + S]``: a size by its cumulative chance, then members."""
    size = sizes[np.minimum(np.searchsorted(ladder, uniform[:, 0], side="right"), len(ladder) - 1)]
    place = np.argsort(np.argsort(uniform[:, 1:], axis=1), axis=1)
    return np.asarray(place < size[:, None])
