"""The few array operations that methods need beyond the array API, written so that every kind of array has them.

A method's arithmetic runs on numpy arrays, and on graph values while it is compiled; ``namespace`` gives the functions
of whichever it is. Answers of every model, also of one on a device, reach a method as numpy arrays: they are small
beside what the device computes for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from xplain.core.edits import Array
from xplain.core.positions.layout import Layout

__all__ = [
    "all_finite",
    "behind",
    "collapse",
    "constant",
    "doubled",
    "enlarge",
    "enlarge_to",
    "enlarging",
    "namespace",
    "one_hot",
]
__all__ += ["shades", "sigmoid", "summed"]


def namespace(*arrays: Any) -> Any:
    """The array API functions for these arrays: numpy's, or a graph under construction's."""
    return array_api_compat.array_namespace(*arrays)


def constant(values: Any, like: Any) -> Any:
    """An array of numpy as one of the kind, the dtype and the device of ``like``."""
    xp, place = namespace(like), {}
    if xp is not namespace(np.zeros(0)) and hasattr(like, "device"):
        place = {"device": like.device}
    return xp.asarray(np.ascontiguousarray(values), dtype=like.dtype, **place)


def doubled(values: Any) -> Any:
    """Numpy's values in float64, to be added up or to go on with; a graph keeps the type that it computes in."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values


def summed(values: Any, axis: int | tuple[int, ...]) -> Any:
    """The sum over axes; numpy adds in float64, for thousands of terms may nearly cancel, and makes no copy for it."""
    if isinstance(values, np.ndarray):
        return np.sum(values, axis=axis, dtype=np.float64)
    return namespace(values).sum(values, axis=axis)


def all_finite(x: Array) -> bool:
    """Whether no number is NaN or infinite.

    A sum of squares says so at a third of the time of looking at each, for it is a product of vectors; only where the
    sum itself is not finite, as squares above 1e38 make it, is each looked at.
    """
    if x.dtype.kind != "f":
        return True
    rows = (
        x.reshape(len(x), -1)
        if x.ndim and x.size and x.flags.c_contiguous and x.dtype in (np.float32, np.float64)
        else None
    )
    if rows is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            if all(np.isfinite(np.dot(row, row)) for row in rows):
                return True
    return bool(np.isfinite(x).all())


def behind(arrays: Sequence[Array]) -> Array:
    """Arrays one behind the other; rows of one array that follow each other in it are not copied."""
    first = arrays[0]
    whole = first.base
    size = first.nbytes // len(first) if len(first) else 0
    if isinstance(whole, np.ndarray) and size and whole.flags.c_contiguous and whole.dtype == first.dtype:
        start, rest = divmod(first.ctypes.data - whole.ctypes.data, size)
        at = first.ctypes.data
        for one in arrays:
            if one.base is not whole or one.ctypes.data != at or one.shape[1:] != whole.shape[1:] or rest:
                break
            at += one.nbytes
        else:
            return whole[start : start + sum(map(len, arrays))]
    return np.concatenate(arrays)


def shades(values: Array, of: Array | None = None) -> Array:
    """Numbers as shades, uint8: the least of all (``of``; None: of these) black, the largest white; equal ones grey."""
    every = values if of is None else of
    low, high = float(every.min()), float(every.max())
    values = np.asarray(values, np.float64)
    grey = np.rint(255 * (values - low) / (high - low)) if high > low else np.full(values.shape, 127.0)
    return np.asarray(grey.astype(np.uint8))


def sigmoid(x: Any) -> Any:
    """``1 / (1 + e^-x)``, which overflows nowhere; one function where graphs and torch have it, with a cheap slope."""
    xp = namespace(x)
    return xp.sigmoid(x) if hasattr(xp, "sigmoid") else xp.tanh(x * 0.5) * 0.5 + 0.5


def one_hot(index: Any, count: int, like: Any) -> Any:
    """``[..., count]`` of the dtype of ``like``: 1 at each index, which may count from the end, 0 elsewhere."""
    xp = namespace(like)
    places = constant(np.arange(count), like)
    at = xp.astype(index, like.dtype)
    at = xp.where(at < 0, at + float(count), at)
    return xp.astype(xp.equal(xp.expand_dims(at, axis=-1), places), like.dtype)


def collapse(values: Any, layout: Layout, how: str = "sum") -> Any:
    """``[N, *item]`` to one map per item: over channels the signed ``sum``, or ``max-abs`` of the magnitudes.

    Without a channel axis a magnitude is one all the same: ``max-abs`` is never signed.
    """
    xp = namespace(values)
    if how != "sum":
        values = xp.abs(values)
    if layout.channel_axis is None:
        return values
    return summed(values, layout.channel_axis) if how == "sum" else xp.max(values, axis=layout.channel_axis)


def enlarging(small: int, large: int) -> Array:
    """The matrix ``[large, small]`` of linear interpolation with half-pixel centres and clamped borders, float32.

    Row p reads the source at ``(p + 0.5) * small / large - 0.5``: the convention of ``align_corners=False``.
    """
    at = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    left = np.minimum(at.astype(np.int64), max(small - 2, 0))
    share = at - left
    matrix = np.zeros((large, small))
    matrix[np.arange(large), left] = 1 - share
    matrix[np.arange(large), np.minimum(left + 1, small - 1)] += share
    return matrix.astype(np.float32)


def enlarge(maps: Any, size: tuple[int, int]) -> Any:
    """Maps ``[..., h, w]`` to ``[..., H, W]`` bilinearly; two matrix products, so every kind of array can do it."""
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    xp = namespace(maps)
    rows, columns = enlarging(height, size[0]), enlarging(width, size[1])
    if xp is array_api_compat.array_namespace(rows):
        return rows @ maps @ columns.T
    return xp.matmul(xp.matmul(xp.asarray(rows), maps), xp.asarray(columns.T.copy()))


def enlarge_to(maps: Any, size: Sequence[int]) -> Any:
    """Maps ``[N, *cells]`` to ``[N, *size]``, linearly along each axis: a picture's, a series' or a volume's."""
    if len(size) == 2:
        return enlarge(maps, (size[0], size[1]))
    xp = namespace(maps)
    for axis, (small, large) in enumerate(zip(maps.shape[1:], size, strict=True), 1):
        if small == large:
            continue
        order = [k for k in range(len(size) + 1) if k != axis]
        back = [order.index(k) if k != axis else len(size) for k in range(len(size) + 1)]
        turned = xp.permute_dims(maps, (*order, axis))
        maps = xp.permute_dims(xp.matmul(turned, xp.asarray(enlarging(small, large).T.copy())), tuple(back))
    return maps
