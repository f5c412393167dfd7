"""Features that follow from positions alone: cells, channels, columns, stretches of time, tokens and runs of tokens."""

from __future__ import annotations

from collections import Counter

import numpy as np

from xplain.core.declaring.options import Positive, Size
from xplain.core.declaring.registry import features
from xplain.core.errors import UsageError
from xplain.core.positions.coordinates import UNSTATED
from xplain.core.query import View
from xplain.core.segments import players
from xplain.explainers.features.partition import Partition, numbered

__all__ = ["channels", "columns", "grid", "inputs", "ngrams", "segments", "tokens"]


@features("grid")
def grid(view: View, *, cells: Size = 7) -> Partition:
    """``cells`` x ``cells`` rectangles of the plane, or blocks of a volume, as equal as whole positions allow.

    Args:
        cells: Number of cells per axis, or (rows, columns), of volumes (slices, rows, columns); one number is never
            more than a volume's axis has positions.
    """
    plane = view.layout.grid
    if isinstance(cells, tuple):
        counts = cells
    elif len(plane) == 3:
        counts = tuple(min(cells, n) for n in plane)
    else:
        counts = (1 if plane[0] == 1 else cells, cells)
    shown = [" x ".join(map(str, extents)) for extents in (counts, plane)]
    if len(counts) != len(plane):
        raise UsageError(f"features 'grid': {shown[0]} cells are for {len(counts)} axes; there are {shown[1]} places.")
    if any(k > n for k, n in zip(counts, plane, strict=True)):
        raise UsageError(f"features 'grid': {shown[0]} cells on {shown[1]} positions; use fewer.")
    labels = np.zeros((1,) * len(plane), np.int64)
    for axis, (count, length) in enumerate(zip(counts, plane, strict=True)):
        own = np.arange(length) * count // length
        labels = labels * count + own.reshape([-1 if k == axis else 1 for k in range(len(plane))])
    return Partition(labels.astype(np.int32).reshape(view.layout.map_shape))


@features("segments")
def segments(view: View, *, number: Positive = 10, apart: bool = False) -> Partition:
    """``number`` stretches of the last position axis, as equal as whole positions allow: a time series' segments.

    Args:
        number: How many.
        apart: Each channel for itself, so that channels can be told apart; values then keep the item's own shape.
    """
    shape = view.layout.map_shape
    if number > shape[-1]:
        raise UsageError(f"features 'segments': {number} stretches of {shape[-1]} positions; use fewer.")
    places = np.broadcast_to(np.arange(shape[-1]) * number // shape[-1], shape).astype(np.int32)
    axis = view.layout.channel_axis
    if not apart or axis is None:
        return Partition(places)
    rows = np.arange(view.layout.channels, dtype=np.int32) * number
    each = rows.reshape([-1 if k == axis - 1 else 1 for k in range(view.x.ndim - 1)])
    return Partition(np.ascontiguousarray(np.expand_dims(places, axis - 1) + each), whole=True)


@features("channels")
def channels(view: View) -> Partition:
    """Each channel or band of the item is one feature; values keep the item's own shape."""
    layout = view.layout
    if layout.channel_axis is None:
        raise UsageError(
            f"features 'channels': items {list(view.x.shape[1:])} of layout {layout.axes} have no channels."
        )
    axis = layout.channel_axis - 1
    shape = [-1 if k == axis else 1 for k in range(view.x.ndim - 1)]
    labels = np.broadcast_to(np.arange(layout.channels).reshape(shape), view.x.shape[1:])
    card = view.outline.card
    names = (UNSTATED if card is None else card.coordinates).names(layout.channels)
    return Partition(labels.astype(np.int32), whole=True, names=tuple(names))


@features("columns")
def columns(view: View, *, groups: str = "") -> Partition:
    """Each position (a table's column) is one feature; columns in a group are switched together.

    Args:
        groups: Groups of column numbers or names, such as ``3+4+5/7+8``; other columns stay alone.
    """
    shape = view.layout.map_shape
    names = _column_names(view, int(np.prod(shape)))
    labels = np.arange(len(names))
    for group in filter(None, groups.split("/")):
        members = [_column(word.strip(), names) for word in group.split("+")]
        taken = [names[m] for m in members if labels[m] != m]
        if taken or len(set(members)) < len(members):
            raise UsageError(f"features 'columns': {(taken or [group])[0]!r} is named twice in groups {groups!r}.")
        labels[members] = min(members)
    final = numbered(labels)
    joined = tuple("+".join(names[k] for k in np.flatnonzero(final == s)) for s in range(int(final.max()) + 1))
    return Partition(final.reshape(shape), names=joined)


def _column_names(view: View, count: int) -> list[str]:
    given = [str(name) for name in view.outline.facts.get("columns", ())]
    if not given:
        return [str(k) for k in range(count)]
    twice = sorted(name for name, times in Counter(given).items() if times > 1)
    if twice:
        raise UsageError(f"The table has more than one column called {twice[0]!r}; rename one of them.")
    if len(given) != count:
        raise UsageError(f"{len(given)} column names are given for {count} columns.")
    return given


def _column(word: str, names: list[str]) -> int:
    if word in names:
        return names.index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    raise UsageError(f"features 'columns': there is no column {word!r} among {len(names)}: {', '.join(names[:20])}.")


@features("inputs")
def inputs(view: View, *, cells: Positive = 4) -> Partition:
    """Of several inputs in a row: ``cells`` x ``cells`` cells of each picture; each token, column or moment by itself.

    Args:
        cells: Cells per axis of a picture.
    """
    joined = view.outline.joined
    if not joined:
        raise UsageError("features 'inputs': the model is explained on one input. Load it with xplain.joint.")
    return Partition(players(joined, cells))


@features("tokens")
def tokens(view: View) -> Partition:
    """Each position of a sequence is one feature."""
    return Partition(np.arange(np.prod(view.layout.map_shape), dtype=np.int32).reshape(view.layout.map_shape))


@features("ngrams")
def ngrams(view: View, *, length: Positive = 2) -> Partition:
    """Runs of ``length`` adjacent positions of a sequence, which do not overlap.

    Args:
        length: Positions per run; the last run may be shorter.
    """
    return Partition(tokens(view).labels // length)
