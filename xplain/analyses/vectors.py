"""Vectors as every analysis takes them: finite, two-dimensional, not all equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError

__all__ = ["checked", "prepared"]


def checked(vectors: Any, least: int = 2, what: str = "vectors") -> Array:
    """The vectors as a floating array ``[N, D]``; nothing is copied where they are one.

    Args:
        vectors: Real numbers ``[N, D]``.
        least: Rows that there must be.
        what: What they are called in a message.

    Raises:
        UsageError: another shape or type, fewer rows, or every row is equal to the first.
        NonFinite: NaN or infinity.
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiub" or array.ndim != 2:
        raise UsageError(f"The {what} are {array.dtype} {list(array.shape)}; accepted: real numbers [N, D].")
    if len(array) < least or not array.shape[1]:
        raise UsageError(f"There are {what} {list(array.shape)}; at least {least} rows of one number are needed.")
    array = array if array.dtype.kind == "f" else array.astype(np.float32)
    for start in range(0, len(array), _ROWS):
        if not np.isfinite(array[start : start + _ROWS]).all():
            row = start + int(np.argwhere(~np.isfinite(array[start : start + _ROWS]))[0][0])
            raise NonFinite(f"Row {row} of the {what} holds NaN or infinity. Leave it out, or mend it.")
    if len(array) > 1 and (array[1:] == array[0]).all():
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


_ROWS = 65536
