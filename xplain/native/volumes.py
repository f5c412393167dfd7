"""Windows and soft grids over volumes: cuboids of (depth, height, width), said in the words of the plane's kernels.

A kernel knows positions as a plane, and a volume as one long row. A cuboid is no rectangle of that row, so what hides
it is said again as what the kernels know: windows as coalitions of the blocks that the windows' borders cut, soft grids
as full masks. Rows are filled a few at a time, so that memory stays at a few volumes. Sums over masks need no mask at
all: windows are sums of corners, and a trilinear grid is a product of one small matrix per axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout

__all__ = ["accumulate_volume", "grid_cells", "is_volumetric", "on_plane", "parts"]

_AT_ONCE = 16
"""Edits that are said again at a time."""


def is_volumetric(edits: Edits, layout: Layout | None = None) -> bool:
    """Whether the kernels must be told in other words: cuboids, grids of three axes, or axes that do not fold."""
    if layout is not None and not layout.folds:
        return True
    return (isinstance(edits, Windows) and edits.boxes.shape[-1] == 6) or (
        isinstance(edits, SoftGrid) and len(edits.cells) == 3
    )


def parts(edits: Edits, items: int, start: int, stop: int, layout: Layout) -> Iterator[tuple[int, Edits, int, int]]:
    """Rows ``start..stop`` of N items a few at a time: the item, these rows' edits alone, their first row and end."""
    row = start
    while row < stop:
        item, first = divmod(row, edits.count)
        last = min(edits.count, first + _AT_ONCE, first + stop - row)
        yield item, _some(edits, items, item, slice(first, last), layout), row, row + last - first
        row += last - first


def _some(edits: Edits, items: int, item: int, edit: slice, layout: Layout) -> Edits:
    """Some edits of one item."""
    if isinstance(edits, Untouched):
        return edits
    fill = np.asarray(edits.fill, np.float32)
    fill = fill[item : item + 1] if fill.ndim == len(layout.axes) and len(fill) == items > 1 else fill

    def own(array: Array, shape: tuple[int, ...]) -> Array:
        return array if array.size == math.prod(shape) else np.asarray(array[item])

    match edits:
        case Windows():
            boxes = edits.boxes if edits.boxes.ndim == 2 else edits.boxes[item]
            return replace(edits, boxes=boxes[edit], fill=fill)
        case SoftGrid():
            return replace(edits, samples=edit.stop - edit.start, first=edits.first + edit.start, fill=fill)
        case Coalitions():
            keep = edits.keep if edits.keep.ndim == 2 else edits.keep[item]
            labels = own(edits.labels, layout.item if edits.whole else layout.grid)
            return replace(edits, keep=keep[edit], labels=labels, fill=fill)
        case Full():
            masks = edits.masks[item] if edits.per_item else edits.masks
            return replace(edits, masks=masks[edit], per_item=False, fill=fill)
        case Ranked():
            return replace(edits, rank=own(edits.rank, layout.grid), counts=edits.counts[edit], fill=fill)


def on_plane(edits: Edits, grid: tuple[int, ...]) -> Edits:
    """The same edits in words that a kernel knows: cuboids as coalitions of blocks, soft grids as full masks.

    Raises:
        UsageError: cuboids for a plane, or cells that do not fit the grid.
    """
    if isinstance(edits, Windows) and edits.boxes.shape[-1] == 6:
        if len(grid) != 3:
            raise UsageError(f"Windows.boxes are cuboids (z0, y0, x0, z1, y1, x1), but the positions are {list(grid)}.")
        several = edits.boxes if edits.boxes.ndim == 3 else edits.boxes[None]
        cut = [_blocks(boxes, grid) for boxes in several]
        most = max(keep.shape[1] for _, keep in cut)
        labels = np.stack([one for one, _ in cut])
        keep = np.stack([np.pad(one, ((0, 0), (0, most - one.shape[1])), constant_values=1) for _, one in cut])
        shared = edits.boxes.ndim == 2
        return Coalitions(labels[0] if shared else labels, keep[0] if shared else keep, edits.fill)
    if isinstance(edits, SoftGrid) and len(edits.cells) == 3:
        cells, shifts = grid_cells(edits, grid)
        masks = np.stack([_mask(one, shift, edits.cells, grid) for one, shift in zip(cells, shifts, strict=True)])
        return Full(masks, edits.fill)
    return edits


def _blocks(boxes: Array, grid: tuple[int, ...]) -> tuple[Array, Array]:
    """Labels ``[D, H, W]`` of blocks between the borders of boxes ``[M, 6]``, and what each box keeps, ``[M, S]``."""
    inside = np.ones((len(boxes), 1, 1, 1), bool)
    labels = np.zeros((1, 1, 1), np.int64)
    for axis, length in enumerate(grid):
        low, high = (np.clip(boxes[:, axis + k], 0, length).astype(np.int64) for k in (0, 3))
        cuts = np.unique(np.concatenate([[0], low[low < length], high[high < length]]))
        here = (cuts >= low[:, None]) & (cuts < high[:, None])
        inside = inside & here.reshape(len(boxes), *[-1 if k == axis else 1 for k in range(3)])
        number = np.searchsorted(cuts, np.arange(length), side="right") - 1
        labels = labels * len(cuts) + number.reshape([-1 if k == axis else 1 for k in range(3)])
    return labels.astype(np.int32), 1 - inside.reshape(len(boxes), -1).astype(np.uint8)


def grid_cells(edits: SoftGrid, grid: tuple[int, ...]) -> tuple[Array, Array]:
    """The random numbers of masks over a volume: cells uint8 ``[M, a + 1, b + 1, c + 1]`` and shifts int32 ``[M, 3]``.

    Cell b of mask m is draw ``b % 4`` of Philox's counter (m, b // 4, 0), as on a plane; the shifts are the first three
    draws of (m, 0, 1).

    Raises:
        UsageError: a grid of other than one to all positions per axis.
    """
    if any(not 1 <= n <= length for n, length in zip(edits.cells, grid, strict=True)):
        wanted = " x ".join(f"1 to {length}" for length in grid)
        raise UsageError(f"SoftGrid.cells are {' x '.join(map(str, edits.cells))}; accepted: {wanted}.")
    if not isinstance(edits.seed, int):
        raise UsageError("These SoftGrid masks are each item's own; ask item by item, with SoftGrid.alone.")
    numbers = np.uint64(edits.first) + np.arange(edits.samples, dtype=np.uint64)
    low, high = numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32)
    shape = tuple(n + 1 for n in edits.cells)
    count = math.prod(shape)
    counter = np.arange(-(-count // 4), dtype=np.uint64)
    draws = _philox(low[:, None], high[:, None], counter[None, :], 0, edits.seed)
    threshold = min(round(edits.keep * 2**32), 2**32 - 1)
    cells = (np.stack(draws, axis=-1).reshape(edits.samples, -1)[:, :count] < threshold).astype(np.uint8)
    moves = _philox(low, high, np.zeros_like(low), 1, edits.seed)[:3]
    sizes = [np.uint64(-(-length // n)) for length, n in zip(grid, edits.cells, strict=True)]
    shifts = np.stack([move * size >> np.uint64(32) for move, size in zip(moves, sizes, strict=True)], axis=1)
    return cells.reshape(edits.samples, *shape), shifts.astype(np.int32)


def _philox(c0: Array, c1: Array, c2: Array, purpose: int, seed: int) -> tuple[Array, ...]:
    """Philox4x32-10 for whole arrays of counters (c0, c1, c2, purpose); see ``xplain.native.reference``."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2 = np.broadcast_arrays(c0, c1, c2)
    c3 = np.full(c0.shape, purpose, np.uint64)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & low, (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _between(t: Array, size: int, last: int) -> tuple[Array, Array]:
    """Cell index and the next cell's share at enlarged coordinates; cell i's centre is at 2 i size + size - 1."""
    offset = 2 * t + 1 - size
    index = np.clip(offset // (2 * size), 0, last)
    share = (offset - 2 * size * index).astype(np.float32) * (np.float32(1) / np.float32(2 * size))
    share[(offset < 0) | (offset // (2 * size) >= last)] = 0
    return index, share


def _mask(cells: Array, shift: Array, counts: tuple[int, ...], grid: tuple[int, ...]) -> Array:
    """One mask float32 ``[D, H, W]``: cells enlarged linearly along one axis after the other, cut out at the shift."""
    values = cells.astype(np.float32)
    for axis, (count, length) in enumerate(zip(counts, grid, strict=True)):
        index, share = _between(np.arange(length) + int(shift[axis]), -(-length // count), count)
        here, beyond = values.take(index, axis), values.take(np.minimum(index + 1, count), axis)
        values = here + share.reshape([-1 if k == axis else 1 for k in range(3)]) * (beyond - here)
    return np.asarray(values)


def accumulate_volume(edits: Windows | SoftGrid, weights: Array, grid: tuple[int, ...], power: int = 1) -> Array:
    """Sum over m of ``weights[n, m, k] * mask**power`` over a volume, float64 ``[N, K, D, H, W]``, without a mask.

    Windows count where they cover (hide), soft grids by the share that is kept.
    """
    if isinstance(edits, Windows):
        return np.stack(
            [
                _covered(edits.boxes if edits.boxes.ndim == 2 else edits.boxes[n], one, grid)
                for n, one in enumerate(weights)
            ]
        )
    cells, shifts = grid_cells(edits, grid)
    return np.stack([_shown(edits, cells, shifts, one, grid, power) for one in weights])


def _covered(boxes: Array, weights: Array, grid: tuple[int, ...]) -> Array:
    """A difference at each of a box's eight corners, summed along the three axes."""
    corners = np.zeros((weights.shape[1], *(n + 1 for n in grid)))
    ends = [np.clip(boxes[:, k], 0, grid[k % 3]).astype(np.int64) for k in range(6)]
    full = np.all([ends[k] < ends[k + 3] for k in range(3)], axis=0)
    for corner in itertools.product((0, 3), repeat=3):
        sign = (-1.0) ** sum(k == 3 for k in corner)
        at = tuple(ends[axis + k][full] for axis, k in enumerate(corner))
        for kind in range(weights.shape[1]):
            np.add.at(corners[kind], at, sign * weights[full, kind])
    for axis in (1, 2, 3):
        corners = corners.cumsum(axis=axis)
    return corners[:, :-1, :-1, :-1]


def _shown(edits: SoftGrid, cells: Array, shifts: Array, weights: Array, grid: tuple[int, ...], power: int) -> Array:
    """Cells are counted in bins, one per cell and shift; a matrix per axis spreads the bins over its positions.

    The square of ``(1 - b) c + b c'`` along an axis is ``(1 - b)^2 c + b^2 c' + 2 b (1 - b) c c'``, since cells are 0
    or 1: with three axes a sum over which of them take a pair of neighbours (cross) and which one cell (squares).
    """
    sizes = [-(-length // count) for length, count in zip(grid, edits.cells, strict=True)]
    total = np.zeros((weights.shape[1], *grid))
    kinds = [(False,) * 3] if power == 1 else list(itertools.product((False, True), repeat=3))
    for crossed in kinds:
        counts = _pairs(cells, crossed)
        bins = np.zeros((weights.shape[1], *((n + 1) * size for n, size in zip(edits.cells, sizes, strict=True))))
        for m in range(len(cells)):
            at = tuple(slice(int(s), None, size) for s, size in zip(shifts[m], sizes, strict=True))
            bins[(slice(None), *at)] += weights[m][:, None, None, None] * counts[m]
        for axis, (length, count) in enumerate(zip(grid, edits.cells, strict=True), 1):
            matrix = _spread(length, count, sizes[axis - 1], power, crossed[axis - 1])
            bins = np.moveaxis(np.tensordot(matrix, bins, axes=(1, axis)), 0, axis)
        total += bins * 0.5 ** max(0, sum(crossed) - 1)
    return total


def _pairs(cells: Array, crossed: tuple[bool, ...]) -> Array:
    """Per cell, how many diagonals of the block of neighbours along the crossed axes are kept at both ends."""
    axes = [axis for axis, one in enumerate(crossed) if one]
    padded = np.pad(cells, ((0, 0), *((0, 1 if one else 0) for one in crossed)))
    if not axes:
        return cells.astype(np.float64)

    def at(steps: dict[int, int]) -> Array:
        return padded[(slice(None), *(slice(steps.get(k, 0), steps.get(k, 0) + cells.shape[k + 1]) for k in range(3)))]

    found = np.zeros(cells.shape)
    for steps in itertools.product((0, 1), repeat=len(axes) - 1):
        one = dict(zip(axes, (0, *steps), strict=True))
        found += at(one) & at({axis: 1 - step for axis, step in one.items()})
    return found


def _spread(length: int, count: int, size: int, power: int, crossed: bool) -> Array:
    """``[length, (count + 1) * size]``: what a bin (cell, shift) adds at each position of an axis."""
    matrix = np.zeros((length, count + 1, size))
    for shift in range(size):
        index, share = _between(np.arange(length) + shift, size, count)
        b = share.astype(np.float64)
        position = np.arange(length)
        if crossed:
            matrix[position, index, shift] += 2 * (1 - b) * b
            continue
        matrix[position, index, shift] += (1 - b) ** power
        matrix[position, np.minimum(index + 1, count), shift] += b**power
    return matrix.reshape(length, -1)
