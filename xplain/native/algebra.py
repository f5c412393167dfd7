"""Orders of positions, and weighted least squares over coalitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.native.place import call, device_of, empty, reshape

__all__ = ["coalition_gram", "constrained_solve", "rank"]


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


def coalition_gram(keep: Array, weights: Array, *, threads: int = 0) -> Array:
    """``keep.T @ diag(weights) @ keep``, the left side of weighted normal equations.

    Where weights take few values, as Kernel SHAP's and LIME's do (they depend on the coalition's size), rows of equal
    weight are counted by bits, which is exact; else one product of float64 matrices.

    Args:
        keep: uint8 ``[M, S]``, 0 or 1.
        weights: ``[M]``, finite.
        threads: At most so many; 0 means all.

    Returns:
        float64 ``[S, S]``, exactly symmetric.

    Raises:
        UsageError: Shapes or types do not fit.
        NonFinite: A weight is NaN or infinite.
    """
    if keep.ndim != 2 or keep.dtype != np.uint8 or np.shape(weights) != (len(keep),):
        raise UsageError(
            f"coalition_gram got keep {keep.dtype} {list(keep.shape)} and weights {list(np.shape(weights))}; accepted: "
            "uint8 [M, S] and [M]."
        )
    weights = np.asarray(weights, np.float64)
    if not np.isfinite(weights).all():
        raise NonFinite("coalition_gram got a weight that is NaN or infinite.")
    values, group, counts = np.unique(weights, return_inverse=True, return_counts=True)
    words = -(-counts // 64)
    if words.sum() * 64 > 4 * len(keep) + 64:  # mostly padding: the weights are too various to count
        scaled = keep * weights[:, None]
        gram = scaled.T @ keep.astype(np.float64)
        return np.asarray((gram + gram.T) / 2)
    begin = np.concatenate([[0], np.cumsum(words)]).astype(np.int64)
    order = np.argsort(group, kind="stable")
    place = np.empty(len(keep), np.int64)
    within = np.arange(len(keep)) - np.repeat(np.cumsum(counts) - counts, counts)
    place[order] = 64 * np.repeat(begin[:-1], counts) + within
    columns = np.empty((keep.shape[1], int(begin[-1])), np.uint64)
    _native.pack_columns(keep, place, columns, threads=threads)
    gram = np.empty((keep.shape[1], keep.shape[1]))
    _native.count_gram(columns, begin, values, gram, threads=threads)
    return gram


def constrained_solve(gram: Array, right: Array, total: Array | None, *, threads: int = 0) -> Array:
    """Solves ``gram @ phi = right`` for symmetric positive matrices, with ``sum(phi) = total`` where it is given.

    With ``gram u = right`` and ``gram v = 1``, ``phi = u + v (total - sum u) / sum v`` minimises the weighted squared
    error under the constraint (Covert and Lee 2021, equation 7).

    Args:
        gram: float64 ``[B, S, S]``.
        right: float64 ``[B, S, K]``.
        total: float64 ``[B, K]``, or None for no constraint.
        threads: At most so many; 0 means all.

    Returns:
        float64 ``[B, S, K]``.

    Raises:
        UsageError: Shapes do not fit, or a matrix is singular: the samples do not tell some features apart.
    """
    batch, size, kinds = right.shape if right.ndim == 3 else (0, 0, -1)
    if gram.shape != (batch, size, size) or (total is not None and total.shape != (batch, kinds)):
        got = [list(gram.shape), list(right.shape), None if total is None else list(total.shape)]
        raise UsageError(f"constrained_solve got {got}; accepted: [B, S, S], [B, S, K] and [B, K] or None.")
    work = np.array(gram, np.float64)
    solution = np.ones((batch, kinds + 1, size))
    solution[:, :kinds] = np.moveaxis(right, 2, 1)
    bad = np.zeros(batch, np.int64)
    wanted = None if total is None else np.ascontiguousarray(total, np.float64)
    # below this share of the largest pivot a float64 Cholesky factor has no digits left
    least = 4 * size * float(np.finfo(np.float64).eps)
    _native.solve(work, solution, wanted, bad, least=least, threads=threads)
    if bad.any():
        which = int(np.flatnonzero(bad)[0])
        raise UsageError(
            f"The normal equations of item {which} are singular at feature {int(bad[which]) - 1}: the samples do not "
            "tell it from the ones before. Use more samples, fewer features or regularisation."
        )
    return np.ascontiguousarray(np.moveaxis(solution[:, :kinds], 1, 2))
