"""The kernel call that a description of edits stands for: the kernel, its arrays and its options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.native.views import shared

__all__ = ["Call", "describe", "describe_sum", "grid_of", "rows_by_item"]


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
            return Call("occlude_soft_grid", colour, (grid_of(edits, plane),), {"samples": edits.samples})
        case Ranked():
            rank = _positions(edits.rank, count, items, plane, "Ranked.rank")
            return Call("occlude_ranked", colour, (rank, edits.counts), {"insert": edits.insert})
        case Full():
            return Call("occlude_full", colour, (_masks(edits, count, items, plane),), {})


def describe_sum(edits: Edits, count: int, plane: tuple[int, ...]) -> Call:
    """The call that adds up the masks of ``edits`` for ``count`` items; ``Untouched`` is that of one whole window."""
    everything = slice(0, count)
    match edits:
        case Untouched():
            box = np.array([[[0, 0, *plane]]], np.int32)
            return Call("accumulate_windows", None, (np.broadcast_to(box, (count, 1, 4)),), {})
        case Windows():
            boxes = shared(np.ascontiguousarray(edits.boxes), everything, count, edits.boxes.ndim == 3, "Windows.boxes")
            return Call("accumulate_windows", None, (boxes,), {})
        case Coalitions():
            return Call("accumulate_coalitions", None, _coalitions(edits, count, everything, plane), {}, edits.whole)
        case SoftGrid():
            return Call("accumulate_soft_grid", None, (grid_of(edits, plane),), {"squared": False})
        case Full():
            return Call("accumulate_full", None, (_masks(edits, count, everything, plane),), {"squared": False})
        case Ranked():
            raise UsageError("The masks of Ranked edits are nested and have no use as a sum. Use their scores.")


def rows_by_item(edits: SoftGrid, items: int, start: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The rows ``start..stop`` item by item, for a kernel takes one seed.

    Raises:
        UsageError: there is not one seed per item.
    """
    if not isinstance(edits.seed, int) and edits.seed.shape != (items,):
        raise UsageError(f"SoftGrid.seed is {list(edits.seed.shape)}; accepted: a number, or one for each of {items}.")
    for n in range(start // edits.count, -(-stop // edits.count)):
        yield n, (max(start, n * edits.count), min(stop, (n + 1) * edits.count))


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


def grid_of(edits: SoftGrid, plane: tuple[int, ...]) -> tuple[int, int, int, int, float]:
    """Soft grids as the kernels take them: seed, number of the first mask, rows, columns, probability to keep."""
    rows, cols = edits.cells
    if not isinstance(edits.seed, int):
        raise UsageError("These SoftGrid masks are each item's own; ask item by item, with SoftGrid.alone.")
    if not (1 <= rows <= plane[0] and 1 <= cols <= plane[1]):
        raise UsageError(f"SoftGrid.cells are {rows} x {cols}; accepted: 1 to {plane[0]} x 1 to {plane[1]}.")
    if not 0 <= edits.keep <= 1:
        raise UsageError(f"SoftGrid.keep is {edits.keep}; accepted: a probability in [0, 1].")
    if not 0 <= edits.seed < 2**64 or not 0 <= edits.first < 2**62:
        raise UsageError(f"SoftGrid.seed is {edits.seed}, first is {edits.first}; accepted: 0..2**64-1 and 0..2**62-1.")
    return edits.seed, edits.first, rows, cols, edits.keep
