"""SP-LIME's pick: a few items whose explanations together show what the model uses."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["pick"]


def pick(values: Array, count: int) -> tuple[list[int], float]:
    """The ``count`` items whose explanations cover the most importance, found greedily; first the most telling one.

    Importance of feature j: ``I[j] = sqrt(sum over items of |values[i, j]|)``; a set of items covers
    ``c(V) = sum over j of [some item of V has values[i, j] != 0] I[j]``. Greedy picking reaches at least 1 - 1/e of the
    best coverage. Ties go to the item with the larger total attribution, then to the first.

    Args:
        values: Attributions ``[N, S]`` to the same S features, such as a table's ``lime`` values with ``top=5``.
        count: How many items to pick, at most N.

    Returns:
        Indices in the order picked, and the share of all importance that they cover, in [0, 1].

    Raises:
        UsageError: more items are wanted than there are, or values are not ``[N, S]``.

    Source:
        Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016, algorithm 2.
    """
    size = np.abs(np.asarray(values, dtype=np.float64))
    if size.ndim != 2:
        raise UsageError(f"The values are {list(size.shape)}; picking needs [N, S], the same S features for all items.")
    if not 1 <= count <= len(size):
        raise UsageError(f"{count} items are to be picked from {len(size)}; accepted: 1 to {len(size)}.")
    importance = np.sqrt(size.sum(axis=0))
    shows, total = size > 0, size.sum(axis=1)
    covered, chosen = np.zeros(size.shape[1], bool), list[int]()
    for _ in range(count):
        gain = (shows & ~covered) @ importance
        order = np.lexsort((-total, -gain))
        best = int(next(n for n in order if n not in chosen))
        chosen.append(best)
        covered |= shows[best]
    whole = float(importance.sum())
    return chosen, float(importance[covered].sum()) / whole if whole > 0 else 1.0
