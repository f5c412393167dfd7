"""What every kernel computes, in plain numpy, and the cases that every implementation is held to.

Slow and literal on purpose: each definition is the formula, item by item. CPU kernels, the fiber simulator and CUDA run
the same case lists against these. Soft masks use single float32 operations in the order written here, so kernels must
agree to the bit and not only closely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.positions.layout import Layout

__all__ = [
    "EditCase",
    "accumulate",
    "describe",
    "edit_cases",
    "fill",
    "kept",
    "philox",
    "rank",
    "soft_grid_cells",
    "soft_grid_mask",
]


def philox(counter: tuple[int, int, int, int], seed: int) -> tuple[int, int, int, int]:
    """Philox4x32-10 of Salmon et al. 2011: four 32-bit draws for a counter under a 64-bit key."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def soft_grid_cells(
    seed: int, first: int, count: int, cells: tuple[int, ...], keep: float, plane: tuple[int, ...]
) -> tuple[Array, Array]:
    """Cells and shifts of ``count`` masks: cell b of mask m is draw ``b % 4`` of the counter (m, b // 4, 0)."""
    size = [math.ceil(n / k) for n, k in zip(plane, cells, strict=True)]
    threshold = min(round(keep * 2**32), 2**32 - 1)
    number = math.prod(k + 1 for k in cells)
    grid = np.zeros((count, number), np.uint8)
    shifts = np.zeros((count, len(cells)), np.int32)
    for m in range(count):
        low, high = (first + m) & 0xFFFFFFFF, (first + m) >> 32
        draws = [d for q in range(-(-number // 4)) for d in philox((low, high, q, 0), seed)]
        grid[m] = [draw < threshold for draw in draws[:number]]
        along = philox((low, high, 0, 1), seed)
        shifts[m] = [draw * n >> 32 for draw, n in zip(along, size, strict=False)]
    return grid.reshape(count, *(k + 1 for k in cells)), shifts


def _between(t: Array, size: int, last: int) -> tuple[Array, Array]:
    """Cell index and the share of the next cell for enlarged coordinates; cell i's centre is at 2 i size + size - 1."""
    offset = 2 * t + 1 - size
    index = np.clip(offset // (2 * size), 0, last)
    share = (offset - 2 * size * index).astype(np.float32) * (np.float32(1) / np.float32(2 * size))
    share[(offset < 0) | (offset // (2 * size) >= last)] = 0
    return index, share


def soft_grid_mask(grid: Array, shift: Array, cells: tuple[int, ...], plane: tuple[int, ...]) -> Array:
    """One mask float32 ``[H, W]`` or ``[D, H, W]``: the grid enlarged linearly, axis by axis, and cut out at the shift.

    Centres lie half a pixel inside, as for bilinear enlargement.
    """
    values = grid.astype(np.float32)
    for axis, (number, length) in enumerate(zip(cells, plane, strict=True)):
        size = math.ceil(length / number)
        i, share = _between(np.arange(length) + int(shift[axis]), size, number)
        here, beyond = np.take(values, i, axis), np.take(values, np.minimum(i + 1, number), axis)
        values = here + share.reshape([-1 if k == axis else 1 for k in range(len(plane))]) * (beyond - here)
    return np.asarray(values)


def kept(edits: Edits, n: int, m: int, plane: tuple[int, ...]) -> Array:
    """The share of each position that edit m of item n keeps: float32 ``[H, W]``, ``[D, H, W]``, ``[1, size]``."""
    size = math.prod(plane)
    match edits:
        case Untouched():
            return np.ones(plane, np.float32)
        case Windows():
            box = edits.boxes[n, m] if edits.boxes.ndim == 3 else edits.boxes[m]
            inside = np.ones(plane, bool)
            for axis, at in enumerate(np.indices(plane)):
                inside &= (at >= box[axis]) & (at < box[axis + len(plane)])
            return np.where(inside, 0, 1).astype(np.float32)
        case Coalitions():
            per_item = edits.labels.size != size
            labels = (edits.labels[n] if per_item else edits.labels).reshape(plane)
            keep = (edits.keep[n] if edits.keep.ndim == 3 else edits.keep)[m]
            return np.where(labels < 0, 1, keep[labels] != 0).astype(np.float32)
        case SoftGrid():
            seed = edits.seed if isinstance(edits.seed, int) else int(edits.seed[n])
            grid, shift = soft_grid_cells(seed, edits.first + m, 1, edits.cells, edits.keep, plane)
            return soft_grid_mask(grid[0], shift[0], edits.cells, plane)
        case Ranked():
            rank = (edits.rank[n] if edits.rank.size != size else edits.rank).reshape(plane)
            return np.where((rank < edits.counts[m]) == edits.insert, 1, 0).astype(np.float32)
        case Full():
            return np.asarray((edits.masks[n] if edits.per_item else edits.masks)[m].reshape(plane))


def fill(x: Array, edits: Edits, layout: Layout, scale: Array | None = None, shift: Array | None = None) -> Array:
    """All N * M edited rows, float32 ``[N * M, *item]``: ``fill * (1 - mask) + x * mask``, or a choice where hard."""
    whole = isinstance(edits, Coalitions) and edits.whole
    plane = (1, math.prod(layout.item)) if whole else layout.grid
    hard = not isinstance(edits, SoftGrid | Full)
    colour = x if isinstance(edits, Untouched) else np.broadcast_to(edits.fill, x.shape)
    if scale is not None and shift is not None:
        axes = [1] * x.ndim
        if layout.channel_axis is not None:
            axes[layout.channel_axis] = -1
        x, colour = (v * scale.reshape(axes) + shift.reshape(axes) for v in (x, colour))
    rows = []
    for n in range(len(x)):
        for m in range(edits.count):
            mask = kept(edits, n, m, plane)
            if whole:
                mask = mask.reshape(layout.item)
            else:
                mask = mask.reshape(layout.map_shape)
                if layout.channel_axis is not None:
                    mask = np.expand_dims(mask, layout.channel_axis - 1)
            rows.append(
                np.where(mask != 0, x[n], colour[n]) if hard else colour[n] * (np.float32(1) - mask) + x[n] * mask
            )
    return np.stack(rows).astype(np.float32) if rows else np.empty((0, *x.shape[1:]), np.float32)


def accumulate(edits: Edits, weights: Array, plane: tuple[int, ...], power: int = 1) -> Array:
    """Sum over m of ``weights[n, m, k] * mask**power``, float64 ``[N, K, *plane]``; windows count where they cover."""
    out = np.zeros((weights.shape[0], weights.shape[2], *plane))
    for n in range(weights.shape[0]):
        for m in range(weights.shape[1]):
            mask = kept(edits, n, m, plane).astype(np.float64)
            if isinstance(edits, Windows):
                mask = 1 - mask
            out[n] += weights[n, m].reshape(-1, *[1] * len(plane)) * mask**power
    return out


def rank(values: Array) -> Array:
    """Place of each value of ``[N, P]`` in descending order; ties by index, NaN last."""
    places = np.empty(values.shape, np.int32)
    for n, row in enumerate(values):
        order = sorted(range(len(row)), key=lambda i: (bool(np.isnan(row[i])), -row[i] if row[i] == row[i] else 0, i))
        places[n, order] = np.arange(len(row))
    return places


def describe(maps: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Codes float16 of maps ``[N, D, H, W]``, and their numbers ``[N, 6 + R C]``: see ``native.describe``."""
    codes, numbers = np.full(maps.shape, np.nan, np.float16), np.full((len(maps), 6 + len(rows) * len(columns)), np.nan)
    for n, one in enumerate(maps):
        sizes = np.abs(one)
        if not np.isfinite(sizes).all():
            continue
        with np.errstate(over="ignore"):  # layers may add up to more than float32 holds: infinite by definition
            scale, plane = sizes.max(), sizes.sum(axis=0, dtype=np.float32)
        codes[n] = (one / (scale if scale > 0 else np.float32(1))).astype(np.float16)
        kept = sorted(Fraction(float(code)) for code in np.abs(codes[n]).ravel())  # whole numbers of 2**-24
        count, whole = len(kept), sum(kept)
        spread = [math.nan, math.nan]
        if scale > 0:
            spread[0] = float(sum((2 * i - count - 1) * h for i, h in enumerate(kept, 1)) / (count * whole))
            spread[1] = -math.fsum(float(h / whole) * math.log(h / whole) for h in kept if h)
        parts = [
            math.fsum((row[:, None] * column * plane.astype(np.float64)).ravel()) for row in rows for column in columns
        ]
        total, mass = math.fsum(one.ravel().tolist()), math.fsum(sizes.ravel().tolist())
        numbers[n] = [scale, total, mass, *spread, plane.argmax(), *parts]
    return codes, numbers


# ---- cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EditCase:
    """One input of ``fill`` and ``accumulate``."""

    name: str
    x: Array
    layout: Layout
    edits: Edits


# Shapes on and off the widths that vector code likes, with one and many channels, both layouts, series and tables.
_SHAPES = [
    ("NCHW", (2, 3, 16, 40)),
    ("NCHW", (1, 3, 17, 23)),
    ("NCHW", (3, 1, 5, 7)),
    ("NCHW", (1, 5, 33, 64)),
    ("NHWC", (2, 16, 40, 3)),
    ("NHWC", (1, 9, 13, 1)),
    ("NHWC", (1, 10, 11, 4)),
    ("NCT", (2, 3, 50)),
    ("NTC", (2, 50, 3)),
    ("NS", (4, 11)),
    ("NXXX", (2, 3, 4, 5)),
    ("NHW", (2, 8, 9)),
    ("NCDHW", (2, 2, 4, 5, 6)),
    ("NDHWC", (2, 4, 7, 5, 3)),
    ("NTCHW", (2, 5, 2, 6, 4)),
    ("NDHW", (2, 3, 6, 5)),
]


def edit_cases(seed: int = 0) -> Iterator[EditCase]:
    """Every kind of edit over every shape, with shared and per-item arrays and fills of all broadcasts."""
    rng = np.random.default_rng(seed)
    for axes, shape in _SHAPES:
        layout = Layout(axes, shape[1:])
        x = rng.standard_normal(shape).astype(np.float32)
        for name, edits in _edits(rng, x, layout):
            yield EditCase(f"{axes}-{'x'.join(map(str, shape))}-{name}", x, layout, edits)


def _edits(rng: np.random.Generator, x: Array, layout: Layout) -> Iterator[tuple[str, Edits]]:
    count, plane, rank = len(x), layout.grid, x.ndim
    size = math.prod(plane)
    number = np.full((1,) * rank, 0.25, np.float32)
    colour_shape = [count if k == 0 else (layout.channels if k == layout.channel_axis else 1) for k in range(rank)]
    colour = rng.standard_normal(colour_shape).astype(np.float32)
    picture = rng.standard_normal(x.shape).astype(np.float32)

    def boxes(*lead: int) -> Array:
        corners = np.sort(rng.integers(-3, max(plane) + 3, (*lead, len(plane), 2)), axis=-1)
        return np.ascontiguousarray(np.moveaxis(corners, -1, -2).reshape(*lead, 2 * len(plane)), np.int32)

    yield "untouched", Untouched()
    yield "windows", Windows(boxes(37), number)
    yield "windows-per-item", Windows(boxes(count, 5), colour)
    labels = rng.integers(-1, 6, (count, *layout.map_shape)).astype(np.int32)
    yield "coalitions", Coalitions(labels[0], rng.integers(0, 2, (70, 6)).astype(np.uint8), colour)
    yield "coalitions-per-item", Coalitions(labels, rng.integers(0, 2, (count, 3, 6)).astype(np.uint8), picture)
    whole = rng.integers(0, 9, layout.item).astype(np.int32)
    yield "coalitions-whole", Coalitions(whole, rng.integers(0, 2, (33, 9)).astype(np.uint8), colour, whole=True)
    cells = (min(3, plane[0]), *(min(7, n) for n in plane[1:]))
    yield "soft-grid", SoftGrid(2**63 + 5, 35, cells, 0.5, number, first=2**33)
    yield (
        "soft-grid-fine",
        SoftGrid(7, 4, plane if size < 200 else (plane[0] // 2 + 1, *(n // 3 + 1 for n in plane[1:])), 0.1, picture),
    )
    seeds = np.arange(count, dtype=np.uint64) + np.uint64(2**63)
    yield "soft-grid-per-item", SoftGrid(seeds, 5, cells, 0.5, colour)
    order = np.stack([rng.permutation(size) for _ in range(count)]).astype(np.int32).reshape(count, *layout.map_shape)
    counts = np.linspace(0, size, 5).astype(np.int64)
    yield "deletion", Ranked(order[0], counts, picture)
    yield "insertion-per-item", Ranked(order, counts, number, insert=True)
    masks = rng.random((count, 3, *layout.map_shape), np.float32)
    yield "full", Full(masks[0], number)
    yield "full-per-item", Full(masks, colour, per_item=True)


def grow(sample: Array, out: Array, source: Array, order: Array, draws: Array, weights: Array, slack: int) -> None:
    """Fill ``out`` uint8 ``[H, W, C]`` at ``order`` with pixels of the sample whose known surroundings are like theirs.

    ``source`` int32 ``[H, W]`` says where known pixels come from, -1 where none is yet. Of the candidates whose
    weighted squared distance is at most ``best + best * slack // 1000`` that number ``floor(u count)`` is taken.
    """
    half, window = len(weights) // 2, len(weights)
    views = np.lib.stride_tricks.sliding_window_view(sample.astype(np.int64), (window, window), axis=(0, 1))
    views = np.moveaxis(views, 2, -1)  # [h', w', W, W, C]
    padded = np.pad(out.astype(np.int64), ((half, half), (half, half), (0, 0)))
    known = np.pad(source >= 0, half)
    for place, u in zip(order.tolist(), draws.tolist(), strict=True):
        y, x = divmod(place, out.shape[1])
        there = slice(y, y + window), slice(x, x + window)
        mask = known[there] * weights.astype(np.int64)
        apart = (((views - padded[there]) ** 2).sum(axis=-1) * mask).sum(axis=(2, 3))
        fit = np.argwhere(apart <= apart.min() + apart.min() * slack // 1000)
        v, w = fit[min(len(fit) - 1, int(u * len(fit)))] + half
        source[y, x] = v * sample.shape[1] + w
        out[y, x] = padded[y + half, x + half] = sample[v, w]
        known[y + half, x + half] = True


def level(
    sample: Array,
    out: Array,
    source: Array,
    sample_above: Array,
    above: Array,
    source_above: Array,
    window: int,
    wide: int,
) -> None:
    """Settle one level of a pyramid, ``out`` uint8 ``[H, W, C]``: every candidate's distance, in plain loops.

    ``source_above`` is not needed for it: what kernels know of it only tells them earlier what is not the nearest.
    """
    half, reach, far = window // 2, wide // 2, sample.astype(np.int64)
    own = [(dy, dx) for dy in range(-half, 1) for dx in range(-half, half + 1) if (dy, dx) < (0, 0)]
    over = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)] if len(above) else []
    rows = [v for v in range(half, len(far)) if not over or reach <= v // 2 < len(sample_above) - reach]
    columns = [
        u for u in range(half, far.shape[1] - half) if not over or reach <= u // 2 < sample_above.shape[1] - reach
    ]
    v, u = (one.reshape(-1) for one in np.meshgrid(rows, columns, indexing="ij"))
    for y, x in np.ndindex(*source.shape):
        apart = np.zeros(len(v), np.int64)
        for dy, dx in own:
            if y + dy < 0 or not 0 <= x + dx < out.shape[1]:
                continue
            there = out[y + dy, x + dx].astype(np.int64)
            apart += ((far[v + dy, u + dx] - there) ** 2).sum(axis=1)
        for dy, dx in over:
            if not (0 <= y // 2 + dy < len(above) and 0 <= x // 2 + dx < above.shape[1]):
                continue
            there = above[y // 2 + dy, x // 2 + dx].astype(np.int64)
            apart += ((sample_above[v // 2 + dy, u // 2 + dx].astype(np.int64) - there) ** 2).sum(axis=1)
        best = int(apart.argmin())
        source[y, x] = v[best] * sample.shape[1] + u[best]
        out[y, x] = sample[v[best], u[best]]


def quilt(sample: Array, out: Array, draws: Array, block: int, overlap: int, slack: int) -> None:
    """Lay ``out`` with blocks of the sample, row by row, each cut where it differs least from what is there."""
    views = np.lib.stride_tricks.sliding_window_view(sample.astype(np.int64), (block, block), axis=(0, 1))
    views = np.moveaxis(views, 2, -1)
    step = block - overlap
    for i, j in np.ndindex(*draws.shape):
        there = out[i * step : i * step + block, j * step : j * step + block]
        shared = np.zeros((block, block), bool)
        shared[:overlap] |= i > 0
        shared[:, :overlap] |= j > 0
        apart = (((views - there) ** 2).sum(axis=-1) * shared).sum(axis=(2, 3))
        fit = np.argwhere(apart <= apart.min() + apart.min() * slack // 1000)
        v, u = fit[min(len(fit) - 1, int(draws[i, j] * len(fit)))]
        error = ((views[v, u] - there) ** 2).sum(axis=-1)
        fresh = np.ones((block, block), bool)
        if j > 0:
            fresh &= np.arange(block) >= _seam(error[:, :overlap])[:, None]
        if i > 0:
            fresh &= np.arange(block)[:, None] >= _seam(error[:overlap].T)
        there[fresh] = sample[v : v + block, u : u + block][fresh]


def _seam(error: Array) -> Array:
    """The path of least sum through an error ``[length, overlap]``, by at most one element from line to line."""
    total = error.copy()
    for i in range(1, len(total)):
        before = np.pad(total[i - 1], 1, constant_values=np.iinfo(np.int64).max // 2)
        total[i] += np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    cut = np.zeros(len(total), np.int64)
    cut[-1] = total[-1].argmin()
    for i in range(len(total) - 2, -1, -1):
        low = max(0, int(cut[i + 1]) - 1)
        cut[i] = low + total[i, low : cut[i + 1] + 2].argmin()
    return cut
