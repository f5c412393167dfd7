"""Activations as sums of few concepts: non-negative matrix factorisation, and what of an activation it leaves out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = ["Factors", "encoded", "factorised", "left_out"]

_STEPS = 1000
_TOLERANCE = 1e-5
_SETTLED = 1e-2
"""Of the slope at zero: how much may be left of it at a minimum."""


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """A bank of concepts, and how much of each every row holds.

    Args:
        coefficients: float64 ``[N, K]``, at least 0, in the unit of the rows.
        bank: float64 ``[K, D]``, at least 0, each of length 1.
        lost: Share of the rows' squares that is not in ``coefficients @ bank``.
        converged: Whether the slopes of both factors are next to nothing, where these may still go down.
    """

    coefficients: Array
    bank: Array
    lost: float
    converged: bool


def factorised(rows: Any, count: int, *, seed: int = 0) -> Factors:
    """A bank of ``count`` concepts that rows are sums of, none of them ever taken away.

    ``U, W = argmin |A - U W|^2`` over ``U >= 0, W >= 0`` by coordinate descent from two singular vectors' positive
    parts each; a local minimum. Rows of W have length 1, so that U is in the rows' unit. A concept that nothing needs
    is left out.

    Args:
        rows: A, real numbers ``[N, D]``, at least 0.
        count: K, at most N and D.
        seed: Of the randomised singular value decomposition that it starts from.

    Cost:
        N D K products for each of at most 1,000 steps.

    Raises:
        UsageError: a number below 0, fewer rows or columns than concepts, or rows that are all equal.
        NonFinite: NaN or infinity.
        MissingDependency: scikit-learn is not installed.

    Source:
        Lee and Seung, Learning the parts of objects by non-negative matrix factorization, Nature 1999; scikit-learn's
        NMF; as a bank of concepts Fel et al. 2023, arXiv:2211.10154.
    """
    given = np.asarray(rows)
    if given.ndim == 2 and len(given) > 1 and (given[1:] == given[0]).all():
        raise UsageError(
            f"All {len(given)} activations are equal, so there is nothing to take apart. Read another layer, or look "
            "at whether the pictures differ."
        )
    values = _positive(checked(given, 1, "activations"))
    if count > min(values.shape):
        raise UsageError(
            f"A bank of {count} concepts cannot be made of {values.shape[0]} activations of {values.shape[1]} numbers: "
            "there are at most as many concepts as of either.",
            option="concepts",
            got=count,
            accepted=f"1 to {min(values.shape)} here",
        )
    if len(values) == 1 and not values.any():
        raise UsageError("The one activation is zero, so it is a sum of nothing. Read another layer.")
    model = _model(count, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steps that ran out are told as ``converged``
        found = np.asarray(model.fit_transform(values), np.float64)
    bank = np.asarray(model.components_, np.float64)
    length = np.linalg.norm(bank, axis=1)
    used = (length > 0) & found.any(axis=0)
    bank, found = bank[used] / length[used, None], found[:, used] * length[used]
    return Factors(found, bank, left_out(values, found, bank), _settled(values, found, bank))


def encoded(rows: Any, bank: Array) -> Array:
    """How much of each concept of a bank other rows hold: ``argmin |A - U W|^2`` over ``U >= 0``, float64 ``[N, K]``.

    Args:
        rows: A, real numbers ``[N, D]``, at least 0.
        bank: W ``[K, D]``.
    """
    values = _positive(np.asarray(rows, np.float64))
    model = _model(len(bank), 0)
    model.components_, model.n_components_, model.n_features_in_ = bank, len(bank), bank.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.transform(values), np.float64)


def left_out(rows: Any, coefficients: Array, bank: Array) -> float:
    """The share of the rows' squares that is not in ``coefficients @ bank``; 0 where the rows are zero."""
    values = np.asarray(rows, np.float64)
    whole = float((values**2).sum())
    return float(((values - coefficients @ bank) ** 2).sum() / whole) if whole else 0.0


def _settled(values: Array, found: Array, bank: Array) -> bool:
    """Whether no small change of either factor would bring the rest down: the conditions of a minimum, relative."""
    rest = found @ bank - values
    for factor, slope, size in ((found, rest @ bank.T, values @ bank.T), (bank, found.T @ rest, found.T @ values)):
        free = np.where(factor > 0, slope, np.minimum(slope, 0))
        if np.linalg.norm(free) > _SETTLED * np.linalg.norm(size):
            return False
    return True


def _positive(values: Array) -> Array:
    lowest = float(values.min(initial=0))
    if lowest < 0:
        raise UsageError(
            f"An activation is {lowest:.3g}, and sums of concepts are never below 0: read a layer whose values are not."
        )
    return np.ascontiguousarray(values, np.float64)


def _model(count: int, seed: int) -> Any:
    try:
        from sklearn.decomposition import NMF
    except ImportError:
        raise MissingDependency("Concepts are factored by scikit-learn: pip install 'xplain[see]'.") from None
    return NMF(count, init="nndsvda", solver="cd", tol=_TOLERANCE, max_iter=_STEPS, random_state=seed)
