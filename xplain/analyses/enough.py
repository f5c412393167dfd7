"""How many items an analysis needs, what it says where there are fewer, and how it draws some where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.finding import Finding

__all__ = ["drawn", "number", "percent", "too_few"]


def too_few(kind: str, group: str, have: int, need: int, what: str = "items") -> Finding:
    """The finding of an analysis that cannot say anything: how many it has, and how many it needs."""
    whom = f" of {group}" if group else ""
    return Finding(
        kind,
        group,
        f"There are {have:,} {what}{whom}; this analysis needs at least {need:,}, so it says nothing.",
        "too few",
        count=have,
        evidence={"needed": need},
        limits=("Nothing found here does not mean that nothing is there: it was not looked.",),
    )


def drawn(groups: Sequence[Any] | Array, most: int, seed: int) -> Array:
    """Rows, int64 and rising: all of a group of up to ``most`` items, that many of a larger one, drawn by the seed.

    A group draws for itself, so that another group that grows changes nothing of it.

    Args:
        groups: Name or number of each row's group.
        most: Rows of a group.
        seed: Root of all randomness.
    """
    names, own = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(own, kind="stable")
    found = []
    for rows in np.split(order, np.cumsum(np.bincount(own, minlength=len(names)))[:-1]):
        rng = np.random.default_rng([seed, 0xD4, len(rows)])
        found.append(rows if len(rows) <= most else rng.choice(rows, most, replace=False))
    return np.sort(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)


def percent(share: float) -> str:
    """A share as a person reads it: ``12 %``, ``0.4 %``."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """A number in three digits."""
    return f"{value:.3g}"
