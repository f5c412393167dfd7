"""Edited copies of items, written by the kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Edits, SoftGrid, Untouched
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.native.calls import describe, rows_by_item
from xplain.native.device import DeviceEdits
from xplain.native.place import device_of
from xplain.native.views import elements, planes, spread
from xplain.native.volumes import is_volumetric, on_plane, parts

__all__ = ["fill"]

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


def _named(layout: Layout | None, edits: Edits, item: tuple[int, ...]) -> Layout:
    if layout is None and not isinstance(edits, Untouched) and not getattr(edits, "whole", False):
        raise UsageError(
            f"{type(edits).__name__} hide positions of items {list(item)}; say how their axes are named: ",
            option("layout"),
            ".",
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
