"""Mean maps of classes, read a shard at a time: one sum per class is held, whatever the number of items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xplain.audit.findings.kinds import planes
from xplain.audit.reports.readers import Reads, literal
from xplain.core.edits import Array
from xplain.core.lane import Lane

__all__ = ["MOST_READ", "mean_maps"]

MOST_READ = 1 << 30
"""Bytes of maps that are read: 10 million of 7 x 7 cells pass, 10,000 of 224 x 224."""
_CELLS = 16
"""Cells of a side that a mean map is drawn with; finer maps are averaged down to that."""
_MOMENTS = 32
"""The same of a series, which has one side."""
_MOST_CLASSES = 20_000


def mean_maps(audit: Reads, lane: Lane) -> tuple[dict[int, Array], int]:
    """Class to the mean of its maps, each divided by its sum of sizes; and how many items were read.

    A series' is one row of cells over time, channels added up. Maps of rows, of texts and of volumes have none. Where
    the maps are more than ``MOST_READ`` bytes, the first shards alone are read: items are numbered by name, so the
    report says that these are not a random draw.
    """
    series = lane.is_series and not audit.plan.model(lane.model).door
    shape = (1, lane.native_shape[lane.map_axes.index("T")]) if series else lane.native_shape
    if len(shape) != 2 or max(shape) < 2 or (min(shape) < 2 and not series):
        return {}, 0
    table = audit.sql(
        f"select item, predicted from records where lane = {literal(lane.name)} and predicted is not null order by item"
    )
    items, predicted = table["item"].to_numpy(), table["predicted"].to_numpy()
    known, places = np.unique(predicted, return_inverse=True)
    if not len(known) or len(known) > _MOST_CLASSES:
        return {}, 0
    side = tuple(min(extent, _MOMENTS if series else _CELLS) for extent in shape)
    sums, counts = np.zeros((len(known), side[0] * side[1])), np.zeros(len(known), np.int64)
    read = 0
    for numbers, maps in audit.batches(lane.name):
        at = np.clip(np.searchsorted(items, numbers), 0, len(items) - 1)
        if series:
            maps = planes(lane, maps).sum(axis=1, keepdims=True)
        flat = _coarse(maps, side).reshape(len(maps), -1)
        sizes = np.abs(flat).sum(axis=1)
        used = (items[at] == numbers) & np.isfinite(sizes) & (sizes > 0)
        own, shares = places[at[used]], flat[used] / sizes[used, None]
        order = np.argsort(own, kind="stable")
        present, starts = np.unique(own[order], return_index=True)
        if len(present):
            sums[present] += np.add.reduceat(shares[order], starts, axis=0)
            counts += np.bincount(own, minlength=len(known))
        read += int(used.sum())
        if read * shape[0] * shape[1] * 2 > MOST_READ:
            break
    means: Mapping[int, Array] = {
        int(known[k]): (sums[k] / counts[k]).reshape(side).astype(np.float32) for k in np.flatnonzero(counts)
    }
    return dict(means), read


def _coarse(maps: Array, side: tuple[int, ...]) -> Array:
    """Maps ``[N, h, w]`` as means over the areas of fewer cells, float64."""
    _, height, width = maps.shape
    if (height, width) == side:
        return maps.astype(np.float64)
    rows, columns = (np.arange(s) * extent // s for s, extent in zip(side, (height, width), strict=True))
    sums = np.add.reduceat(np.add.reduceat(maps.astype(np.float64), rows, axis=1), columns, axis=2)
    heights, widths = np.diff([*rows, height]), np.diff([*columns, width])
    found: Array = sums / (heights[:, None] * widths[None, :])
    return found
