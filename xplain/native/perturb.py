"""Edited copies of items, and sums over the masks behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import NonFinite, UsageError
from xplain.core.layout import Layout
from xplain.native.views import elements, planes, shared

__all__ = ["Call", "accumulate", "coverage", "describe", "fill", "soft_grid_cells"]

_OUTPUTS = "float32, float16, float64, uint8, bfloat16 (as ml_dtypes.bfloat16 or as uint16 bits)"


def fill(
    x: Array,
    edits: Edits,
    start: int,
    stop: int,
    out: Array,
    layout: Layout | None = None,
    *,
    scale: Array | None = None,
    shift: Array | None = None,
    threads: int = 0,
) -> None:
    """Writes the edited rows ``start..stop`` of ``r = n * M + m`` into ``out``, without temporaries of picture size.

    Hard edits give ``x`` or ``fill`` exactly; soft ones ``fill * (1 - mask) + x * mask``, which is exact at mask 0 and
    1. The bits of a row depend neither on ``start`` and ``stop`` nor on ``threads``.

    Args:
        x: Items ``[N, *item]``, float32.
        edits: What is changed, M edits per item.
        start: First row.
        stop: End of the rows, at most N * M.
        out: Rows ``[stop - start, *item]`` to write; any of the types that models take; may be a view.
        layout: How the item's axes are named; None guesses it from the shape.
        scale: ``[C]`` float32; when given, what is written is ``v * scale + shift`` of the edited value.
        shift: ``[C]`` float32, with ``scale``.
        threads: At most so many; 0 means all that the process may use.

    Raises:
        UsageError: An array does not fit the items, the rows are not there, or ``out`` has a type no kernel writes.
    """
    _check_batch(x, out, start, stop, edits.count)
    if start == stop:
        return
    if (scale is None) != (shift is None):
        raise UsageError("scale and shift go together; got one of them.")
    layout = layout or Layout.guess(x.shape[1:])
    items = slice(start // edits.count, -(-stop // edits.count))
    rows = out.view(np.uint16) if out.dtype.name == "bfloat16" else out
    call = describe(x.shape, edits, layout, items)
    if call.whole and scale is not None:
        raise UsageError("Labels per element have no channels, so scale and shift cannot be applied. Pass x scaled.")
    see = elements if call.whole else (lambda batch: planes(batch, layout))
    source, target = see(x[items]), see(rows)
    colour = source if call.fill is None else see(call.fill)
    getattr(_native, call.kernel)(
        source,
        colour,
        scale,
        shift,
        target,
        *call.arrays,
        **call.options,
        start=start - items.start * edits.count,
        threads=threads,
    )


@dataclass(frozen=True)
class Call:
    """A kernel's name, the fill (None: the items themselves), its arrays with an item axis, and its options."""

    kernel: str
    fill: Array | None
    arrays: tuple[Any, ...]
    options: dict[str, Any]
    whole: bool = False


def describe(shape: tuple[int, ...], edits: Edits, layout: Layout, items: slice) -> Call:
    """The call that fills rows of ``items`` of a batch of ``shape``; arrays are views, stride 0 where shared."""
    count, plane = shape[0], layout.plane
    if isinstance(edits, Untouched):
        return Call("occlude_windows", None, (np.zeros((items.stop - items.start, 1, 4), np.int32),), {})
    colour = _colour(shape, edits, items)
    match edits:
        case Windows():
            boxes = shared(np.ascontiguousarray(edits.boxes), items, count, edits.boxes.ndim == 3, "Windows.boxes")
            return Call("occlude_windows", colour, (boxes,), {})
        case Coalitions():
            plane = (1, math.prod(layout.item)) if edits.whole else plane
            arrays = _coalitions(edits, count, items, plane)
            return Call("occlude_coalitions", colour, arrays, {"samples": edits.count}, edits.whole)
        case SoftGrid():
            return Call("occlude_soft_grid", colour, (_grid(edits, plane),), {"samples": edits.samples})
        case Ranked():
            rank = _positions(edits.rank, count, items, plane, "Ranked.rank")
            return Call("occlude_ranked", colour, (rank, edits.counts), {"insert": edits.insert})
        case Full():
            return Call("occlude_full", colour, (_masks(edits, count, items, plane),), {})


def accumulate(edits: Edits, weights: Array, plane: tuple[int, ...], *, power: int = 1, threads: int = 0) -> Array:
    """Sum over m of ``weights[n, m] * mask[n, m]**power`` at every position, without making a mask.

    The mask of ``Windows`` is 1 where a window covers (hides), that of ``Coalitions``, ``SoftGrid``, ``Full`` the share
    that is kept, that of ``Untouched`` is 1. Sums are float64 or fixed point in a fixed order: the same bits for any
    number of threads.

    Args:
        edits: M edits per item.
        weights: ``[N, M]`` or ``[N, M, K]``, finite; float64 is used.
        plane: (H, W); for labels per element the item's own shape.
        power: 1, or 2 for the sum of squares that a standard error needs.
        threads: At most so many; 0 means all that the process may use.

    Returns:
        float64 ``[N, *plane]`` or ``[N, K, *plane]``.

    Raises:
        UsageError: Arrays do not fit, or the edits are ``Ranked``, whose masks have no use as a sum.
        NonFinite: A weight is NaN or infinite.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim not in (2, 3) or weights.shape[1] != edits.count:
        raise UsageError(f"weights are {list(weights.shape)}; accepted: [N, {edits.count}] or [N, {edits.count}, K].")
    if power not in (1, 2):
        raise UsageError(f"power is {power}; accepted: 1 or 2.")
    if not np.isfinite(weights).all():
        raise NonFinite("Cannot sum masks: a weight is NaN or infinite. Look at the model's scores.")
    count = len(weights)
    per_kind = np.ascontiguousarray(weights.reshape(count, edits.count, -1))
    shape = tuple(plane)
    if len(shape) != 2 or (isinstance(edits, Coalitions) and edits.whole):
        plane = (1, math.prod(shape))
    out = np.empty((count, per_kind.shape[2], *plane))
    everything = slice(0, count)
    match edits:
        case Untouched():
            out[...] = per_kind.sum(axis=1)[:, :, None, None]
        case Windows():
            boxes = shared(np.ascontiguousarray(edits.boxes), everything, count, edits.boxes.ndim == 3, "Windows.boxes")
            _native.accumulate_windows(per_kind, out, boxes, threads=threads)
        case Coalitions():
            labels, keep = _coalitions(edits, count, everything, plane)
            _native.accumulate_coalitions(per_kind, out, labels, keep, threads=threads)
        case SoftGrid():
            _native.accumulate_soft_grid(per_kind, out, _grid(edits, plane), squared=power == 2, threads=threads)
        case Full():
            masks = _masks(edits, count, everything, plane)
            _native.accumulate_full(per_kind, out, masks, squared=power == 2, threads=threads)
        case Ranked():
            raise UsageError("The masks of Ranked edits are nested and have no use as a sum. Use their scores.")
    return out.reshape(count, *weights.shape[2:], *shape)


def coverage(edits: Edits, plane: tuple[int, ...], items: int = 1, *, threads: int = 0) -> Array:
    """Sum over m of the masks alone, float64 ``[items, *plane]``: how often, or how much, each position was covered."""
    return accumulate(edits, np.ones((items, edits.count)), plane, threads=threads)


def soft_grid_cells(
    seed: int, first: int, count: int, cells: tuple[int, int], keep: float, plane: tuple[int, int]
) -> tuple[Array, Array]:
    """The random numbers behind ``SoftGrid`` masks ``first .. first + count``.

    Args:
        seed: Key of the counter-based generator.
        first: Number of the first mask.
        count: How many masks.
        cells: Cells per axis, (rows, columns).
        keep: Probability that a cell is kept.
        plane: (H, W).

    Returns:
        Cells uint8 ``[count, rows + 1, columns + 1]`` and shifts int32 ``[count, 2]`` as (y, x), each below the size of
        a cell, ``ceil(H / rows)`` and ``ceil(W / columns)``.
    """
    grid = np.empty((count, cells[0] + 1, cells[1] + 1), np.uint8)
    shifts = np.empty((count, 2), np.int32)
    description = SoftGrid(seed, count, cells, keep, np.zeros(1, np.float32), first)
    _native.soft_grid_cells(_grid(description, plane), plane[0], plane[1], grid, shifts)
    return grid, shifts


def _check_batch(x: Array, out: Array, start: int, stop: int, edits: int) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim < 2:
        got = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__
        raise UsageError(f"Items are {got}; accepted: a numpy array [N, *item] of float32.")
    if not 0 <= start <= stop <= len(x) * edits:
        raise UsageError(f"Rows {start}..{stop} are asked for; there are {len(x)} items x {edits} edits.")
    if out.shape != (stop - start, *x.shape[1:]):
        raise UsageError(f"out is {list(out.shape)}; needed: {[stop - start, *x.shape[1:]]}.")
    if out.dtype.name not in ("float32", "float16", "float64", "uint8", "uint16", "bfloat16"):
        raise UsageError(f"out is {out.dtype.name}; accepted: {_OUTPUTS}.")


def _colour(shape: tuple[int, ...], edits: Windows | Coalitions | SoftGrid | Ranked | Full, items: slice) -> Array:
    """The fill of the items wanted, seen with the items' own shape (stride 0 where it is shared)."""
    given = np.asarray(edits.fill, np.float32)
    if given.ndim == len(shape) and given.shape[0] == shape[0] > 1:
        given = given[items]
    try:
        return np.broadcast_to(given, (items.stop - items.start, *shape[1:]))
    except ValueError as error:
        raise UsageError(
            f"The fill of {type(edits).__name__} is {list(given.shape)}, which does not broadcast against items "
            f"{list(shape)}. Give each axis 1 or its full extent."
        ) from error


def _positions(array: Array, count: int, items: slice, plane: tuple[int, ...], what: str) -> Array:
    """Per-position values ``[*plane]`` or ``[N, *plane]`` as ``[N, H, W]``; any shape of the right size is taken."""
    size = plane[0] * plane[1]
    if array.size == size:
        return shared(array.reshape(plane), items, count, False, what)
    if array.size == size * count and array.shape[0] == count:
        return shared(array.reshape(count, *plane), items, count, True, what)
    raise UsageError(
        f"{what} is {list(array.shape)}; needed: one value per position of {list(plane)}, or that per item."
    )


def _coalitions(edits: Coalitions, count: int, items: slice, plane: tuple[int, ...]) -> tuple[Array, Array]:
    labels = _positions(edits.labels, count, items, plane, "Coalitions.labels")
    if edits.labels.size and int(edits.labels.max()) >= edits.features:
        raise UsageError(
            f"Coalitions.labels go up to {int(edits.labels.max())}, but keep has {edits.features} features; accepted: "
            f"-1 (never hidden) to {edits.features - 1}."
        )
    return labels, shared(edits.keep, items, count, edits.keep.ndim == 3, "Coalitions.keep")


def _masks(edits: Full, count: int, items: slice, plane: tuple[int, ...]) -> Array:
    lead = (count, edits.count) if edits.per_item else (edits.count,)
    if edits.masks.size != np.prod(lead) * plane[0] * plane[1]:
        raise UsageError(f"Full.masks are {list(edits.masks.shape)}; needed: {[*lead, *plane]}.")
    return shared(edits.masks.reshape(*lead, *plane), items, count, edits.per_item, "Full.masks")


def _grid(edits: SoftGrid, plane: tuple[int, ...]) -> tuple[int, int, int, int, float]:
    rows, cols = edits.cells
    if not (1 <= rows <= plane[0] and 1 <= cols <= plane[1]):
        raise UsageError(f"SoftGrid.cells are {rows} x {cols}; accepted: 1 to {plane[0]} x 1 to {plane[1]}.")
    if not 0 <= edits.keep <= 1:
        raise UsageError(f"SoftGrid.keep is {edits.keep}; accepted: a probability in [0, 1].")
    if not 0 <= edits.seed < 2**64 or not 0 <= edits.first < 2**62:
        raise UsageError(f"SoftGrid.seed is {edits.seed}, first is {edits.first}; accepted: 0..2**64-1 and 0..2**62-1.")
    return edits.seed, edits.first, rows, cols, edits.keep
