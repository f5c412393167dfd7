"""Have scores or explanations moved between two runs, dates or sites? Two-sample tests, with labels permuted.

Scores and explanations are tested apart: a camera that is replaced can move the reasons weeks before it costs accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.analyses.chance import holm, permuted_p, relabelled
from xplain.analyses.enough import drawn, number, small_groups, too_few
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

__all__ = ["LEAST", "Distance", "apart", "drift"]

Distance: TypeAlias = Literal["energy", "hellinger"]

LEAST = 20
"""Items on either side below which nothing is tested."""

_PAIRS = 1000
"""Items of a side of which all pairs are compared."""

_MEANS = 20000
"""Items of a side whose means are compared."""


def apart(
    before: Any, after: Any, distance: Distance = "energy", *, draws: int = 999, seed: int = 0
) -> tuple[float, float]:
    """How far apart two samples lie, and the chance that one source gives two as far apart.

    * ``energy``: ``2 E|x - y| - E|x - x'| - E|y - y'|`` over all pairs, each number first divided by its standard
      deviation in both samples together. Sees any difference of distributions. For scores.
    * ``hellinger``: the squared maximum mean discrepancy with the kernel ``k(p, q) = sum_i sqrt(p_i q_i)`` of shares,
      which is ``|mean sqrt(p) - mean sqrt(q)|^2``: no pairs are needed. For maps as shares of cells.

    Args:
        before: ``[N, D]``; of ``hellinger`` shares, which are not negative.
        after: ``[M, D]``.
        distance: Which of the two. More rows than 1,000 a side (20,000 for ``hellinger``) are drawn from.
        draws: Permutations; the smallest p is ``1 / (draws + 1)``.
        seed: Root of all randomness.

    Returns:
        The distance, 0 and above, and p.

    Raises:
        UsageError: fewer than two rows, different widths, or negative shares.

    Source:
        Szekely and Rizzo, Energy Statistics, J. Statistical Planning and Inference 143, 2013. Gretton et al., A Kernel
        Two-Sample Test, JMLR 13, 2012; the kernel is Bhattacharyya's.
    """
    one, other = (np.asarray(side, np.float64).reshape(len(side), -1) for side in (before, after))
    if min(len(one), len(other)) < 2 or one.shape[1] != other.shape[1] or not one.shape[1]:
        raise UsageError(
            f"The samples are {list(one.shape)} and {list(other.shape)}; accepted: two rows, of one width."
        )
    most = _PAIRS if distance == "energy" else _MEANS
    one, other = (side[drawn(np.zeros(len(side)), most, seed)] for side in (one, other))
    rows, inside = np.concatenate([one, other]), np.arange(len(one) + len(other)) < len(one)
    if not np.isfinite(rows).all():
        raise UsageError("The samples hold NaN or infinity. Leave out what failed.")
    if distance == "hellinger":
        if (rows < 0).any():
            raise UsageError("The shares hold negative numbers; accepted: shares of positive mass, 0 and above.")
        observed, null = _means(np.sqrt(rows), inside, draws, seed)
    else:
        spread = rows.std(axis=0)
        observed, null = _pairs(rows / np.where(spread > 0, spread, 1), inside, draws, seed)
    return observed, permuted_p(observed, null)


def drift(
    before: Any,
    after: Any,
    groups: tuple[Sequence[Any], Sequence[Any]],
    *,
    what: Literal["scores", "explanations"],
    items: Any = None,
    names: tuple[str, str] = ("before", "after"),
    seed: int = 0,
) -> list[Finding]:
    """Test each class, and all items together, for a change between two samples; p corrected by Holm over all tests.

    Args:
        before: ``[N, D]`` scores, or shares of maps ``[N, g, g]``; rows with NaN are left out.
        after: ``[M, ...]`` likewise.
        groups: Each item's class, of both samples.
        what: ``scores`` (energy distance) or ``explanations`` (Hellinger kernel).
        items: Numbers of the items of ``after``; None for 0, 1, ...
        names: What both samples are called.
        seed: Root of all randomness.

    Returns:
        All items first, then classes by p. A change at p <= 0.01 is a candidate: it says that something moved, not
        what.
    """
    sides = [np.asarray(side, np.float64).reshape(len(side), -1) for side in (before, after)]
    good = [np.flatnonzero(np.isfinite(side).all(axis=1)) for side in sides]
    own = [np.asarray([str(one) for one in given])[some] for given, some in zip(groups, good, strict=True)]
    numbers = (np.arange(len(sides[1])) if items is None else np.asarray(items, np.int64))[good[1]]
    sides = [side[some] for side, some in zip(sides, good, strict=True)]
    if min(len(side) for side in sides) < LEAST:
        return [too_few("drift", "", min(len(side) for side in sides), LEAST, f"{what} on one side")]
    kinds = sorted({str(one) for side in own for one in side})
    places = [(kind, [np.flatnonzero(side == kind) for side in own]) for kind in kinds]
    least = {kind: min(len(rows) for rows in both) for kind, both in places}
    tests = [("", [np.arange(len(side)) for side in sides])]
    tests += [(kind, both) for kind, both in places if least[kind] >= LEAST and len(kinds) > 1]
    draws = min(19999, max(999, 100 * len(tests) - 1))  # so that p <= 0.01 can be reached after Holm
    distance: Distance = "energy" if what == "scores" else "hellinger"
    pairs = [(sides[0][one], sides[1][other]) for _, (one, other) in tests]
    measured = [apart(one, other, distance, draws=draws, seed=seed) for one, other in pairs]
    p = holm([chance for _, chance in measured])
    found = []
    for k, (kind, (_, rows)) in enumerate(tests):
        made = _told(what, names, pairs[k], measured[k][0], float(p[k]), numbers[rows])
        floor = f"Corrected for {len(tests)} tests; with {draws:,} permutations no p is below "
        limits = (*made.limits, floor + f"{number(len(tests) / (draws + 1))}.")
        means = {
            name: made.evidence[name].reshape(np.shape(after)[1:]) for name in ("before", "after")
        }  # maps stay maps
        text = made.statement.replace(" of all items ", f" of {kind} ") if kind else made.statement
        evidence = {**made.evidence, **means}
        found.append(replace(made, group=kind, statement=text, limits=limits, evidence=evidence))
    found[1:] = sorted(found[1:], key=lambda one: (one.p or 0, -(one.effect or 0)))
    return found + small_groups("drift", least, LEAST, f"{what} on one side")


def _told(
    what: str, names: tuple[str, str], sides: tuple[Array, Array], far: float, p: float, numbers: Array
) -> Finding:
    """The finding of all items; whose it is and how many tests there were is said by whoever knows."""
    moved = p <= 0.01
    unit = "energy distance" if what == "scores" else "squared MMD (Hellinger kernel)"
    said = "differ" if moved else "show no difference"
    text = f"{what.capitalize()} of all items {said} between {names[0]} and {names[1]} (p = {number(p)})."
    means = [side.mean(axis=0) for side in sides]
    away = (sides[1] - means[0]) @ (means[1] - means[0])  # items that lie furthest along the change
    limits = ["It says that something changed, not what, nor that it is worse: new weather is drift too."]
    if not moved:
        limits.append("No difference seen is no proof of none: a change of few items needs more items to be seen.")
    return Finding(
        *("drift", "", text, "candidate" if moved else "measured", far, unit, None, p),
        count=sum(map(len, sides)),
        members=numbers[np.argsort(-away, kind="stable")[:24]] if moved else np.zeros(0, np.int64),
        evidence={"what": what, "before": means[0], "after": means[1]},
        limits=tuple(limits),
    )


def _means(rows: Array, inside: Array, draws: int, seed: int) -> tuple[float, Array]:
    """``|mean of the one - mean of the other|^2``, as it is and under permuted labels."""
    small, total = rows.astype(np.float32), rows.sum(axis=0)
    one, other = int(inside.sum()), int((~inside).sum())

    def far(block: Array) -> Array:
        sums = (block @ small).astype(np.float64)
        return np.asarray(((sums / one - (total - sums) / other) ** 2).sum(axis=1))

    null = np.concatenate([far(block) for block in relabelled(inside, draws, seed)])
    return float(far(inside.astype(np.float32)[None])[0]), null


def _pairs(rows: Array, inside: Array, draws: int, seed: int) -> tuple[float, Array]:
    """``- w' D w`` with weights 1 / n of the one and - 1 / m of the other sample: the energy distance, likewise."""
    squares = (rows**2).sum(axis=1)
    far = squares[:, None] + squares - 2 * rows @ rows.T
    np.fill_diagonal(far, 0)
    matrix = np.sqrt(np.maximum(far, 0, out=far), out=far).astype(np.float32)
    one, other = int(inside.sum()), int((~inside).sum())

    def energy(block: Array) -> Array:
        weights = block / one - (1 - block) / other
        return np.asarray(-np.einsum("bn,bn->b", weights @ matrix, weights, dtype=np.float64))

    null = np.concatenate([energy(block) for block in relabelled(inside, draws, seed)])
    return max(0.0, float(energy(inside.astype(np.float32)[None])[0])), null
