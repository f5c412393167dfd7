"""Weighted least squares whose coefficients know their error when the rows were drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array

__all__ = ["Fit", "contrast_fit", "quadratic_fit", "ridge_fit"]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Coefficients ``[S]`` and, per random row, how far it moved them ``[n, S]``.

    The squares of the deviations sum to the squared standard errors: the sandwich estimator in its jackknife form (each
    residual divided by one minus its leverage), which holds whatever the model does, since it does not believe that
    residuals are noise.
    """

    values: Array
    deviations: Array
    intercept: float = 0.0
    r2: float = 1.0


def contrast_fit(contrasts: Array, gains: Array, weights: Array, correction: Array, total: float | None = None) -> Fit:
    """Least squares of ``gains [n]`` on ``contrasts [n, S]`` of +1 and -1, the coefficients' sum fixed to ``total``.

    minimise  sum over k of weights[k] (gains[k] - contrasts[k] . values)^2   subject to  sum(values) = total

    Args:
        contrasts: A coalition minus its complement.
        gains: The coalition's worth minus its complement's.
        weights: Weight of each row.
        correction: Finite population correction of each row; 0 for rows that were sure to be asked.
        total: What the coefficients sum to; None leaves them free.
    """
    weighted = contrasts * weights[:, None]
    inverse = np.linalg.pinv(contrasts.T @ weighted, hermitian=True)
    right = weighted.T @ gains
    values = inverse @ right
    if total is not None:
        ones = inverse.sum(axis=1)
        share = ones / ones.sum() if ones.sum() else np.full(len(ones), 1 / len(ones))
        values = values + share * (total - values.sum())
        inverse = inverse - np.outer(share, ones)
    residuals = gains - contrasts @ values
    return Fit(values, _deviations(contrasts, weighted, residuals, inverse, correction))


def ridge_fit(rows: Array, scores: Array, weights: Array, penalty: float, correction: Array | None = None) -> Fit:
    """Weighted ridge regression with an intercept that is not penalised: lime's surrogate, as scikit-learn's ``Ridge``.

    minimise  sum over k of weights[k] (scores[k] - intercept - rows[k] . values)^2 + penalty * |values|^2
    """
    share = weights / weights.sum()
    # from the first score on, so that equal scores have no rounding left to explain
    middle, level = share @ rows, scores[0] + share @ (scores - scores[0])
    centred, gains = rows - middle, scores - level
    weighted = centred * weights[:, None]
    inverse = np.linalg.pinv(centred.T @ weighted + penalty * np.eye(rows.shape[1]), hermitian=True)
    values = inverse @ (weighted.T @ gains)
    residuals = gains - centred @ values
    sure = np.ones(len(rows)) if correction is None else correction
    spread = float(share @ gains**2)
    r2 = 1.0 - float(share @ residuals**2) / spread if spread > 0 else 1.0
    deviations = _deviations(centred, weighted, residuals, inverse, sure, share)
    return Fit(values, deviations, float(level - middle @ values), r2)


def _deviations(
    rows: Array, weighted: Array, residuals: Array, inverse: Array, correction: Array, share: Array | float = 0.0
) -> Array:
    """How far each random row moved the coefficients, ``[n, S]``: jackknife residuals through the normal equations.

    ``share`` is what the intercept adds to each row's leverage.
    """
    random = correction > 0
    if not random.any():
        return np.zeros((0, rows.shape[1]))
    leverage = np.clip((weighted @ inverse * rows).sum(axis=1) + share, 0.0, 0.99)
    moved = ((weighted * (residuals / (1 - leverage))[:, None]) @ inverse)[random]
    return np.asarray((moved - moved.mean(axis=0)) * correction[random][:, None])


def quadratic_fit(coalitions: Array, worths: Array, weights: Array, correction: Array, total: float) -> Fit:
    """Least squares of the worths of coalitions, and of their complements, by members and pairs of members.

    minimise  sum over k of weights[k] ( worths[k] - rows(T_k) . values )^2 over T_k and its complement, the values'
    sum fixed to ``total``; ``rows(T)`` is 1 for each member, then for each pair of members.

    Args:
        coalitions: 0 and 1, ``[n, S]``.
        worths: Of the coalition and of its complement, less that of nobody, ``[n, 2]``.
        weights: Weight of each pair of them.
        correction: Finite population correction of each; 0 for those that were sure to be asked.
        total: What the values sum to.

    Returns:
        Values ``[S + S (S - 1) / 2]``, and how far each random pair moved them.
    """
    left, right = np.triu_indices(coalitions.shape[1], 1)
    rows = np.stack([np.hstack([one, one[:, left] * one[:, right]]) for one in (coalitions, 1 - coalitions)], axis=1)
    flat, twice = rows.reshape(-1, rows.shape[2]), np.repeat(weights, 2)
    weighted = flat * twice[:, None]
    inverse = np.linalg.pinv(flat.T @ weighted, hermitian=True)
    values = inverse @ (weighted.T @ worths.reshape(-1))
    ones = inverse.sum(axis=1)
    share = ones / ones.sum() if ones.sum() else np.full(len(ones), 1 / max(1, len(ones)))
    values = values + share * (total - values.sum())
    inverse = inverse - np.outer(share, ones)
    random = correction > 0
    if not random.any():
        return Fit(values, np.zeros((0, len(values))))
    residuals = worths.reshape(-1) - flat @ values
    leverage = np.clip((weighted @ inverse * flat).sum(axis=1), 0.0, 0.99)
    moved = (weighted * (residuals / (1 - leverage))[:, None]) @ inverse
    moved = moved.reshape(len(rows), 2, -1).sum(axis=1)[random]  # a coalition and its complement were drawn together
    return Fit(values, np.asarray((moved - moved.mean(axis=0)) * correction[random][:, None]))
