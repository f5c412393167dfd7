"""Sums over the masks behind edits, without making a mask."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array, Coalitions, Edits, SoftGrid, Windows
from xplain.core.errors import NonFinite, UsageError
from xplain.native.calls import describe_sum, grid_of, rows_by_item
from xplain.native.place import call, contiguous_strides, device_of, empty, pack, reshape, strided, upload
from xplain.native.volumes import accumulate_volume, is_volumetric

__all__ = ["DeviceSums", "accumulate", "coverage", "soft_grid_cells"]


def accumulate(
    edits: Edits, weights: Any, plane: tuple[int, ...], *, power: int = 1, threads: int = 0, stream: int = 0
) -> Any:
    """Sum over m of ``weights[n, m] * mask[n, m]**power`` at every position, without making a mask.

    The mask of ``Windows`` is 1 where a window covers (hides), that of ``Coalitions``, ``SoftGrid``, ``Full`` the share
    that is kept, that of ``Untouched`` is 1. Sums are fixed point, or float64 in a fixed order: the same bits for any
    number of threads, on the CPU and on a device. Fixed point rounds a weight once, to ``2**-60`` of M times the
    largest of its map.

    Args:
        edits: M edits per item.
        weights: ``[N, M]`` or ``[N, M, K]``, finite; float64 is used, and needed on a CUDA device. There each call
            uploads the edits once more: keep a ``DeviceSums`` for many.
        plane: (H, W), or (D, H, W) of a volume; for labels per element the item's own shape.
        power: 1, or 2 for the sum of squares that a standard error needs.
        threads: On the CPU, at most so many; 0 means all that the process may use.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        float64 ``[N, *plane]`` or ``[N, K, *plane]``, where the weights are.

    Raises:
        UsageError: Arrays do not fit, or the edits are ``Ranked``, whose masks have no use as a sum.
        NonFinite: A weight is NaN or infinite. On a device, where nothing is waited for, its map becomes NaN instead.
    """
    where = device_of("accumulate", weights=weights)
    if where is not None and is_volumetric(edits):
        raise UsageError("Masks over volumes are summed on the host; pass numpy weights.")
    if where is not None:
        _check_weights(weights.shape, edits, power)
        sums = DeviceSums(edits, weights.shape[0], plane, power=power, device=where, stream=stream)
        return sums(weights, stream=stream)
    weights = np.asarray(weights, dtype=np.float64)
    _check_weights(weights.shape, edits, power)
    if not np.isfinite(weights).all():
        raise NonFinite("Cannot sum masks: a weight is NaN or infinite. Look at the model's scores.")
    if isinstance(edits, SoftGrid) and edits.per_item:
        by_item = rows_by_item(edits, len(weights), 0, weights.shape[0] * edits.count)
        own = [(edits.alone(n, len(weights), 0), weights[n : n + 1]) for n, _ in by_item]
        return np.concatenate([accumulate(one, part, plane, power=power, threads=threads) for one, part in own])
    per_kind = np.ascontiguousarray(weights.reshape(len(weights), edits.count, -1))
    if isinstance(edits, Windows | SoftGrid) and is_volumetric(edits):
        summed = accumulate_volume(edits, per_kind, tuple(plane), power)
        return summed.reshape(len(weights), *weights.shape[2:], *plane)
    flat = _flat(edits, plane)
    out = np.empty((len(weights), per_kind.shape[2], *flat))
    sum_ = describe_sum(edits, len(weights), flat)
    options = {"squared": power == 2} if "squared" in sum_.options else {}
    getattr(_native, sum_.kernel)(per_kind, out, *sum_.arrays, **options, threads=threads)
    return out.reshape(len(weights), *weights.shape[2:], *plane)


class DeviceSums:
    """``accumulate`` for edits whose description lies on a device: uploaded once, used for any number of chunks.

    A call with ``out`` and ``workspace`` neither allocates nor waits, and can be captured in a CUDA graph.

    Args:
        edits: M edits per item.
        items: N.
        plane: As for ``accumulate``.
        power: 1 or 2.
        device: Number of the CUDA device.
        stream: CUDA stream that the upload is ordered in; 0 is the legacy default.

    Raises:
        UsageError: An array does not fit the items.
        MissingDependency: This build has no device kernels.
    """

    def __init__(
        self, edits: Edits, items: int, plane: tuple[int, ...], *, power: int = 1, device: int = 0, stream: int = 0
    ) -> None:
        self._edits, self._plane, self._power = edits, tuple(plane), power
        self._flat = _flat(edits, plane)
        self._grids: list[Any] = []  # of each item, where each has a seed of its own
        if isinstance(edits, SoftGrid) and edits.per_item:
            every = rows_by_item(edits, items, 0, items * edits.count)
            self._grids = [grid_of(edits.alone(n, items, 0), self._flat) for n, _ in every]
            edits = replace(edits, seed=0)
        sum_ = describe_sum(edits, items, self._flat)
        self._kernel = sum_.kernel
        self._options = {"squared": power == 2} if "squared" in sum_.options else {}
        arrays = list(sum_.arrays)
        if isinstance(edits, Coalitions):
            arrays[1] = pack(arrays[1])
        self._arrays = [upload(a, device, stream) if isinstance(a, np.ndarray) else a for a in arrays]

    def __call__(self, weights: Any, out: Any = None, workspace: Any = None, *, stream: int = 0) -> Any:
        """The sums for ``weights`` float64 ``[N, M]`` or ``[N, M, K]``, contiguous, on the device.

        Args:
            weights: What each mask counts.
            out: float64 ``[N, *plane]`` or ``[N, K, *plane]`` to write; None makes one.
            workspace: float64 of ``workspace_size(weights)``; None makes one.
            stream: CUDA stream to run in; 0 is the legacy default.

        Returns:
            ``out``.
        """
        shape = tuple(weights.shape)
        _check_weights(shape, self._edits, self._power)
        if out is None:
            out = empty(weights, (shape[0], *shape[2:], *self._plane))
        device_of("accumulate", weights=weights, out=out, workspace=workspace)
        missing = self._run(weights, out, workspace, stream)
        if missing:
            self._run(weights, out, empty(weights, (missing,)), stream)
        return out

    def workspace_size(self, weights: Any, out: Any, *, stream: int = 0) -> int:
        """How many float64 a call with these needs as a workspace."""
        return 0 if self._kernel == "accumulate_full" else self._run(weights, out, None, stream)

    def _run(self, weights: Any, out: Any, workspace: Any, stream: int) -> int:
        per_kind = reshape(weights, (weights.shape[0], self._edits.count, math.prod(weights.shape[2:])))
        maps = reshape(out, (weights.shape[0], per_kind.shape[2], *self._flat))
        kernel = getattr(_native, self._kernel)
        if not self._grids:
            return int(call(kernel, per_kind, maps, *self._arrays, workspace, **self._options, stream=stream))
        missing = 0  # a kernel takes one seed; items go one after another, and share the workspace
        for n, grid in enumerate(self._grids):
            own, map_ = _one(per_kind, n), _one(maps, n)
            missing = max(missing, int(call(kernel, own, map_, grid, workspace, **self._options, stream=stream)))
        return missing


def _one(tensor: Any, item: int) -> Any:
    """One item of a contiguous tensor on a device."""
    shape = [1, *tensor.shape[1:]]
    start = tensor.storage_offset() if hasattr(tensor, "storage_offset") else 0
    return strided(tensor, shape, contiguous_strides(shape), start + item * math.prod(shape))


def coverage(edits: Edits, plane: tuple[int, ...], items: int = 1, *, threads: int = 0) -> Array:
    """Sum over m of the masks alone, float64 ``[items, *plane]``: how often, or how much, each position was covered."""
    return np.asarray(accumulate(edits, np.ones((items, edits.count)), plane, threads=threads))


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
    _native.soft_grid_cells(grid_of(description, plane), plane[0], plane[1], grid, shifts)
    return grid, shifts


def _check_weights(shape: tuple[int, ...], edits: Edits, power: int) -> None:
    if len(shape) not in (2, 3) or shape[1] != edits.count:
        raise UsageError(f"weights are {list(shape)}; accepted: [N, {edits.count}] or [N, {edits.count}, K].")
    if power not in (1, 2):
        raise UsageError(f"power is {power}; accepted: 1 or 2.")


def _flat(edits: Edits, plane: tuple[int, ...]) -> tuple[int, int]:
    """The plane as (H, W): labels per element, and items of other than two axes, are one row."""
    if len(plane) != 2 or (isinstance(edits, Coalitions) and edits.whole):
        return 1, math.prod(plane)
    return plane[0], plane[1]
