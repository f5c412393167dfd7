"""Maps told by a few numbers, and kept in half precision: one look at a map in place of a dozen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xplain import _native
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Described", "describe"]

_NUMBERS = 6


class Described(NamedTuple):
    """What maps are told by.

    Args:
        codes: The maps divided by their scales, float16 of their shape.
        scale: Largest size ``|v|`` of each, ``[N]``.
        total: Sum of its values, ``[N]``.
        mass: Sum of its sizes, ``[N]``.
        gini: Gini coefficient of the sizes as ``codes`` has them, 0..1, ``[N]``; NaN for a map of zeros.
        entropy: Entropy of their shares in nats, ``[N]``; NaN for a map of zeros.
        place: Position in the plane, row by row, where the sizes of all layers add up to the most, ``[N]``.
        parts: The sizes weighed by rows and columns, ``[N, R, C]``.
    """

    codes: Array
    scale: Array
    total: Array
    mass: Array
    gini: Array
    entropy: Array
    place: Array
    parts: Array


def describe(maps: Array, rows: Array, columns: Array, *, threads: int = 0) -> Described:
    """Numbers of maps of ``D`` layers of ``H x W``, each from that map alone, all sums in one order.

    ``codes = v / max |v|``; ``gini = sum (2 i - n - 1) h_(i) / (n sum h)`` and ``entropy = ln sum h - sum h ln h / sum
    h`` of ``h = |codes|``; ``parts[r, c] = sum_y sum_x rows[r, y] columns[c, x] sum_d |v|``. Sums are in float64, that
    over the layers ``d`` alone in float32, where ``place`` looks too: above 3.4e38 it is infinite. A map that holds NaN
    or infinity has NaN for every number and code. The same bits for any number of threads, and on any processor but for
    the logarithms of entropy, which are the system's.

    Args:
        maps: Real numbers ``[N, D, H, W]``, taken as float32.
        rows: Weights of rows ``[R, H]``.
        columns: Weights of columns ``[C, W]``, at least one.
        threads: At most so many; 0 means all that the process may use.

    Raises:
        UsageError: Arrays do not fit, or a map has no value.
    """
    maps = np.ascontiguousarray(maps, np.float32)
    rows, columns = (np.ascontiguousarray(one, np.float64) for one in (rows, columns))
    fits = maps.ndim == 4 and rows.ndim == columns.ndim == 2 and maps.shape[2:] == (rows.shape[1], columns.shape[1])
    if not fits or 0 in maps.shape[1:] or not len(columns):
        raise UsageError(
            f"describe needs maps [N, D, H, W] with rows [R, H] and columns [C, W]; got {list(maps.shape)} with "
            f"{list(rows.shape)} and {list(columns.shape)}."
        )
    codes = np.empty(maps.shape, np.float16)
    numbers = np.empty((len(maps), _NUMBERS + len(rows) * len(columns)))
    if len(maps):
        _native.describe(maps, rows, columns, codes, numbers, threads=threads)
    scale, total, mass, gini, entropy, place = numbers[:, :_NUMBERS].T
    parts = numbers[:, _NUMBERS:].reshape(len(maps), len(rows), len(columns))
    return Described(codes, scale, total, mass, gini, entropy, place, parts)
