"""Whether two methods say the same of an item. Agreement says that methods see alike, not that they are right."""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Share
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.metrics.maps import flat, mean_ranks, pearson

__all__ = ["rank_agreement", "sign_agreement", "topk_agreement"]

_PAPER = Paper("Krishna 2022", "arXiv:2202.01602")


@metric("rank-agreement", better="large", needs="pair", unit="correlation", range=(-1.0, 1.0), paper=_PAPER)
def rank_agreement(values: Array, others: Array) -> Array:
    """Spearman's correlation of the values: 1 for the same order of positions, 0 for orders that have no relation.

    Args:
        values: Maps ``[N, *map]``.
        others: Maps of the same items by another method, of the same shape.

    Returns:
        ``[N]``, -1..1; NaN where one map is constant.

    Cost:
        Nothing is asked.

    Source:
        Krishna et al., The Disagreement Problem in Explainable Machine Learning, 2022, section 3 (rank correlation).
    """
    first, second = _both(values, others)
    return pearson(mean_ranks(first), mean_ranks(second))


@metric("top-k-agreement", better="large", needs="pair", unit="share of the top", range=(0.0, 1.0), paper=_PAPER)
def topk_agreement(values: Array, others: Array, *, top: Share = 0.1) -> Array:
    """The share of the most important positions that two maps have in common; by chance it is ``top`` itself.

    Args:
        values: Maps ``[N, *map]``.
        others: Maps of the same items by another method, of the same shape.
        top: Share of positions that counts as the most important ones, at least one; ties go by position.

    Returns:
        ``[N]``, 0..1; NaN for a map with NaN.

    Cost:
        Nothing is asked.

    Source:
        Krishna et al. 2022, section 3 (feature agreement).
    """
    first, second = _both(values, others)
    return _shared(first, second, top, np.ones(first.shape, bool))


@metric("sign-agreement", better="large", needs="pair", unit="share of the top", range=(0.0, 1.0), paper=_PAPER)
def sign_agreement(values: Array, others: Array, *, top: Share = 0.1) -> Array:
    """The share of the positions with the largest sizes that two maps have in common, and with the same sign.

    Args:
        values: Maps ``[N, *map]``.
        others: Maps of the same items by another method, of the same shape.
        top: Share of positions that counts as the most important ones, at least one; ties go by position.

    Returns:
        ``[N]``, 0..1; NaN for a map with NaN.

    Cost:
        Nothing is asked.

    Source:
        Krishna et al. 2022, section 3 (sign agreement).
    """
    first, second = _both(values, others)
    return _shared(np.abs(first), np.abs(second), top, np.sign(first) == np.sign(second))


def _both(values: Array, others: Array) -> tuple[Array, Array]:
    if np.shape(values) != np.shape(others):
        raise UsageError(
            f"The explanations are {list(np.shape(values))} and {list(np.shape(others))}; accepted: two of the same "
            "items and positions, [N, *map] each."
        )
    return flat(values), flat(others)


def _shared(first: Array, second: Array, top: float, counted: Array) -> Array:
    count = max(1, round(top * first.shape[1]))
    known = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    best = []
    for rows in (first, second):
        mask = np.zeros(rows.shape, bool)
        np.put_along_axis(mask, np.argsort(-rows, axis=1, kind="stable")[:, :count], True, axis=1)
        best.append(mask)
    both = (best[0] & best[1] & counted).sum(axis=1) / count
    return np.where(known, both, np.nan)
