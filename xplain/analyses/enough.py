"""How many items an analysis needs, what it says where there are fewer, and how it draws some where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.finding import Finding

__all__ = ["drawn", "number", "percent", "small_groups", "too_few"]

_NAMED = 3  # groups that a sentence names


def too_few(kind: str, group: str, have: int, need: int, what: str = "items") -> Finding:
    """The finding of an analysis that cannot say anything: how many it has, and how many it needs."""
    whom = f" of {group}" if group else ""
    told = f"Too few {what}{whom}: {have:,}, and this analysis needs at least {need:,}, so it says nothing."
    return _silent(kind, group, told, have, need)


def small_groups(kind: str, sizes: Mapping[str, int], need: int, what: str = "items") -> list[Finding]:
    """One finding of all groups that have fewer than an analysis needs, the largest named first; else none."""
    small = sorted((name for name, have in sizes.items() if have < need), key=lambda name: (-sizes[name], name))
    if not small:
        return []
    named = ", ".join(small[:_NAMED]) + (f" and {len(small) - _NAMED:,} more" if len(small) > _NAMED else "")
    classes = "1 class has" if len(small) == 1 else f"{len(small):,} classes have"
    told = f"{classes} fewer than {need:,} {what} ({named}); this analysis says nothing of them."
    return [_silent(kind, small[0] if len(small) == 1 else "", told, sizes[small[0]], need)]


def _silent(kind: str, group: str, statement: str, have: int, need: int) -> Finding:
    limits = ("Nothing found here does not mean that nothing is there: it was not looked.",)
    return Finding(kind, group, statement, "too few", count=have, evidence={"needed": need}, limits=limits)


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
