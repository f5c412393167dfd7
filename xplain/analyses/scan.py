"""The scan for places and channels on which one class leans and others do not.

A statistic of every cell, the largest of all, and the same with labels permuted: so that looking at many cells is paid
for. What it finds is a lead. Honest differences between classes (grass lies below, sky above) give small p-values too,
so nothing here is ever more than a candidate; ``xplain.session.shortcuts.pasting`` confirms or refutes at the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.analyses.chance import permuted_p, relabelled
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["LARGEST", "LEAST", "Scan", "Subset", "leaning", "region", "scan"]

LEAST = 20
"""Items on either side below which labels have too few permutations that matter, and means too large errors."""

LARGEST = 0.25
"""Share of the picture that a region may take: half a picture that is pasted over another proves nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Where one group of items leans more than the others.

    Args:
        t: Welch's t of each cell, ``[*cells]``; above 0 where the group has more.
        p: Of the largest, corrected for having looked at all cells.
        hot: bool ``[*cells]``: cells above the level that 5 % of permutations reach anywhere.
        level: That level.
        difference: Mean of the group less mean of the others, ``[*cells]``.
    """

    t: Array
    p: float
    hot: Array
    level: float
    difference: Array


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """A part of a group that leans on one number, while the rest of the group does not.

    Args:
        channel: The number.
        separation: How far apart both parts' means lie, in standard deviations within the parts.
        p: Chance that a group without parts, of one bell, is split so far, corrected for the numbers looked at.
        flagged: bool ``[N]``: the part with the higher mean.
    """

    channel: int
    separation: float
    p: float
    flagged: Array


def scan(features: Array, inside: Array, *, draws: int = 999, seed: int = 0) -> Scan:
    """Is any cell heavier in this group than in the others?

    ``t = (m1 - m0) / sqrt(v1 / n1 + v0 / n0)`` of each cell, the largest of all cells against the largest under
    permuted labels (Westfall and Young's max-statistic), one-sided: more in the group.

    Args:
        features: ``[N, *cells]``, such as shares of maps or relevance of channels; no NaN.
        inside: bool ``[N]``.
        draws: Permutations; the smallest p is ``1 / (draws + 1)``.
        seed: Root of all randomness.

    Cost:
        2 N C products per permutation.

    Raises:
        UsageError: fewer than 20 items inside or outside.

    Source:
        Westfall and Young, Resampling-Based Multiple Testing, 1993; in brain maps, Nichols and Holmes 2002.
    """
    rows = np.asarray(features, np.float32).reshape(len(features), -1)
    member = np.asarray(inside, bool)
    if min(member.sum(), (~member).sum()) < LEAST:
        raise UsageError(
            f"The scan has {int(member.sum())} items of the group and {int((~member).sum())} others; "
            f"it needs at least {LEAST} of each."
        )
    rows = rows - rows.mean(axis=0)  # where squares cancel least
    both = np.concatenate([rows, rows**2], axis=1)
    totals = both.sum(axis=0, dtype=np.float64)
    observed = _welch(member.astype(np.float32)[None], both, totals)[0]
    null = np.concatenate([_welch(block, both, totals).max(axis=1) for block in relabelled(member, draws, seed)])
    level = float(np.quantile(null, 0.95, method="higher"))
    cells = np.shape(features)[1:]
    difference = rows[member].mean(axis=0) - rows[~member].mean(axis=0)
    return Scan(
        observed.reshape(cells),
        permuted_p(float(observed.max()), null),
        (observed > level).reshape(cells),
        level,
        difference.reshape(cells),
    )


def region(found: Scan, largest: float = LARGEST) -> Array | None:
    """The rectangle around the strongest cell and the hot ones that touch it, bool ``[g, g]``; None where none is hot.

    Where the rectangle would take more than ``largest`` of the picture the level is raised until it does not: what is
    left is where the group leans most.
    """
    if not found.hot.any():
        return None
    from scipy import ndimage

    peak = np.unravel_index(int(found.t.argmax()), found.t.shape)
    for level in [found.level, *np.sort(found.t[found.hot])]:
        labelled, _ = ndimage.label(found.t > level)
        if not labelled[peak]:
            break
        rows, columns = np.nonzero(labelled == labelled[peak])
        box = np.zeros(found.t.shape, bool)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        if box.mean() <= largest:
            return box
    box = np.zeros(found.t.shape, bool)
    box[peak] = True
    return box


def leaning(features: Array, *, draws: int = 199, seed: int = 0) -> Subset:
    """The number by which a group falls best into two parts; position-free, where the numbers are channels' relevance.

    Each column is cut where the squares within both parts are smallest, ``separation = (m1 - m0) / sd within``, parts
    of at least a tenth each. A column of one bell can be cut too: chance is what the best of as many normal columns of
    as many rows reaches.

    Args:
        features: ``[N, R]`` of one group; no NaN.
        draws: Sets of normal columns that chance is told by.
        seed: Root of all randomness.

    Raises:
        UsageError: fewer than 40 items.

    Source:
        The cut: Fisher, On Grouping for Maximum Homogeneity, JASA 53, 1958. The null of one bell is a choice made here.
    """
    rows = np.asarray(features, np.float64)
    if len(rows) < 2 * LEAST:
        raise UsageError(f"There are {len(rows)} items to look for two parts in; at least {2 * LEAST} are needed.")
    apart, cuts = _cut(rows)
    rng = np.random.default_rng([seed, 0x5B])
    null = np.array([_cut(rng.normal(size=rows.shape))[0].max() for _ in range(draws)])
    best = int(apart.argmax())
    return Subset(best, float(apart[best]), permuted_p(float(apart[best]), null), rows[:, best] > cuts[best])


def _welch(block: Array, both: Array, totals: Array) -> Array:
    """The t of each cell under each labelling, ``[b, C]``."""
    count = block.sum(axis=1, keepdims=True, dtype=np.float64)
    rest = block.shape[1] - count
    sums = (block @ both).astype(np.float64)
    cells = both.shape[1] // 2
    own, other = sums / count, (totals - sums) / rest
    spread = [np.maximum(one[:, cells:] - one[:, :cells] ** 2, 0) for one in (own, other)]
    error = np.sqrt(spread[0] / (count - 1) + spread[1] / (rest - 1))
    apart = own[:, :cells] - other[:, :cells]
    return np.asarray(np.divide(apart, error, out=np.zeros_like(apart), where=error > 1e-12))


def _cut(rows: Array) -> tuple[Array, Array]:
    """For each column how far apart its two parts lie, and where it is cut."""
    count = len(rows)
    ordered = np.sort(rows, axis=0)
    below = np.arange(1, count)[:, None]
    sums, squares = (np.cumsum(one, axis=0) for one in (ordered, ordered**2))
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (count - below)
    within = squares[-1] - below * low**2 - (count - below) * high**2
    allowed = (below[:, 0] >= count / 10) & (count - below[:, 0] >= count / 10)
    within = np.where(allowed[:, None], within, np.inf)
    best = within.argmin(axis=0)
    columns = np.arange(rows.shape[1])
    spread = np.sqrt(np.maximum(within[best, columns], 0) / count)
    apart = high[best, columns] - low[best, columns]
    return np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 1e-12), ordered[best, columns]
