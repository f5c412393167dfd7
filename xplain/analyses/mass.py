"""Attribution on the border, in corners, on text boxes: does a class lean on a region where its object is not?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.analyses.chance import bootstrap
from xplain.analyses.enough import drawn, percent, small_groups, too_few
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

__all__ = ["REGIONS", "mass_in", "mass_on", "regions"]

REGIONS = ("border", "top left corner", "top right corner", "bottom left corner", "bottom right corner")
"""The regions that every audit's records hold: the outer eighth, and the quarters of the sides in each corner."""

LEAST = 10
"""Items of a class below which its mean says nothing."""

_MOST = 2000
"""Items of a class that are looked at."""

_LIMITS = (
    "A small p-value says that the class differs from the others, not that it is wrong: its object may lie there.",
    "Mass is where the explanation lies, not what the model would do without it: only cutting and pasting shows that.",
)


def regions(height: int, width: int) -> dict[str, Array]:
    """The masks of ``REGIONS`` for maps of this size, bool ``[H, W]``."""
    edge = [max(1, round(n / 8)) for n in (height, width)]
    quarter = [max(1, round(n / 4)) for n in (height, width)]
    border = np.ones((height, width), bool)
    border[edge[0] : height - edge[0], edge[1] : width - edge[1]] = False
    masks = [border]
    for rows in (slice(0, quarter[0]), slice(height - quarter[0], height)):
        for columns in (slice(0, quarter[1]), slice(width - quarter[1], width)):
            corner = np.zeros((height, width), bool)
            corner[rows, columns] = True
            masks.append(corner)
    return dict(zip(REGIONS, masks, strict=True))


def mass_in(maps: Any, mask: Any) -> Array:
    """The share of each map's magnitude inside a mask, float64 ``[N]``; NaN for a map of zeros or one that failed.

    Args:
        maps: ``[N, H, W]``.
        mask: bool ``[H, W]`` for all maps, or ``[N, H, W]``: one each, such as the boxes of text in each picture.

    Raises:
        UsageError: a mask of another size.
    """
    size, mask = np.abs(np.asarray(maps, np.float64)), np.asarray(mask, bool)
    if size.ndim != 3 or mask.shape not in (size.shape, size.shape[1:]):
        raise UsageError(
            f"The mask is {list(mask.shape)}; accepted: {list(size.shape[1:])} for all maps, or {list(size.shape)}."
        )
    total = size.sum(axis=(1, 2))
    inside = (size * mask).sum(axis=(1, 2))
    out = np.full(len(size), np.nan)
    np.divide(inside, total, out=out, where=total > 0)
    return out


def mass_on(
    shares: Mapping[str, Any], groups: Sequence[Any], *, items: Any = None, draws: int = 999, seed: int = 0
) -> list[Finding]:
    """For each class and region: does the class lean on it more than the other classes do?

    The difference of means as Welch's t, two-sided, of every class and region against the largest of all of them under
    permuted classes (Westfall and Young's max-statistic). That corrects for the number of tests as Holm does, and needs
    no more permutations for a thousand classes than for two.

    Args:
        shares: Region to each item's share of mass in it, ``[N]``; an item with NaN is left out.
        groups: Each item's class.
        items: The items' numbers, ``[N]``; None for 0, 1, ...
        draws: Permutations; the smallest p is ``1 / (draws + 1)``.
        seed: Root of all randomness.

    Returns:
        One candidate per class and region that differs at p <= 0.05, the largest difference first; one measured finding
        where none does; one ``too few`` for all classes of fewer than 10 items. Of two classes what the one has more
        the other has less, which is told once, of the one that has more.

    Source:
        Westfall and Young, Resampling-Based Multiple Testing, 1993.
    """
    names = np.asarray([str(one) for one in groups])
    values = np.stack([np.asarray(one, np.float64) for one in shares.values()], axis=1)
    numbers = np.arange(len(names)) if items is None else np.asarray(items, np.int64)
    good = np.isfinite(values).all(axis=1)
    kinds, sizes = np.unique(names[good], return_counts=True)
    found = small_groups("mass", dict(zip(map(str, kinds), map(int, sizes), strict=True)), LEAST)
    enough = kinds[sizes >= LEAST]
    if len(enough) < 2:
        return [*found, too_few("mass", "", len(enough), 2, f"classes of at least {LEAST} items")]
    rows = np.flatnonzero(good & np.isin(names, enough))
    rows = rows[drawn(names[rows], _MOST, seed)]
    own = np.searchsorted(enough, names[rows])
    order = np.argsort(own, kind="stable")
    rows, own = rows[order], own[order]
    t, p = _tested(values[rows], own, draws, seed)
    means = np.stack([values[rows][own == k].mean(axis=0) for k in range(len(enough))])
    p = np.broadcast_to(p.min(axis=0), p.shape) if len(enough) == 2 else p  # one t, but for its sign and rounding
    for k, j in zip(*np.nonzero(p <= 0.05), strict=True):
        if len(enough) == 2 and k != int(means[:, j].argmax()):
            continue
        others = f"those of {enough[1 - k]}" if len(enough) == 2 else "those of other classes"
        called = str(enough[k]), others, [*shares][j]
        found.append(_told(values[rows], own == k, j, called, float(p[k, j]), numbers[rows], seed))
    if not (p <= 0.05).any():
        text = f"No class leans on {', '.join(shares)} more than the others do, beyond what chance gives."
        evidence = {"means": values[rows].mean(axis=0), "regions": list(shares), "largest t": float(np.abs(t).max())}
        found.append(
            Finding(
                "mass", "", text, "measured", p=float(p.min()), count=len(rows), evidence=evidence, limits=_LIMITS[:1]
            )
        )
    return sorted(found, key=lambda one: -abs(one.effect or 0))


def _told(
    values: Array, inside: Array, region: int, names: tuple[str, str, str], p: float, numbers: Array, seed: int
) -> Finding:
    """The finding of a class and a region; ``names``: the class, who it is compared with, and the region."""
    group, others, where = names
    own, other = values[inside, region], values[~inside, region]
    apart = float(own.mean() - other.mean())
    low, high = bootstrap(own, seed=seed)
    more = "more" if apart > 0 else "less"
    text = (
        f"Explanations of {group} have {percent(own.mean())} of their mass on the {where}, {others} "
        f"{percent(other.mean())}: {more} than chance gives."
    )
    best = np.flatnonzero(inside)[np.argsort(-own if apart > 0 else own, kind="stable")][:24]
    evidence = {"region": where, "mean": float(own.mean()), "others": float(other.mean())}
    interval = (low - float(other.mean()), high - float(other.mean()))
    return Finding(
        *("mass", group, text, "candidate", apart, "share of mass", interval, p, int(inside.sum()), numbers[best]),
        evidence=evidence,
        limits=_LIMITS,
    )


def _tested(values: Array, own: Array, draws: int, seed: int) -> tuple[Array, Array]:
    """The t of each class and region ``[K, M]``, rows sorted by class, and p of each against the largest of all."""
    values = values - values.mean(axis=0)
    both = np.concatenate([values, values**2], axis=1)
    sizes = np.bincount(own)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    totals = both.sum(axis=0)
    observed = np.abs(_apart(both, starts, sizes, totals))
    rng = np.random.default_rng([seed, 0x3A])
    null = np.array(
        [np.abs(_apart(both[rng.permutation(len(both))], starts, sizes, totals)).max() for _ in range(draws)]
    )
    reached = (null[None, None] >= observed[..., None] - 1e-12).sum(axis=2)
    return observed, (1 + reached) / (1 + draws)


def _apart(both: Array, starts: Array, sizes: Array, totals: Array) -> Array:
    sums, regions = np.add.reduceat(both, starts), both.shape[1] // 2
    count = sizes[:, None].astype(np.float64)
    rest = len(both) - count
    own, other = sums / count, (totals - sums) / rest
    spread = [np.maximum(one[:, regions:] - one[:, :regions] ** 2, 0) for one in (own, other)]
    error = np.sqrt(spread[0] / (count - 1) + spread[1] / (rest - 1))
    apart = own[:, :regions] - other[:, :regions]
    return np.asarray(np.divide(apart, error, out=np.zeros_like(apart), where=error > 1e-12))
