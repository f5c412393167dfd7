"""Orders of positions, and weighted least squares over coalitions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from xplain import _native
from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.native.gram import gram
from xplain.native.place import call, device_of, empty, reshape, strided, upload

__all__ = ["coalition_gram", "constrained_solve", "normal_equations", "rank"]


def rank(values: Any, *, threads: int = 0, stream: int = 0) -> Any:
    """The place of every value in descending order; 0 is the largest.

    Ties go to the lower index, -0 equals +0, and NaN comes last, so the order is the same on every machine.

    Args:
        values: Real numbers ``[N, *map]``, compared as float32; on a CUDA device float32 and contiguous.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        int32 of the same shape, where the values are; per item a permutation of ``0 .. size - 1``.

    Raises:
        UsageError: A single number, or a tensor of a device that is not float32 and contiguous.
    """
    if len(values.shape) < 1:
        raise UsageError("rank needs values [N, *map]; got a single number.")
    shape = values.shape[0], math.prod(values.shape[1:])
    if device_of("rank", values=values) is None:
        places = np.empty(shape, np.int32)
        flat = np.ascontiguousarray(values, np.float32).reshape(shape)
        _native.rank(flat, places, None, threads=threads)
        return places.reshape(values.shape)
    there = empty(values, shape, "int32")
    workspace = empty(values, (shape[0], 4, shape[1]), "int32")
    call(_native.rank, reshape(values, shape), there, workspace, stream=stream)
    return reshape(there, values.shape)


class _Groups(NamedTuple):
    """Rows put together by weight, 64 to a word: the row behind every bit, where groups begin, and their weights."""

    row_at: Array
    begin: Array
    values: Array


def coalition_gram(keep: Any, weights: Any, *, threads: int = 0, stream: int = 0) -> Any:
    """``keep.T @ diag(weights) @ keep``, the left side of weighted normal equations.

    Where weights take few values, as Kernel SHAP's and LIME's do (they depend on the coalition's size), rows of equal
    weight are counted by bits, which is exact; else it is one product of float64 matrices, or on a device the left side
    of ``normal_equations``.

    Args:
        keep: uint8 ``[M, S]``, 0 or 1.
        weights: ``[M]``, finite. Beside coalitions on a CUDA device they may be a numpy array, whose few values are
            then found on the host, or lie on the device as float64, where they are taken as various. Various weights of
            a device must not be negative: their roots are taken, and the result is NaN.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        float64 ``[S, S]``, exactly symmetric, where ``keep`` is.

    Raises:
        UsageError: Shapes or types do not fit, or weights of the host, too various to be counted, are negative beside
            coalitions on a device.
        NonFinite: A weight of the host's is NaN or infinite.
    """
    weights = weights if hasattr(weights, "shape") else np.asarray(weights)
    where = device_of("coalition_gram", keep=keep, weights=None if isinstance(weights, np.ndarray) else weights)
    _check("coalition_gram", keep, weights)
    groups = None
    if where is None or isinstance(weights, np.ndarray):
        weights = np.asarray(weights, np.float64)
        if not np.isfinite(weights).all():
            raise NonFinite("coalition_gram got a weight that is NaN or infinite.")
        groups = _grouped(weights)
    if groups is None:
        if where is not None:
            if isinstance(weights, np.ndarray) and (weights < 0).any():
                raise UsageError(
                    "coalition_gram got various weights on a device, some negative; accepted there: not negative. "
                    "Compute it on the CPU, or split the weights by sign."
                )
            there = upload(weights, where, stream) if isinstance(weights, np.ndarray) else weights
            return _various(keep, there, empty(keep, (keep.shape[0], 0), "float64"), stream)[0]
        scaled = keep * weights[:, None]
        product = scaled.T @ keep.astype(np.float64)
        return np.asarray((product + product.T) / 2)
    size, words = keep.shape[1], int(groups.begin[-1])
    if where is None:
        columns, counted = np.empty((size, words), np.uint64), np.empty((size, size))
        _native.pack_columns(keep, groups.row_at, columns, threads=threads)
        _native.count_gram(columns, groups.begin, groups.values, counted, threads=threads)
        return counted
    on_device = _Groups(*(upload(part, where, stream) for part in groups))
    columns, counted = empty(keep, (size, words), "uint64"), empty(keep, (size, size), "float64")
    call(_native.pack_columns, keep, on_device.row_at, columns, stream=stream)
    call(_native.count_gram, columns, on_device.begin, on_device.values, counted, stream=stream)
    return counted


def normal_equations(keep: Any, weights: Any, scores: Any, *, threads: int = 0, stream: int = 0) -> tuple[Any, Any]:
    """``keep.T @ W @ keep`` and ``keep.T @ W @ scores`` with ``W = diag(weights)``: weighted least squares' two sides.

    On a device both are parts of one Gram matrix, that of ``sqrt(W) [keep, scores]``, by tensor cores with float32
    factors split in two: 6e-7 of the largest entry, measured on the simulator. On the CPU they are float64.

    Args:
        keep: uint8 ``[M, S]``, 0 or 1.
        weights: float64 ``[M]``, finite and not negative.
        scores: float64 ``[M, K]``.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        float64 ``[S, S]`` and ``[S, K]``, ready for ``constrained_solve`` with an axis in front.

    Raises:
        UsageError: Shapes or types do not fit, or tensors lie on different devices.
        NonFinite: On the CPU, a weight is NaN or infinite. On a device, where nothing is waited for, such a weight or a
            negative one makes the sums of its row's features NaN.
    """
    where = device_of("normal_equations", keep=keep, weights=weights, scores=scores)
    _check("normal_equations", keep, weights)
    if len(scores.shape) != 2 or scores.shape[0] != keep.shape[0]:
        raise UsageError(f"normal_equations got scores {list(scores.shape)}; needed: [{keep.shape[0]}, K].")
    if where is not None:
        return _various(keep, weights, scores, stream)
    left = coalition_gram(keep, weights, threads=threads)
    return left, keep.astype(np.float64).T @ (np.asarray(weights, np.float64)[:, None] * scores)


def _various(keep: Any, weights: Any, scores: Any, stream: int) -> tuple[Any, Any]:
    rows, size, kinds = keep.shape[0], keep.shape[1], scores.shape[1]
    factors = empty(keep, (size + kinds, rows), "float32")
    call(_native.weighted_factors, keep, weights, scores, factors, stream=stream)
    (product,) = gram([factors], [1.0], stream=stream)
    left, right = empty(keep, (size, size), "float64"), empty(keep, (size, kinds), "float64")
    pitch = size + kinds
    call(_native.widen, strided(product, (size, size), (pitch, 1)), left, stream=stream)
    call(_native.widen, strided(product, (size, kinds), (pitch, 1), size), right, stream=stream)
    return left, right


def _grouped(weights: Array) -> _Groups | None:
    """Rows by weight, or None where the weights are too various: the words would be mostly padding."""
    values, group, counts = np.unique(weights, return_inverse=True, return_counts=True)
    words = -(-counts // 64)
    if words.sum() * 64 > 4 * len(weights) + 64:
        return None
    begin = np.concatenate([[0], np.cumsum(words)]).astype(np.int64)
    order = np.argsort(group, kind="stable")
    within = np.arange(len(weights)) - np.repeat(np.cumsum(counts) - counts, counts)
    row_at = np.full(64 * int(begin[-1]), -1, np.int64)
    row_at[64 * np.repeat(begin[:-1], counts) + within] = order
    return _Groups(row_at, begin, values)


def _check(kernel: str, keep: Any, weights: Any) -> None:
    if len(keep.shape) != 2 or _name(keep.dtype) != "uint8" or tuple(weights.shape) != (keep.shape[0],):
        raise UsageError(
            f"{kernel} got keep {_name(keep.dtype)} {list(keep.shape)} and weights {list(weights.shape)}; "
            "accepted: uint8 [M, S] and [M]."
        )


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def constrained_solve(gram: Any, right: Any, total: Any | None, *, threads: int = 0, stream: int = 0) -> Any:
    """Solves ``gram @ phi = right`` for symmetric positive matrices, with ``sum(phi) = total`` where it is given.

    With ``gram u = right`` and ``gram v = 1``, ``phi = u + v (total - sum u) / sum v`` minimises the weighted squared
    error under the constraint (Covert and Lee 2021, equation 7).

    Args:
        gram: float64 ``[B, S, S]``.
        right: float64 ``[B, S, K]``.
        total: float64 ``[B, K]``, or None for no constraint.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Returns:
        float64 ``[B, S, K]``, where the systems are. On a device, where nothing is waited for, a singular system's
        solution is NaN.

    Raises:
        UsageError: Shapes do not fit, tensors lie on different devices, or on the CPU a matrix is singular: the samples
            do not tell some features apart.
    """
    batch, size, kinds = right.shape if len(right.shape) == 3 else (0, 0, -1)
    if tuple(gram.shape) != (batch, size, size) or (total is not None and tuple(total.shape) != (batch, kinds)):
        got = [list(gram.shape), list(right.shape), None if total is None else list(total.shape)]
        raise UsageError(f"constrained_solve got {got}; accepted: [B, S, S], [B, S, K] and [B, K] or None.")
    # below this share of the largest pivot a float64 Cholesky factor has no digits left
    least = 4 * size * float(np.finfo(np.float64).eps)
    if device_of("constrained_solve", gram=gram, right=right, total=total) is not None:
        return _solve_there(gram, right, total, least, stream)
    work = np.array(gram, np.float64)
    solution = np.empty((batch, kinds + 1, size))
    solution[:, :kinds] = np.moveaxis(right, 2, 1)
    bad = np.zeros(batch, np.int64)
    wanted = None if total is None else np.ascontiguousarray(total, np.float64)
    _native.solve(work, solution, wanted, bad, least=least, threads=threads)
    if bad.any():
        which = int(np.flatnonzero(bad)[0])
        raise UsageError(
            f"The normal equations of item {which} are singular at feature {int(bad[which]) - 1}: the samples do not "
            "tell it from the ones before. Use more samples, fewer features or regularisation."
        )
    return np.ascontiguousarray(np.moveaxis(solution[:, :kinds], 1, 2))


def _solve_there(gram: Any, right: Any, total: Any | None, least: float, stream: int) -> Any:
    batch, size, kinds = right.shape
    work, solution = empty(gram, gram.shape), empty(gram, (batch, kinds + 1, size))
    bad, result = empty(gram, (batch,), "int64"), empty(gram, right.shape)
    per_kind = strided(solution, (batch, size, kinds), ((kinds + 1) * size, 1, size))
    call(_native.widen, gram, work, stream=stream)
    call(_native.widen, right, per_kind, stream=stream)
    call(_native.solve, work, solution, total, bad, least=least, stream=stream)
    call(_native.widen, per_kind, result, stream=stream)
    return result
