"""Explanations as rows of numbers, which all families of metrics share: positions in a row, ranks, shares of ties."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import View

__all__ = ["flat", "masked", "mean_ranks", "of_view", "pearson", "ratio", "top_share"]


def flat(values: Array) -> Array:
    """Maps as rows, float64 ``[N, P]``; what is not finite is NaN.

    Raises:
        UsageError: they are not ``[N, *map]``, or have no positions.
    """
    values = np.asarray(values)
    if values.ndim < 2 or 0 in values.shape[1:] or values.dtype.kind not in "fiub":
        raise UsageError(
            f"The explanations are {values.dtype} {list(values.shape)}; accepted: real numbers [N, *map], such as "
            "attribution.values, or one map with a leading axis, values[None]."
        )
    rows = values.reshape(len(values), -1).astype(np.float64)
    return np.where(np.isfinite(rows), rows, np.nan)


def of_view(view: View, values: Array) -> Array:
    """An explanation of a view's items, ``[N, *map]``, as it was given.

    Raises:
        UsageError: it is not one value per position of each item.
    """
    shape = (len(view.x), *view.layout.map_shape)
    if values.shape != shape:
        raise UsageError(
            f"The explanation is {list(values.shape)}; needed: one value per position of each item, {list(shape)}. Sum "
            "over channels first where there are any."
        )
    return values


def masked(values: Array, masks: Array) -> tuple[Array, Array]:
    """Maps float64 ``[N, P]`` and masks of the truth bool ``[N, P]``.

    Raises:
        UsageError: the masks are not of the maps' shape, or hold other values than 0 and 1.
    """
    masks = np.asarray(masks)
    if masks.shape != np.shape(values):
        raise UsageError(
            f"The truth is {list(masks.shape)} for explanations {list(np.shape(values))}; accepted: a mask of 0 and 1 "
            "for each, of the same shape."
        )
    if masks.dtype != np.bool_ and not np.isin(masks, (0, 1)).all():
        raise UsageError("The truth holds other values than 0 and 1; accepted: masks, such as labels == 3.")
    return flat(values), masks.reshape(len(masks), -1).astype(bool)


def ratio(part: Array, whole: Array) -> Array:
    """``part / whole``, NaN where the whole is 0."""
    out = np.full(np.broadcast_shapes(np.shape(part), np.shape(whole)), np.nan)
    return np.asarray(np.divide(part, whole, out=out, where=np.asarray(whole) != 0))


def mean_ranks(rows: Array) -> Array:
    """Ranks from 0 along each row of ``[N, P]``; equal values share their mean rank, a row with NaN is NaN."""
    order = np.argsort(rows, axis=1, kind="stable")
    placed = np.take_along_axis(rows, order, axis=1)
    count = rows.shape[1]
    fresh = np.ones(rows.shape, bool)
    fresh[:, 1:] = placed[:, 1:] != placed[:, :-1]
    first = np.maximum.accumulate(np.where(fresh, np.arange(count), 0), axis=1)
    ends = np.ones(rows.shape, bool)
    ends[:, :-1] = fresh[:, 1:]
    last = np.minimum.accumulate(np.where(ends, np.arange(count), count)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    ranks[np.isnan(rows).any(axis=1)] = np.nan
    return ranks


def pearson(a: Array, b: Array) -> Array:
    """Correlation of each row of ``[N, M]`` with the same row of the other, -1..1; NaN where one is constant."""
    a, b = (one - one.mean(axis=1, keepdims=True) for one in (a, b))
    sizes = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    constant = (np.ptp(a, axis=1) == 0) | (np.ptp(b, axis=1) == 0)
    found = ratio((a * b).sum(axis=1), np.where(constant, 0.0, sizes))
    return np.clip(found, -1.0, 1.0)


def top_share(rows: Array, inside: Array, counts: Array) -> Array:
    """The share of each row's ``counts`` largest values that lie inside, 0..1.

    Of values that are equal at the last place, each counts by the share of them that there is room for: what a random
    choice among them gives on average, so that a constant map scores what chance scores.

    Args:
        rows: ``[N, P]``.
        inside: bool ``[N, P]``.
        counts: ``[N]``, 1..P; NaN for a count of 0.
    """
    found = np.full(len(rows), np.nan)
    for n, (row, mask, count) in enumerate(zip(rows, inside, counts, strict=True)):
        if count < 1 or np.isnan(row).any():
            continue
        bar = np.partition(row, -count)[-count]
        above, tied = row > bar, row == bar
        room = (count - int(above.sum())) / int(tied.sum())
        found[n] = (int((above & mask).sum()) + room * int((tied & mask).sum())) / count
    return found
