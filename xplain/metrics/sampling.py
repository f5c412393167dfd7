"""Which items are judged where judging all costs too much, and how precise the answer then is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Precision", "plan_sample", "power_table"]


def plan_sample(labels: Sequence[object] | Array | int, size: int, seed: int = 0) -> Array:
    """Items drawn by chance, from every class in proportion, and from each at least one while there is room.

    Classes get ``size * n / N`` items, rounded by largest remainders; one that would get none takes the place of one
    in the largest. Within a class every item is equally likely. A class's draw depends on its own items and the seed
    alone.

    Args:
        labels: The class of each item (anything that compares equal; None is a class of its own), or their number
            where none has a class.
        size: Items wanted; all of them where there are no more.
        seed: Root of the draw.

    Returns:
        int64 ``[min(size, N)]``: the numbers of the items, ascending.

    Raises:
        UsageError: there are no items, or fewer than one is wanted.

    Source:
        Neyman, On the Two Different Aspects of the Representative Method, 1934, with proportional shares.
    """
    places = _places(labels)
    counts = np.array([len(one) for one in places.values()])
    total = int(counts.sum())
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise UsageError(option="size", got=size, accepted="a whole number of at least 1")
    taken = [
        np.random.Generator(np.random.Philox(key=_key(seed, name))).permutation(own)[:count]
        for (name, own), count in zip(places.items(), _shares(counts, min(int(size), total)), strict=True)
    ]
    return np.sort(np.concatenate(taken)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Precision:
    """What a sample of one group can say.

    Args:
        group: The class; empty for all items.
        items: Items in the sample.
        of: Items that there are.
        share: Half the width of the 95 % interval of a share, at its widest (one half): ``0.03`` is 3 points.
        mean: The same of a mean, in standard deviations of the metric.
        seen: The difference from a fixed value that is seen 8 times in 10 by a test at 5 %, in standard deviations.
    """

    group: str
    items: int
    of: int
    share: float
    mean: float
    seen: float


def power_table(labels: Sequence[object] | Array | int, sample: Array) -> list[Precision]:
    """How precise a sample is: for all items, then for each class, the least precise first.

    ``mean = 1.96 c / sqrt(n)``, ``share = mean / 2``, ``seen = (1.96 + 0.8416) c / sqrt(n)`` with
    ``c = sqrt((N - n) / (N - 1))``, which is 0 where all items are in the sample.

    Args:
        labels: As for ``plan_sample``.
        sample: What it returned.

    Source:
        Cochran, Sampling Techniques, 1977, sections 2.6 (finite populations) and 3.2.
    """
    places, chosen = _places(labels), np.asarray(sample)
    rows = [_precise(str(name), int(np.isin(own, chosen).sum()), len(own)) for name, own in places.items()]
    whole = _precise("", len(chosen), sum(one.of for one in rows))
    return [whole, *sorted(rows, key=lambda one: (-one.mean, one.group))] if len(rows) > 1 else [whole]


def _precise(group: str, items: int, of: int) -> Precision:
    if not items:
        return Precision(group, 0, of, math.inf, math.inf, math.inf)
    spread = math.sqrt((of - items) / max(1, of - 1)) / math.sqrt(items)
    return Precision(group, items, of, 0.98 * spread, 1.96 * spread, 2.8016 * spread)


def _places(labels: Sequence[object] | Array | int) -> dict[object, Array]:
    """The numbers of each class's items, classes in the order of their names."""
    if isinstance(labels, (int, np.integer)):
        found: dict[object, Array] = {"": np.arange(int(labels))} if labels > 0 else {}
    else:
        each = [one.item() if isinstance(one, np.generic) else one for one in labels]
        own: dict[object, list[int]] = {}
        for n, label in enumerate(each):
            own.setdefault(label, []).append(n)
        found = {name: np.array(own[name]) for name in sorted(own, key=lambda one: (one is None, str(one)))}
    if not found:
        raise UsageError("There are no items to draw from.")
    return found


def _shares(counts: Array, size: int) -> Array:
    """How many of each class: in proportion, at least one while there is room, never more than there are."""
    exact = size * counts / counts.sum()
    taken = np.floor(exact).astype(np.int64)
    order = np.argsort(taken - exact, kind="stable")
    taken[order[: size - int(taken.sum())]] += 1
    for k in np.flatnonzero(taken == 0):
        if taken.max() < 2:
            break
        taken[int(np.argmax(taken))] -= 1
        taken[k] = 1
    return np.asarray(taken)


def _key(seed: int, name: object) -> int:
    return int.from_bytes(
        hashlib.sha256(f"{seed}/sample/{type(name).__name__}/{name}".encode()).digest()[:16], "little"
    )
