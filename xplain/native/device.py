"""Filling on a device: items, descriptions of edits and the model's input all stay there.

The caller owns the order of things. Everything runs in the stream it names, nothing is allocated or waited for inside
``DeviceEdits.fill``, and a fill of fixed rows can be captured in a CUDA graph. Arrays are anything that exports DLPack
and knows ``as_strided``: torch tensors, or ``DeviceArray`` where there is no torch.

    edits = DeviceEdits(edits, x.shape, layout, stream=stream.handle)
    edits.fill(x, start, stop, model_input, stream=stream.handle)     # then run the model in the same stream
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array, Edits, SoftGrid
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.native.calls import describe, grid_of, rows_by_item
from xplain.native.place import call, need_device_kernels, pack, upload
from xplain.native.volumes import is_volumetric

__all__ = ["DeviceEdits", "device_array", "stream"]


class DeviceEdits:
    """M edits per item whose description lies on a device; uploaded once, used for any number of chunks.

    Args:
        edits: What is changed.
        shape: Shape of the items, ``[N, *item]``.
        layout: How the item's axes are named.
        device: Number of the CUDA device.
        stream: CUDA stream that the upload is ordered in; 0 is the legacy default.

    Raises:
        UsageError: An array does not fit the items.
        MissingDependency: This build has no device kernels.
    """

    def __init__(
        self, edits: Edits, shape: tuple[int, ...], layout: Layout, *, device: int = 0, stream: int = 0
    ) -> None:
        if is_volumetric(edits, layout):
            raise UsageError("Windows and grids over volumes have no device kernels: fill on the host, then copy.")
        self._rows, self._edits = shape[0] * edits.count, edits.count
        self._grids: list[SoftGrid] = []
        if isinstance(edits, SoftGrid) and edits.per_item:
            every = rows_by_item(edits, shape[0], 0, self._rows)
            self._grids = [edits.alone(n, shape[0], len(shape)) for n, _ in every]
            edits = replace(edits, seed=0)
        self._layout = layout
        self._call = describe(shape, edits, layout, slice(0, shape[0]))
        arrays = list(self._call.arrays)
        if self._call.kernel == "occlude_coalitions":
            arrays[1] = pack(arrays[1])
        self._arrays = [upload(a, device, stream) if isinstance(a, np.ndarray) else a for a in arrays]
        fill = self._call.fill
        self._fill = None if fill is None else upload(self._logical_fill(fill), device, stream)

    def fill(
        self, x: Any, start: int, stop: int, out: Any, *, scale: Any = None, shift: Any = None, stream: int = 0
    ) -> None:
        """Writes rows ``start..stop`` into ``out``; the bits are those of ``xplain.native.fill``.

        Args:
            x: float32 items ``[N, *item]`` on the device, contiguous.
            start: First row of ``r = n * M + m``.
            stop: End of the rows.
            out: ``[>= stop - start, *item]`` on the device, contiguous.
            scale: float32 ``[C]`` on the device, with ``shift``: writes ``v * scale + shift``.
            shift: float32 ``[C]`` on the device.
            stream: CUDA stream to run in; 0 is the legacy default.

        Raises:
            UsageError: The rows are not there, or the tensors do not fit.
        """
        if not 0 <= start <= stop <= self._rows:
            raise UsageError(f"Rows {start}..{stop} are asked for; there are {self._rows}.")
        if start == stop:
            return
        source = self._see(x, x.shape[0])
        common = (source, source if self._fill is None else self._fill, scale, shift)
        kernel, options = getattr(_native, self._call.kernel), {**self._call.options, "stream": stream}
        if not self._grids:
            call(kernel, *common, self._see(out, stop - start), *self._arrays, **options, start=start)
            return
        at = start  # a kernel takes one seed, so rows go item by item
        while at < stop:
            item = at // self._edits
            end = min(stop, (item + 1) * self._edits)
            target = self._see(out, end - at, at - start)
            call(kernel, *common, target, grid_of(self._grids[item], self._layout.plane), **options, start=at)
            at = end

    def _shape(self, rows: int) -> tuple[int, int, int, int]:
        size = math.prod(self._layout.item)
        return (rows, 1, 1, size) if self._call.whole else (rows, self._layout.channels, *self._layout.plane)

    def _see(self, tensor: Any, rows: int, skipped: int = 0) -> Any:
        """A contiguous batch as the kernels' logical ``[N, C, H, W]``, without its first rows."""
        size = math.prod(self._layout.item)
        strides = (0, 0, 1) if self._call.whole else self._layout.strides
        if self._layout.plane[0] == 1 and not self._call.whole:
            strides = (strides[0], 0, strides[2])
        if not skipped:
            return tensor.as_strided(self._shape(rows), (size, *strides))
        begin = tensor.storage_offset() if hasattr(tensor, "storage_offset") else 0
        return tensor.as_strided(self._shape(rows), (size, *strides), begin + skipped * size)

    def _logical_fill(self, fill: Array) -> Array:
        from xplain.native.views import elements, spread

        return elements(fill) if self._call.whole else spread(fill, self._layout)


def device_array(shape: tuple[int, ...], dtype: str, device: int = 0) -> Any:
    """Uninitialised memory of a device, with ``pointer``, ``copy_from``, ``copy_to``, ``as_strided`` and DLPack."""
    need_device_kernels()
    return _native.DeviceArray(list(shape), dtype, device)


def stream(device: int = 0) -> Any:
    """A new CUDA stream with ``handle``, ``synchronize()`` and ``wait_for(handle)``; freed with the object."""
    need_device_kernels()
    return _native.Stream(device)
