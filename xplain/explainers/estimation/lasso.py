"""The Lasso's whole path, exactly: where features come in, and where they go out again.

As the penalty falls, the coefficients move along straight lines until a feature joins (its correlation with what is
left reaches the penalty) or leaves (its coefficient reaches zero): Osborne, Presnell and Turlach 2000,
doi:10.1093/imanum/20.3.389; Efron et al. 2004, doi:10.1214/009053604000000067, section 3.1. A grid of penalties steps
over stretches that are shorter than its steps.
"""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array

__all__ = ["lasso_supports"]

_TINY = 1e-12


def lasso_supports(gram: Array, right: Array) -> list[Array]:
    """Which features have a coefficient at each knot of the path, from the largest penalty to none.

    Args:
        gram: ``X^T X`` ``[S, S]``.
        right: ``X^T y`` ``[S]``.

    Returns:
        Ascending indices per knot; the first is empty.
    """
    size = len(right)
    scale = max(float(np.abs(right).max(initial=0.0)), np.finfo(float).tiny)
    values, active = np.zeros(size), list[int]()
    usable = np.diag(gram) > _TINY * np.diag(gram).max(initial=1.0)
    penalty, left = scale, -1
    found = [np.zeros(0, np.int64)]
    for _ in range(8 * size + 8):
        rest = right - gram @ values
        if left < 0:  # the feature whose correlation is largest joins; one that has just left does not
            waiting = usable.copy()
            waiting[active] = False
            if not waiting.any():
                break
            joins = int(np.argmax(np.where(waiting, np.abs(rest), -1.0)))
            if abs(rest[joins]) <= _TINY * scale:
                break
            if _depends(gram, active, joins):
                usable[joins] = False
                continue
            penalty = abs(float(rest[joins]))
            active.append(joins)
        signs = np.sign(rest[active])
        move = np.linalg.solve(gram[np.ix_(active, active)], signs)
        slopes = gram[:, active] @ move
        step, left = _next(values[active], move, rest, slopes, penalty, usable, active, left)
        values[active] += step * move
        penalty -= step
        if left >= 0:
            values[active[left]] = 0.0
            left = active.pop(left)
        found.append(np.flatnonzero(values))
        if penalty <= _TINY * scale or not active:
            break
    return found


def _depends(gram: Array, active: list[int], one: int) -> bool:
    """Whether a feature is a combination of those that have a coefficient."""
    if not active:
        return False
    across = gram[active, one]
    new = gram[one, one] - across @ np.linalg.lstsq(gram[np.ix_(active, active)], across, rcond=None)[0]
    return bool(new <= 1e-10 * gram[one, one])


def _next(
    values: Array, move: Array, rest: Array, slopes: Array, penalty: float, usable: Array, active: list[int], left: int
) -> tuple[float, int]:
    """How far the penalty falls until something happens, and the place in ``active`` that leaves, or -1."""
    step = penalty
    for k in np.flatnonzero(usable):
        if k in active:
            continue
        for sign in (1.0, -1.0):  # |rest - step * slope| = penalty - step
            gap, speed = penalty - sign * rest[k], 1.0 - sign * slopes[k]
            if k == left and gap <= 1e-9 * penalty:
                continue  # it stands at the bound that it has just left
            if speed > _TINY and 0.0 <= gap / speed < step:
                step = gap / speed
    out = -1
    with np.errstate(divide="ignore", invalid="ignore"):
        until = np.where(values * move < 0.0, -values / move, np.inf)
    if len(until) and until.min() < step:
        out = int(np.argmin(until))
        step = float(until[out])
    return float(step), out
