"""The items that excite each unit most, kept while a folder of any size goes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.keeping.content import fingerprint
from xplain.core.lenses.fold import Top
from xplain.core.lenses.scene import Some, handle

__all__ = ["ByClass", "Tops", "ties"]


_SAMPLE, _RUN = 256, 16
"""Runs of an item that its key is made of, and the numbers of each: enough to tell items apart. All of them take a
while, and as many single ones as long, for memory is read by runs."""


def _key(item: Array) -> int:
    """A number that follows from an item's content, for the order of items that excite a unit alike."""
    flat = item.reshape(-1)
    if flat.size > _SAMPLE * _RUN:
        runs = flat[: flat.size // _RUN * _RUN].reshape(-1, _RUN)
        flat = runs[:: -(-len(runs) // _SAMPLE)]
    return int(fingerprint(np.ascontiguousarray(flat))[:16], 16)


class Tops:
    """The k largest values of each of C units, with item and place; memory is C x k whatever the number of items.

    Of equal values the item comes first whose content has the smaller key, then the place that comes first: so neither
    the order of the items nor how they were cut into parts decides.

    Args:
        k: How many per unit.
        units: Units whose items are to be read once more; None for all.
    """

    def __init__(self, k: int, units: Sequence[int] | None = None) -> None:
        self.k, self.units = k, units
        self.values = np.zeros((0, 0))
        self.items = self.places = np.zeros((0, 0), np.int64)
        self._keys = np.zeros((0, 0), np.uint64)
        self.given: dict[int, Any] = {}
        self.names: dict[int, str] = {}
        self.count = 0

    def add(self, some: Some, top: Top) -> None:
        """Take in the largest values ``[N, C, m]`` of some items."""
        count, channels, each = top.values.shape
        keys = np.array([_key(one) for one in some.view.x], np.uint64)
        fresh = np.arange(self.count, self.count + count)
        self.count += count
        wide = (channels, count * each)

        def by_unit(array: Array) -> Array:
            return np.broadcast_to(array, top.values.shape).transpose(1, 0, 2).reshape(wide)

        if not self.values.size:
            self.values, self._keys = np.zeros((channels, 0)), np.zeros((channels, 0), np.uint64)
            self.items = self.places = np.zeros((channels, 0), np.int64)
        values = np.concatenate([self.values, by_unit(top.values).astype(np.float64)], axis=1)
        items = np.concatenate([self.items, by_unit(fresh[:, None, None])], axis=1)
        places = np.concatenate([self.places, by_unit(top.places)], axis=1)
        known = np.concatenate([self._keys, by_unit(keys[:, None, None])], axis=1)
        order = np.lexsort((places, known, -values), axis=1)[:, : self.k]
        self.values, self.items, self.places, self._keys = (
            np.take_along_axis(one, order, axis=1) for one in (values, items, places, known)
        )
        self._keep(some, int(fresh[0]))

    def _keep(self, some: Some, first: int) -> None:
        """Hold what is needed to read the items once more, and let go of those that are no longer among the best."""
        mine = self.items if self.units is None else self.items[list(self.units)]
        wanted = set(np.unique(mine).tolist())
        for name in [name for name in self.given if name not in wanted]:
            del self.given[name], self.names[name]
        for item in wanted:
            if item >= first:
                self.given[item], self.names[item] = handle(some, item - first), some.names[item - first]


def ties(best: Sequence[tuple[float, float]]) -> tuple[Caveat, ...]:
    """What must be known where the two best of a unit are equal, as they are where a layer clips what is large.

    Args:
        best: The largest value of each unit that is shown, and the second.
    """
    equal = [first for first, second in best if first == second and first > 0]
    if not equal:
        return ()
    top = f" (up to {max(equal):.3g})" if len(set(equal)) > 1 else f" ({equal[0]:.3g})"
    said = f"Of {len(equal)} of {len(best)} units several are equal at the largest value{top}, as where a layer clips"
    return (Caveat(f"{said}: the order of these says nothing.", "other"),)


class ByClass:
    """The mean of each unit's value over the items of each class, added up item by item."""

    def __init__(self) -> None:
        self.of: list[str] = []
        self._sums: dict[str, Array] = {}
        self._counts: dict[str, int] = {}

    def add(self, labels: Sequence[str], largest: Array) -> None:
        """Take in the largest value ``[N, C]`` of each unit in items of these classes."""
        for label, values in zip(labels, largest.astype(np.float64), strict=True):
            self.of.append(label)
            known = self._sums.get(label)
            self._sums[label] = values.copy() if known is None else known + values
            self._counts[label] = self._counts.get(label, 0) + 1

    def selectivity(self) -> tuple[Array | None, list[str]]:
        """How much more a unit answers to one class than to the others, ``[C]``, and which class that is.

        ``(m - r) / (|m| + |r|)``, m the mean over the class that excites it most, r over all other items (Morcos 2018):
        0 where classes are alike, 1 where it answers to one alone. None where there is one class only.
        """
        if len(self._sums) < 2:
            return None, []
        names = sorted(self._sums)
        sums, counts = np.stack([self._sums[n] for n in names]), np.array([self._counts[n] for n in names])
        means = sums / counts[:, None]
        best = means.argmax(axis=0)
        units = np.arange(means.shape[1])
        top = means[best, units]
        rest = (sums.sum(axis=0) - sums[best, units]) / np.maximum(counts.sum() - counts[best], 1)
        size = np.abs(top) + np.abs(rest)
        return np.where(size > 0, (top - rest) / np.where(size > 0, size, 1), 0.0), [names[n] for n in best]
