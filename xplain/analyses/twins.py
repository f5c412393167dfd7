"""Two models on the same items, or two methods: do they give the same reasons, and for which items do they not?

Twins are one model twice: fp32 and int8, the last version and this. Where both answer alike for other reasons, accuracy
sees nothing. Two methods that contradict one another about one model leave nothing to trust: neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.analyses.chance import bootstrap, wilson
from xplain.analyses.enough import number, percent, too_few
from xplain.analyses.shares import ranks
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

__all__ = ["CHANGED", "LEAST", "contradictions", "rank_correlation", "twins", "unrelated"]

LEAST = 20
"""Items below which means and shares say nothing."""

CHANGED = 0.5
"""Rank correlation below which an item is said to have changed its reason."""


def rank_correlation(one: Any, other: Any) -> Array:
    """Spearman's rank correlation of two maps of each item, equal values sharing their mean rank: float64 ``[N]``.

    NaN for an item of which a map has no contrast, or holds NaN.

    Args:
        one: Maps ``[N, *shape]``.
        other: Maps of the same items and shape.

    Raises:
        UsageError: shapes differ.
    """
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape or first.ndim < 2:
        raise UsageError(f"The maps are {list(first.shape)} and {list(second.shape)}; accepted: of one shape [N, ...].")
    out = np.full(len(first), np.nan)
    for start in range(0, len(first), _ROWS):
        pair = [side[start : start + _ROWS].reshape(len(side[start : start + _ROWS]), -1) for side in (first, second)]
        good = np.isfinite(pair[0]).all(axis=1) & np.isfinite(pair[1]).all(axis=1)
        a, b = (ranks(side[good]) for side in pair)
        a, b = (side - side.mean(axis=1, keepdims=True) for side in (a, b))
        size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        found = np.full(len(size), np.nan)
        np.divide((a * b).sum(axis=1), size, out=found, where=size > 0)
        out[start : start + _ROWS][good] = found
    return out


def unrelated(one: Any, other: Any, seed: int = 0) -> Array:
    """Rank correlations of one item's map with another item's: what maps have in common that explain different items.

    They are seldom 0: most maps are bright in the middle. Each item is paired with the next one in a drawn order.
    """
    order = np.random.default_rng([seed, 0x7E]).permutation(len(one))
    return rank_correlation(np.asarray(one)[order], np.asarray(other)[np.roll(order, 1)])


def twins(
    correlation: Any,
    predicted: tuple[Any, Any],
    *,
    names: tuple[str, str],
    groups: Sequence[Any] = (),
    items: Any = None,
    chance: Any = None,
    seed: int = 0,
) -> list[Finding]:
    """How far two models agree, in answer and in reason, and which items changed their reason.

    Args:
        correlation: Rank correlation of each item's two maps, ``[N]``; NaN where one has none.
        predicted: Class that each model predicts, ``[N]`` each.
        names: What the models are called.
        groups: Each item's class, for classes that changed more than all did; empty for none.
        items: The items' numbers; None for 0, 1, ...
        chance: What maps of different items have, as ``unrelated`` gives it; None where it is not known.
        seed: Root of all randomness.

    Returns:
        One finding of all items; one of the items that are answered alike for another reason, where there are such;
        one per class in which their share is above that of all by more than its Wilson interval, corrected for the
        number of classes (Bonferroni).
    """
    rho = np.asarray(correlation, np.float64)
    first, second = (np.asarray(side) for side in predicted)
    numbers = np.arange(len(rho)) if items is None else np.asarray(items, np.int64)
    known = np.isfinite(rho)
    if known.sum() < LEAST:
        return [too_few("twins", "", int(known.sum()), LEAST, "items with two maps")]
    same = first == second
    mean, low = float(rho[known].mean()), float(np.quantile(rho[known], 0.01))
    interval = bootstrap(rho[known], seed=seed)
    agreed = wilson(int(same.sum()), len(same))
    text = (
        f"{names[0]} and {names[1]} give the same class for {percent(same.mean())} of {len(same):,} items; the ranks "
        f"of their maps correlate at {number(mean)} on average, at {number(low)} or less for one item in a hundred."
    )
    evidence: dict[str, Any] = {"same class": float(same.mean()), "same class, interval": agreed, "lowest 1 %": low}
    if chance is not None:
        evidence["maps of different items"] = float(np.nanmean(np.asarray(chance, np.float64)))
    limits = ["Maps that agree may be wrong together: it says that both models reason alike, not well."]
    order = np.argsort(np.where(known, rho, np.inf), kind="stable")
    found = [
        Finding(
            *("twins", "", text, "measured", mean, "rank correlation of maps", interval, None, int(known.sum())),
            members=numbers[order[:24]],
            evidence=evidence,
            limits=tuple(limits),
        )
    ]
    changed = known & same & (rho < CHANGED)
    if changed.any():
        text = (
            f"{int(changed.sum()):,} items ({percent(changed.mean())}) get the same class from both for another "
            f"reason: their maps' ranks correlate below {CHANGED}."
        )
        share = wilson(int(changed.sum()), len(changed))
        found.append(
            Finding(
                *("twins", "", text, "candidate", float(changed.mean()), "share of items", share, None, len(changed)),
                members=numbers[[n for n in order if changed[n]][:24]],
                evidence={"below": CHANGED},
                limits=(
                    f"{CHANGED} is a choice, and a method that samples disagrees with itself too: see its errors.",
                ),
            )
        )
    return [*found, *_by_class(np.asarray([str(one) for one in groups]), changed, numbers, rho)]


def _by_class(names: Array, changed: Array, numbers: Array, rho: Array) -> list[Finding]:
    kinds, sizes = np.unique(names, return_counts=True)
    found = []
    for kind, size in zip(kinds, sizes, strict=True):
        inside = names == kind
        hits = int((inside & changed).sum())
        low, high = wilson(hits, int(size), 1 - 0.05 / max(1, len(kinds)))
        if size < LEAST or low <= changed.mean():
            continue
        share = percent(hits / size)
        text = f"In {kind} {share} of the items changed their reason, of all items {percent(changed.mean())}."
        rows = np.flatnonzero(inside & changed)
        worst = rows[np.argsort(rho[rows], kind="stable")][:24]
        found.append(
            Finding(
                *("twins", str(kind), text, "candidate", hits / size, "share of items", (low, high), None, int(size)),
                members=numbers[worst],
                limits=("It says where to look, not which of the two models is right.",),
            )
        )
    return sorted(found, key=lambda one: -(one.effect or 0))


def contradictions(
    correlation: Any, chance: Any, *, names: tuple[str, str], items: Any = None, seed: int = 0
) -> list[Finding]:
    """Items about which two methods contradict one another: no more alike than maps of different items are.

    Args:
        correlation: Rank correlation of both methods' maps of each item, ``[N]``.
        chance: What maps of different items have: ``unrelated``.
        names: The two lanes.
        items: The items' numbers; None for 0, 1, ...
        seed: Root of all randomness.

    Returns:
        One finding: the share of items at or below the median of ``chance``, lowest first. Half of all items would be
        there if the two had nothing to do with one another.
    """
    rho, null = (np.asarray(side, np.float64) for side in (correlation, chance))
    known, null = np.isfinite(rho), null[np.isfinite(null)]
    if min(known.sum(), len(null)) < LEAST:
        return [too_few("triage", "", int(min(known.sum(), len(null))), LEAST, "items with two maps")]
    numbers = np.arange(len(rho)) if items is None else np.asarray(items, np.int64)
    level = float(np.median(null))
    against = known & (rho <= level)
    share, interval = float(against.sum() / known.sum()), wilson(int(against.sum()), int(known.sum()))
    rows = np.flatnonzero(against)
    text = (
        f"{names[0]} and {names[1]} contradict one another about {int(against.sum()):,} items ({percent(share)}): "
        f"their maps are no more alike than maps of different items. Do not trust either there."
    )
    if not against.any():
        text = f"{names[0]} and {names[1]} contradict one another about no item."
    return [
        Finding(
            *("triage", "", text, "candidate" if against.any() else "measured", share, "share of items", interval),
            count=int(known.sum()),
            members=numbers[rows[np.argsort(rho[rows], kind="stable")][:24]],
            evidence={
                "mean correlation": float(rho[known].mean()),
                "interval of the mean": bootstrap(rho[known], seed=seed),
                "maps of different items": level,
            },
            limits=(
                "Methods that agree may share a fault: agreement is no proof.",
                "A method that reads another layer or hides larger patches differs by design, not by error.",
            ),
        )
    ]


_ROWS = 8192
