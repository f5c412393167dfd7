"""Filling on a device: items, descriptions of edits and the model's input all stay there.

The caller owns the order of things. Everything runs in the stream it names, nothing is allocated or waited for inside
``DeviceEdits.fill``, and a fill of fixed rows can be captured in a CUDA graph. Arrays are anything that exports DLPack
and knows ``as_strided``: torch tensors, or ``DeviceArray`` where there is no torch.

    edits = DeviceEdits(edits, x.shape, layout, stream=stream.handle)
    edits.fill(x, start, stop, model_input, stream=stream.handle)     # then run the model in the same stream
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array, Edits
from xplain.core.errors import UsageError
from xplain.core.layout import Layout
from xplain.native.perturb import describe
from xplain.native.place import call, need_device_kernels, pack, upload

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
        self._rows = shape[0] * edits.count
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
        common = (source, source if self._fill is None else self._fill, scale, shift, self._see(out, stop - start))
        kernel = getattr(_native, self._call.kernel)
        call(kernel, *common, *self._arrays, **self._call.options, start=start, stream=stream)

    def _shape(self, rows: int) -> tuple[int, int, int, int]:
        size = math.prod(self._layout.item)
        return (rows, 1, 1, size) if self._call.whole else (rows, self._layout.channels, *self._layout.plane)

    def _see(self, tensor: Any, rows: int) -> Any:
        """A contiguous batch as the kernels' logical ``[N, C, H, W]``."""
        size = math.prod(self._layout.item)
        strides = (0, 0, 1) if self._call.whole else self._layout.strides
        if self._layout.plane[0] == 1 and not self._call.whole:
            strides = (strides[0], 0, strides[2])
        return tensor.as_strided(self._shape(rows), (size, *strides))

    def _logical_fill(self, fill: Array) -> Array:
        from xplain.native.views import elements, planes

        return elements(fill) if self._call.whole else planes(fill, self._layout)


def device_array(shape: tuple[int, ...], dtype: str, device: int = 0) -> Any:
    """Uninitialised memory of a device, with ``pointer``, ``copy_from``, ``copy_to``, ``as_strided`` and DLPack."""
    need_device_kernels()
    return _native.DeviceArray(list(shape), dtype, device)


def stream(device: int = 0) -> Any:
    """A new CUDA stream with ``handle``, ``synchronize()`` and ``wait_for(handle)``; freed with the object."""
    need_device_kernels()
    return _native.Stream(device)
