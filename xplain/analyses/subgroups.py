"""Subgroups by metadata: for which hospital, camera, month is the model right less often, or its reasons elsewhere?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.analyses.chance import excess, holm, wilson
from xplain.analyses.enough import percent, too_few
from xplain.core.edits import Array
from xplain.core.finding import Finding

__all__ = ["LEAST", "subgroups"]

LEAST = 20
"""Items of a subgroup below which it is not tested."""

_MOST = 50
"""Values of a column beyond which it is no grouping; numbers are parted into quarters instead."""


def subgroups(correct: Any, columns: Mapping[str, Sequence[Any]], *, items: Any = None) -> list[Finding]:
    """Subgroups whose share of correct items differs from that of the others by more than chance gives.

    Each value of each column against all other items by Fisher's exact test, two-sided, corrected by Holm over all
    values of all columns; the interval is Wilson's, as wide as so many intervals at once need (Bonferroni).

    Args:
        correct: Whether each item is right, bool ``[N]``; None or NaN where that is not known.
        columns: Name to each item's value; None, NaN and "" are values that are missing, and no subgroup.
        items: The items' numbers; None for 0, 1, ...

    Returns:
        One candidate per subgroup with p at most 0.05, the worst first; one measured finding where there is none; one
        ``too few`` for all subgroups of fewer than 20 items together.
    """
    given = np.array([np.nan if one is None else float(one) for one in correct])
    known = np.isfinite(given)
    right = given == 1
    numbers = np.arange(len(given)) if items is None else np.asarray(items, np.int64)
    total, hits = int(known.sum()), int(right[known].sum())
    if total < 2 * LEAST:
        return [too_few("subgroups", "", total, 2 * LEAST, "items of which it is known whether they are right")]
    parts: list[tuple[str, Array]] = []
    small, skipped, holes = 0, [], {}
    for name, values in columns.items():
        groups = _groups(name, values)
        holes[name] = int(sum(_missing(one) for one in values))
        if groups is None:
            skipped.append(name)
            continue
        for said, inside in groups:
            inside = inside & known
            count = int(inside.sum())
            if count == total:
                continue  # a column of one value parts nothing
            if count < LEAST:
                small += 1
            else:
                parts.append((said, inside))
    p = holm([excess(int(right[inside].sum()), int(inside.sum()), hits, total) for _, inside in parts])
    level = 1 - 0.05 / max(1, len(parts))
    found = [
        _told(said, inside, right, known, float(q), level, numbers)
        for (said, inside), q in zip(parts, p, strict=True)
        if q <= 0.05
    ]
    found.sort(key=lambda one: one.effect or 0)
    if parts and not found:
        text = f"None of {len(parts)} subgroups is right more or less often than the others beyond what chance gives."
        evidence = {"subgroups": [said for said, _ in parts][:200], "missing values": holes}
        limits = ("A subgroup of few items can differ by much and not be seen.",)
        found.append(
            Finding("subgroups", "", text, "measured", p=float(p.min()), count=total, evidence=evidence, limits=limits)
        )
    if small:
        found.append(too_few("subgroups", "", LEAST - 1, LEAST, f"items at most in {small} subgroups,"))
    return found


def _told(said: str, inside: Array, right: Array, known: Array, p: float, level: float, numbers: Array) -> Finding:
    others = known & ~inside
    own, rest = float(right[inside].mean()), float(right[others].mean())
    hits, count = int(right[inside].sum()), int(inside.sum())
    low, high = wilson(hits, count, level)
    text = f"Of the items with {said} {percent(own)} are right, of the others {percent(rest)}."
    wrong = np.flatnonzero(inside & (right != (own < rest)))[:24]
    return Finding(
        *("subgroups", said, text, "candidate", own - rest, "share right, less that of the others"),
        *((low - rest, high - rest), p, count, numbers[wrong]),
        evidence={"share right": own, "interval": (low, high), "others": rest},
        limits=(
            "A column that goes with the cause is found as well as the cause: other classes, light, people.",
            "The others' share is taken as known; with few others the difference is less sure than it says.",
        ),
    )


def _groups(name: str, values: Sequence[Any]) -> list[tuple[str, Array]] | None:
    """Values in words and who has them; quarters of numbers that have many; None for a column of too many names."""
    there = np.array([not _missing(one) for one in values])
    kinds = sorted({str(one) for one, ok in zip(values, there, strict=True) if ok})
    if len(kinds) <= _MOST:
        texts = np.array([str(one) for one in values])
        return [(f"{name} = {kind}", there & (texts == kind)) for kind in kinds]
    try:
        numbers = np.array([float(one) if ok else np.nan for one, ok in zip(values, there, strict=True)])
    except (TypeError, ValueError):
        return None
    edges = np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1])
    place = np.clip(np.searchsorted(edges[1:-1], numbers, side="right"), 0, 3)
    return [
        (f"{name} {edges[k]:.4g} to {edges[k + 1]:.4g}", there & (place == k))
        for k in range(4)
        if edges[k + 1] > edges[k] or k == 0
    ]


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)
