"""Attribution inside the caller's masks: do maps follow where the object is in each item, or where it usually is?

Objects of photographs lie in the middle, so a map of the middle has most of its mass on them and has seen none. So each
map is also held against the masks of other items: what it has on those is what its habit alone gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.analyses.chance import bootstrap
from xplain.analyses.enough import number, percent, small_groups, too_few
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

__all__ = ["LEAST", "inside_own"]

LEAST = 10
"""Items below which a permutation says nothing."""

_LIMITS = (
    "A mask says where an object lies, not why to decide: a model that is right for another reason has mass elsewhere.",
    "Mass is where the explanation lies, not what the model would do without it.",
)


def inside_own(
    maps: Any, masks: Any, groups: Sequence[Any], *, items: Any = None, draws: int = 999, seed: int = 0
) -> list[Finding]:
    """How much of each map's magnitude lies inside its own item's mask, beside the masks of other items.

    ``m_ij = sum |a_i| S_j / sum |a_i|``. The statistic is the mean of ``m_ii``; its null that of ``m_i pi(i)`` under
    permutations pi of the items, within a class for a class. Classes are told by ``z`` against the largest of all
    classes under the same permutations (Westfall and Young's max-statistic), which corrects for their number.

    Args:
        maps: ``[N, h, w]``.
        masks: What share of each cell lies in the item's mask, 0..1, ``[N, h, w]``.
        groups: Each item's class.
        items: The items' numbers, ``[N]``; None for 0, 1, ...
        draws: Permutations; the smallest p is ``1 / (draws + 1)``.
        seed: Root of all randomness.

    Returns:
        One measured finding of all items; one candidate per class whose maps are no more inside its own masks than
        inside those of other items (p > 0.05), the least first; one ``too few`` of classes of fewer than 10 items.

    Raises:
        UsageError: shapes differ.

    Source:
        Westfall and Young, Resampling-Based Multiple Testing, 1993.
    """
    sizes = np.abs(np.asarray(maps, np.float64))
    sizes, covered = sizes.reshape(len(sizes), -1), np.asarray(masks, np.float64)
    covered = covered.reshape(len(covered), -1)
    if sizes.shape != covered.shape:
        raise UsageError(
            f"The maps are {list(sizes.shape)} and the masks {list(covered.shape)}; accepted: of one shape."
        )
    numbers = np.arange(len(sizes)) if items is None else np.asarray(items, np.int64)
    names = np.asarray([str(one) for one in groups], object)
    total = sizes.sum(axis=1)
    good = np.isfinite(total) & (total > 0) & (covered.sum(axis=1) > 0)
    if good.sum() < LEAST:
        return [too_few("inside", "", int(good.sum()), LEAST, "items with a map and a mask")]
    sizes, covered, numbers, names = (one[good] for one in (sizes, covered, numbers, names))
    held = (sizes / sizes.sum(axis=1, keepdims=True)) @ covered.T
    rng = np.random.default_rng([seed, 0x1D])
    null = np.array([_shifted(held, rng) for _ in range(draws)])
    found = [_of_all(held, covered, null, numbers, seed)]
    kinds, counts = np.unique(names.astype(str), return_counts=True)
    found += small_groups("inside", dict(zip(map(str, kinds), map(int, counts), strict=True)), LEAST)
    enough = [str(kind) for kind in kinds[counts >= LEAST]]
    return found + (_of_classes(held, names, enough, numbers, (draws, seed)) if len(kinds) > 1 else [])


def _shifted(held: Array, rng: np.random.Generator) -> float:
    """The mean mass of each map in the mask that a permutation gives it."""
    return float(held[np.arange(len(held)), rng.permutation(len(held))].mean())


def _of_all(held: Array, covered: Array, null: Array, numbers: Array, seed: int) -> Finding:
    own, others = np.diag(held), float(null.mean())
    p = float((1 + (null >= own.mean() - 1e-12).sum()) / (1 + len(null)))
    low, high = bootstrap(own, seed=seed)
    follows = "more than chance gives" if p <= 0.05 else "no more than chance gives"
    text = (
        f"Of the explanations' mass {percent(own.mean())} lies inside what is known to be there, which covers "
        f"{percent(covered.mean())} of an item; inside what is known of other items {percent(others)}: {follows}."
    )
    effect = float(own.mean()) - others
    return Finding(
        *("inside", "", text, "measured", effect, "share of mass", (low - others, high - others), p, len(own)),
        members=numbers[np.argsort(own, kind="stable")[:24]],
        evidence={
            "inside its own": float(own.mean()),
            "inside others'": others,
            "covered": float(covered.mean()),
            "worst tenth": float(np.sort(own)[: max(1, len(own) // 10)].mean()),
        },
        limits=_LIMITS,
    )


def _of_classes(
    held: Array, names: Array, classes: Sequence[str], numbers: Array, how: tuple[int, int]
) -> list[Finding]:
    """Candidates: classes whose maps do not follow their own items' masks."""
    draws, seed = how
    rows = {name: np.flatnonzero(names == name) for name in classes}
    rng = np.random.default_rng([seed, 0x1E])
    null = np.array([[_shifted(held[np.ix_(one, one)], rng) for one in rows.values()] for _ in range(draws)])
    if not null.size:
        return []
    middle, spread = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-9)
    top = ((null - middle) / spread).max(axis=1)
    found = []
    for k, (name, one) in enumerate(rows.items()):
        own = np.diag(held)[one]
        z = (own.mean() - middle[k]) / spread[k]
        p = float((1 + (top >= z - 1e-12).sum()) / (1 + draws))
        if p <= 0.05:
            continue
        low, high = bootstrap(own, seed=seed)
        text = (
            f"Explanations of {name} have {percent(own.mean())} of their mass inside what is known to be there, and "
            f"{percent(middle[k])} inside what is known of other items of {name}: no more than chance gives (z "
            f"{number(float(z))})."
        )
        effect, interval = float(own.mean() - middle[k]), (float(low - middle[k]), float(high - middle[k]))
        found.append(
            Finding(
                *("inside", name, text, "candidate", effect, "share of mass", interval, p, len(one)),
                members=numbers[one[np.argsort(own, kind="stable")][:24]],
                evidence={"inside its own": float(own.mean()), "inside others'": float(middle[k])},
                limits=(*_LIMITS, "Where all objects of a class lie at one place, no map can be told to follow them."),
            )
        )
    return sorted(found, key=lambda one: one.effect or 0.0)
