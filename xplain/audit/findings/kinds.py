"""What the items of a lane are, and how its maps compare place by place whatever they are.

| items | maps | are compared as |
|---|---|---|
| pictures | ``[H, W]`` | shares of the mass in 8 x 8 cells |
| series | ``[T]`` or ``[C, T]`` | shares in 32 cells of time, each channel for itself where it has values of its own |
| rows of a table | ``[S]`` | shares of the magnitude on each column |
| texts | as long as the text | not at all among texts; two maps of one text, feature by feature |
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xplain.analyses.shares import shares
from xplain.audit.opening import Audit
from xplain.audit.reports.readers import Reads, literal
from xplain.core.edits import Array
from xplain.core.lane import Lane

__all__ = ["columns", "flat", "is_rows", "is_texts", "mapped", "pictured", "planes", "sealed", "timed"]

_MOMENTS = 32
"""Cells of time: along one axis there is room for finer ones than in pictures."""


def pictured(audit: Audit) -> list[Lane]:
    """The lanes whose maps lie over a plane and explain one class per item; one of each model and method."""
    return [lane for lane in audit.lanes if len(lane.native_shape) == 2 and not lane.is_series]


def timed(audit: Audit) -> list[Lane]:
    """The lanes whose maps go over time."""
    return [lane for lane in audit.lanes if lane.is_series and not audit.plan.model(lane.model).door]


def mapped(audit: Audit) -> list[Lane]:
    """The lanes whose maps of different items compare place by place: all but those of texts and volumes."""
    over = [*pictured(audit), *timed(audit)]
    return [lane for lane in audit.lanes if lane in over or is_rows(audit, lane)]


def is_rows(audit: Reads, lane: Lane) -> bool:
    """Whether its maps are of a table's columns."""
    return audit.plan.model(lane.model).items == "rows" and len(lane.native_shape) == 1


def is_texts(audit: Reads, lane: Lane) -> bool:
    """Whether its items are texts."""
    return audit.plan.model(lane.model).items == "texts"


def planes(lane: Lane, maps: Array) -> Array:
    """Maps as ``[N, h, w]``: a series' time runs along ``w``, its channels, where they have values, along ``h``."""
    if not lane.is_series:
        return maps
    return maps[:, None] if maps.ndim == 2 else maps.transpose(0, 2, 1) if lane.map_axes == "TC" else maps


def flat(lane: Lane, maps: Array) -> Array:
    """Maps as shares of few cells, ``[N, D]``; of rows of a table by their columns, whose magnitudes count."""
    if lane.is_series:
        return shares(planes(lane, maps), _MOMENTS).reshape(len(maps), -1)
    if maps.ndim == 2:
        return shares(np.abs(maps), maps.shape[1]).reshape(len(maps), -1)
    return shares(maps).reshape(len(maps), -1)


def columns(audit: Reads, names: str, lane: Lane) -> dict[str, Array]:
    """Columns of a lane's records that hold an explanation, by item; texts as objects."""
    query = f"select {names} from records where lane = {literal(lane.name)} and status = 'ok' order by item"
    table = audit.sql(query)
    return {name: table[name].to_numpy() for name in table.column_names}


def sealed(audit: Audit) -> Iterator[Array]:
    """Numbers of the items that are sealed, some thousand at a time."""
    for seal in audit.seals.values():
        for start in range(seal.first, seal.first + seal.rows, 4096):
            yield np.arange(start, min(start + 4096, seal.first + seal.rows))
