"""Edited copies of items, and the kernel calls behind a description of edits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array, Coalitions, Edits, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.layout import Layout
from xplain.native.place import device_of
from xplain.native.views import elements, planes, shared, spread
from xplain.native.volumes import is_volumetric, on_plane, parts

__all__ = ["Call", "describe", "describe_sum", "fill", "grid_of", "rows_by_item"]

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
    stream: int = 0,
) -> None:
    """Writes the edited rows ``start..stop`` of ``r = n * M + m`` into ``out``, without temporaries of picture size.

    Hard edits give ``x`` or ``fill`` exactly; soft ones ``fill * (1 - mask) + x * mask``, which is exact at mask 0 and
    1. The bits of a row depend neither on ``start`` and ``stop`` nor on ``threads``.

    Args:
        x: Items ``[N, *item]``, float32; on a CUDA device, so must be ``out``, ``scale`` and ``shift``, and each call
            uploads the edits once more: keep a ``xplain.native.device.DeviceEdits`` for many chunks.
        edits: What is changed, M edits per item.
        start: First row.
        stop: End of the rows, at most N * M.
        out: Rows ``[stop - start, *item]`` to write; any of the types that models take; may be a view.
        layout: How the item's axes are named; may be left out for edits that go by element or change nothing.
        scale: ``[C]`` float32; when given, what is written is ``v * scale + shift`` of the edited value.
        shift: ``[C]`` float32, with ``scale``.
        threads: On the CPU, at most so many; 0 means all that the process may use.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Raises:
        UsageError: An array does not fit the items, the rows are not there, ``out`` has a type no kernel writes, or
            tensors lie on different devices.
    """
    where = device_of("fill", x=x, out=out, scale=scale, shift=shift)
    if where is not None:
        from xplain.native.device import DeviceEdits

        shape = tuple(x.shape)
        there = DeviceEdits(edits, shape, _named(layout, edits, shape[1:]), device=where, stream=stream)
        there.fill(x, start, stop, out, scale=scale, shift=shift, stream=stream)
        return
    _check_batch(x, out, start, stop, edits.count)
    if start == stop:
        return
    if isinstance(edits, SoftGrid) and edits.per_item:
        for n, (left, right) in rows_by_item(edits, len(x), start, stop):
            first = n * edits.count
            own, target = edits.alone(n, len(x), x.ndim), out[left - start : right - start]
            part = left - first, right - first
            fill(x[n : n + 1], own, *part, target, layout, scale=scale, shift=shift, threads=threads)
        return
    if (scale is None) != (shift is None):
        raise UsageError("scale and shift go together; got one of them.")
    layout = _named(layout, edits, x.shape[1:])
    if is_volumetric(edits, layout):
        _fill_volumes(x, edits, start, stop, out, layout, scale=scale, shift=shift, threads=threads)
        return
    items = slice(start // edits.count, -(-stop // edits.count))
    rows = out.view(np.uint16) if out.dtype.name == "bfloat16" else out
    call = describe(x.shape, edits, layout, items)
    if call.whole and scale is not None:
        raise UsageError("Labels per element have no channels, so scale and shift cannot be applied. Pass x scaled.")
    see = elements if call.whole else (lambda batch: planes(batch, layout))
    source, target = see(x[items]), see(rows)
    colour = source if call.fill is None else elements(call.fill) if call.whole else spread(call.fill, layout)
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


def rows_by_item(edits: SoftGrid, items: int, start: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The rows ``start..stop`` item by item, for a kernel takes one seed.

    Raises:
        UsageError: there is not one seed per item.
    """
    if not isinstance(edits.seed, int) and edits.seed.shape != (items,):
        raise UsageError(f"SoftGrid.seed is {list(edits.seed.shape)}; accepted: a number, or one for each of {items}.")
    for n in range(start // edits.count, -(-stop // edits.count)):
        yield n, (max(start, n * edits.count), min(stop, (n + 1) * edits.count))


def _fill_volumes(x: Array, edits: Edits, start: int, stop: int, out: Array, layout: Layout, **options: Any) -> None:
    """A few rows at a time, in the kernels' words, and with the channels in front where they lie between positions."""
    axis = layout.channel_axis if not layout.folds else None
    plain = layout if axis is None else Layout("NC" + layout.axes[1:].replace("C", ""), _front(layout))
    for item, some, first, last in parts(edits, len(x), start, stop, layout):
        one, rows, told = x[item : item + 1], out[first - start : last - start], on_plane(some, layout.grid)
        if axis is None or getattr(told, "whole", False):
            fill(one, told, 0, last - first, rows, layout if axis is None else Layout.flat(layout.item), **options)
            continue
        if not isinstance(told, Untouched) and told.fill.ndim == x.ndim:
            told = replace(told, fill=np.ascontiguousarray(np.moveaxis(told.fill, axis, 1)))
        moved = np.empty((last - first, *plain.item), rows.dtype)
        fill(np.ascontiguousarray(np.moveaxis(one, axis, 1)), told, 0, last - first, moved, plain, **options)
        rows[...] = np.moveaxis(moved, 1, axis)


def _front(layout: Layout) -> tuple[int, ...]:
    return (layout.channels, *layout.map_shape)


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


def _named(layout: Layout | None, edits: Edits, item: tuple[int, ...]) -> Layout:
    if layout is None and not isinstance(edits, Untouched) and not getattr(edits, "whole", False):
        raise UsageError(
            f"{type(edits).__name__} hide positions of items {list(item)}; say how their axes are named: layout=."
        )
    return layout or Layout.flat(item)


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
