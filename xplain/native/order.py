"""Orders of positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.errors import UsageError
from xplain.native.place import call, device_of, empty, reshape

__all__ = ["rank"]


def rank(values: Any, *, threads: int = 0, stream: int = 0) -> Any:
    """The place of every value in descending order; 0 is the largest.

    Ties go to the lower index, -0 equals +0, and NaN comes last, so the order is the same on every machine.

    Args:
        values: Real numbers ``[N, *map]``, compared as float32; on a CUDA device float32 and contiguous.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        int32 of the same shape, where the values are; per item a permutation of ``0 .. size - 1``.

    Raises:
        UsageError: A single number, or a tensor of a device that is not float32 and contiguous.
    """
    if len(values.shape) < 1:
        raise UsageError("rank needs values [N, *map]; got a single number.")
    shape = values.shape[0], math.prod(values.shape[1:])
    if device_of("rank", values=values) is None:
        places = np.empty(shape, np.int32)
        flat = np.ascontiguousarray(values, np.float32).reshape(shape)
        _native.rank(flat, places, None, threads=threads)
        return places.reshape(values.shape)
    there = empty(values, shape, "int32")
    workspace = empty(values, (shape[0], 4, shape[1]), "int32")
    call(_native.rank, reshape(values, shape), there, workspace, stream=stream)
    return reshape(there, values.shape)
