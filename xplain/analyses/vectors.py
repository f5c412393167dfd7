"""Vectors as every analysis takes them: finite, two-dimensional, not all equal; read block by block where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.core.keeping.mapped import parts

__all__ = ["Rows", "checked", "prepared"]


def checked(vectors: Any, least: int = 2, what: str = "vectors", differ: bool = True) -> Array:
    """The vectors as an array ``[N, D]``; nothing is copied where they are one, as they may be mapped from a disk.

    Args:
        vectors: Real numbers ``[N, D]``.
        least: Rows that there must be.
        what: What they are called in a message.
        differ: Whether rows that are all equal are refused.

    Raises:
        UsageError: another shape or type, fewer rows, or every row is equal to the first.
        NonFinite: NaN or infinity.
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiub" or array.ndim != 2:
        raise UsageError(f"The {what} are {array.dtype} {list(array.shape)}; accepted: real numbers [N, D].")
    if len(array) < least or not array.shape[1]:
        raise UsageError(f"There are {what} {list(array.shape)}; at least {least} rows of one number are needed.")
    array = array.view(np.uint8) if array.dtype.kind == "b" else array
    equal = differ
    for part in parts(array):
        block = array[part]
        if array.dtype.kind == "f" and not np.isfinite(block).all():
            row = part.start + int(np.argwhere(~np.isfinite(block))[0][0])
            raise NonFinite(f"Row {row} of the {what} holds NaN or infinity. Leave it out, or mend it.")
        equal = equal and bool((block == array[0]).all())
    if len(array) > 1 and equal:
        raise UsageError(
            f"All {len(array)} {what} are equal, so no item is nearer to one than to another. Read another layer, or "
            "look at whether the items differ."
        )
    return array


def prepared(vectors: Array, metric: str) -> Array:
    """float64 rows whose Euclidean geometry is the metric's: as they are, or of length 1 for ``cosine``.

    A row of zeros has no direction and stays zero: its cosine with every row is 0.
    """
    rows = np.asarray(vectors, np.float64)
    if metric == "cosine":
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
    return rows


class Rows:
    """Vectors in a metric's geometry, float64, block by block: those that are mapped from a disk are never all read.

    Args:
        vectors: ``[N, D]``.
        metric: ``euclidean`` or ``cosine``; see ``prepared``.
        least: Rows that there must be.
        differ: Whether rows that are all equal are refused.

    Raises:
        UsageError: as ``checked``.
        NonFinite: NaN or infinity.
    """

    def __init__(self, vectors: Array, metric: str, least: int = 2, differ: bool = True) -> None:
        self.given, self.metric = checked(vectors, least, differ=differ), metric

    def __len__(self) -> int:
        return len(self.given)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.given.shape[1])

    def take(self, rows: Array | slice) -> Array:
        """Some of them, float64."""
        return prepared(self.given[rows], self.metric)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """All of them, block by block, with which rows they are."""
        return ((part, self.take(part)) for part in parts(self.given))

    def mean(self) -> Array:
        """Their mean ``[D]``."""
        return np.asarray(sum(block.sum(axis=0) for _, block in self.blocks()) / len(self))

    def apart(self, some: Array, centre: Array) -> Array:
        """Squared distances ``[M, N]`` from a few rows ``[M, D]`` to all; equal where rounding alone makes them differ.

        Products of centred rows differ from sums of squared differences by about ``D 2^-53`` of the largest, so what is
        finer than ``2^-40`` of a row's largest distance is rounded away.
        """
        own = some - centre
        found = np.empty((len(own), len(self)))
        for part, block in self.blocks():
            block = block - centre
            found[:, part] = (block**2).sum(axis=1) - 2 * (own @ block.T)
        found += (own**2).sum(axis=1)[:, None]
        np.maximum(found, 0, out=found)
        scale = np.maximum(found.max(axis=1, keepdims=True), np.finfo(float).tiny) / 2**40
        found /= scale
        np.rint(found, out=found)
        found *= scale
        return found
