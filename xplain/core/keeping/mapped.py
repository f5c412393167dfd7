"""Arrays that may be larger than memory: taken in blocks, and held in a file without a name where they are made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from xplain.core.edits import Array

__all__ = ["chosen", "parts", "room"]

_BLOCK = 2**22
"""Numbers of a block: 32 MiB of float64."""

_IN_MEMORY = 2**26
"""Bytes up to which a copy is held in memory."""


def parts(array: Array, least: int = 16, most: int = 65536) -> Iterator[slice]:
    """The rows of an array in blocks of about 4 million numbers."""
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    step = min(most, max(least, _BLOCK // max(1, width)))
    return (slice(start, min(start + step, len(array))) for start in range(0, len(array), step))


def room(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory for an array; of more than 64 MiB a file without a name is mapped, which goes when the array goes."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= _IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the mapping holds it open
        return np.memmap(file, dtype, "w+", shape=shape)


def chosen(array: Array, rows: Array) -> Array:
    """Some rows, in an order: all in their own order are the array itself, others a copy in ``room``."""
    if len(rows) == len(array) and np.array_equal(rows, np.arange(len(rows))):
        return array
    found = room((len(rows), *array.shape[1:]), array.dtype)
    for part in parts(found):
        found[part] = array[rows[part]]
    return found
