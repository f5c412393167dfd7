"""A partition of items into features, and the way back from one value per feature to a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array

__all__ = ["Partition", "numbered"]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Which feature each position belongs to.

    Args:
        labels: int32, the same for all items, ``[*map]``, or per item ``[N, *map]``; ``[*item]`` or ``[N, *item]``
            where ``whole``. Values 0..S-1, -1 for "never hidden".
        per_item: Whether ``labels`` has the leading item axis; then the number of features may differ.
        whole: Whether labels go by element, channels apart, instead of by position.
        names: What the features are called, where they are the same for all items.
    """

    labels: Array
    per_item: bool = False
    whole: bool = False
    names: tuple[str, ...] = ()

    def of(self, item: int) -> Array:
        """The labels of one item."""
        return np.asarray(self.labels[item] if self.per_item else self.labels)

    def cohorts(self, items: int) -> Iterator[tuple[Array, int]]:
        """Items that can be asked together, and their number of features: those with the same labels, or one alone."""
        if not self.per_item:
            yield np.arange(items), int(self.labels.max()) + 1
            return
        for item in range(items):
            yield np.array([item]), int(self.labels[item].max()) + 1

    def paint(self, values: Sequence[Array]) -> Array:
        """One value per feature of each item, ``[S]`` each, to ``[N, *labels]``: every position shows its feature's."""
        painted = [np.where(self.of(n) >= 0, own[self.of(n)], 0.0) for n, own in enumerate(values)]
        return np.stack(painted)


def numbered(labels: Array) -> Array:
    """The same partition with the numbers 0..S-1 in order of the old ones; negative numbers become -1."""
    flat = np.asarray(labels).reshape(-1)
    out = np.full(flat.shape, -1, dtype=np.int32)
    out[flat >= 0] = np.unique(flat[flat >= 0], return_inverse=True)[1]
    return out.reshape(np.shape(labels))
