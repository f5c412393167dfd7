"""HopSkipJump: along the boundary by decisions alone, for models that answer with a class and nothing else."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.query import Query, Score
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat

__all__ = ["decision"]

_PROBES = 50
"""Directions that are asked in the first step; later ones ask ``sqrt(t)`` times as many."""

_GRAIN = 1.0
"""Standard deviation of a probe on whole numbers: less would be rounded away, and every probe would be the same."""

_CLOSE = 1e-3
"""Share of the way between two candidates from which they count as one, at most."""

_NEAR = 0.5
"""How near to the boundary a search back ends, as a share of how far a probe reaches along the margin's gradient."""

_SIDES, _SMOOTH = (16, 8, 4), 4000
"""Pixels of a smooth probe's cells, one step after another, and the evaluations from which on probes are not smooth."""

_SHORTEST = 1e-3
"""Share of the distance from which a step is too short to be made."""

_NEARER = 0.98
"""A step counts where the way back from it to the item is a success at this share of the distance that there was."""

_AT_ONCE = 50

_SHARES, _BLOCKS = 16, (4, 4, 8, 8, 16, 16)
"""Shares of noise that are tried for a start, and the pixels of its blocks: coarse noise turns a class sooner."""


@attack(
    "decision",
    needs=Score,
    paper=Paper("Chen 2020", "arXiv:1904.02144"),
    aliases=("hopskipjump", "boundary"),
    norms=("l2", "linf"),
    smallest=True,
    trial={"queries": 60},
)
def decision(threat: Threat, *, queries: Positive = 1000) -> AttackFlow:
    """From a picture of another class to the boundary, and along it towards the item; only classes are asked.

    Around a candidate on the boundary random probes ``x + delta u`` say on which side they are; the mean of ``u``, each
    with the sign of its answer, points away from the item's class. A step that way, halved until what lies a little
    nearer on its way back to the item is beyond the boundary, then a search from there. The first probes of a picture
    are smooth, of cells of 16, 8 and 4 pixels in turn (QEBA): such directions are few, and a margin changes more along
    them than along others.

    Args:
        queries: Evaluations of each item.

    Returns:
        The smallest success of each item. On whole numbers it lies beyond the boundary, not on it: what only floating
        point could tell apart was never asked.

    Differs from the paper:
        Smooth probes, in ``l2``, up to 4,000 evaluations; half as many of them; and only steps that lead nearer. On
        whole numbers a probe has a standard deviation of at least one, and one of single pixels counts as the direction
        that it really took after rounding. The search back ends where probes begin to fall on both sides, and every
        candidate of it is rounded, so its result needs no last step.

    Cost:
        ``queries`` evaluations per item; items that no start is found for stop at 100.

    Source:
        Chen, Jordan and Wainwright, HopSkipJumpAttack: A Query-Efficient Decision-Based Attack, 2020; Li et al., QEBA:
        Query-Efficient Boundary-Based Blackbox Attack, CVPR 2020.
    """
    for n in range(len(threat.values)):
        yield from _one(threat, n, queries)
    return Ended()


def _one(threat: Threat, n: int, queries: int) -> Generator[Query, Any, None]:
    """One item."""
    board, x = threat.board, threat.values[n]
    rng = threat.rng("directions", n)
    start = yield from _start(threat, n, rng, queries)
    if start is None:
        return
    at = yield from _back(threat, n, start, queries)
    for t in range(1, 10_000):
        left = queries - int(board.queries[n])
        probes = min(int(_PROBES * t**0.5), left - 20)
        if probes < 10:
            return
        far = _size(at - x, threat)
        side = _SIDES[(t - 1) % len(_SIDES)] if board.queries[n] < _SMOOTH else 1
        way = yield from _direction(threat, n, at, _width(threat, far, t), probes, rng, side)
        length = far / t**0.5
        while board.queries[n] < queries:
            beyond = np.clip(at + length * way, threat.space.low, threat.space.high)
            nearer = x + min(1.0, _NEARER * far / _size(beyond - x, threat)) * (beyond - x)
            margin = yield from threat.judge(np.array([n]), nearer[None], t, smallest=True)
            if margin[0] > 0:
                at = yield from _back(threat, n, nearer, queries)
                break
            length /= 2
            if length < _SHORTEST * far:
                break
        board.steps[n] = t


def _start(threat: Threat, n: int, rng: np.random.Generator, queries: int) -> Generator[Query, Any, Array | None]:
    """Something of the class that is wanted: another item, else noise laid over this one."""
    goal, others = threat.goal, np.flatnonzero(np.arange(len(threat.values)) != n)
    said = np.where(np.isfinite(threat.scores), threat.scores, -np.inf).argmax(axis=1)
    if goal.targeted:
        fit = others[said[others] == goal.labels[n]]
        if not len(fit):
            threat.board.say(
                "No other item is of the target class, and a start of that class is where this attack sets out from: "
                "give a picture of it among the items.",
                n,
            )
            return None
        far = [_size(threat.values[k] - threat.values[n], threat) for k in fit]
        start = np.asarray(threat.values[int(fit[int(np.argmin(far))])])
        yield from threat.judge(np.array([n]), start[None], smallest=True)
        return start
    x = threat.values[n]
    finite = np.isfinite([threat.space.low, threat.space.high]).all()
    low, high = (threat.space.low, threat.space.high) if finite else (x.min() - np.ptp(x) - 1, x.max() + np.ptp(x) + 1)
    noise = np.stack([_blocks(threat, rng, (low, high), side) for side in _BLOCKS])
    for share in np.linspace(1 / _SHARES, 1.0, _SHARES):
        tried = ((1 - share) * x + share * noise)[: max(0, queries - int(threat.board.queries[n]))]
        if not len(tried):
            break
        margin = yield from threat.judge(np.full(len(tried), n), tried, smallest=True)
        if (margin > 0).any():
            return np.asarray(tried[int(margin.argmax())])
    threat.board.say("No noise over this item was taken for another class, so there is no start to set out from.", n)
    return None


def _blocks(threat: Threat, rng: np.random.Generator, bounds: tuple[float, float], side: int) -> Array:
    """Noise as an item, ``[*item]``: of a picture blocks of one colour, of anything else every value by itself."""
    item, layout = threat.values.shape[1:], threat.layout
    if not layout.is_picture:
        return rng.uniform(*bounds, item)
    axes = [axis - 1 for axis in layout.plane_axes]
    few = [-(-extent // side) if axis in axes else extent for axis, extent in enumerate(item)]
    found = rng.uniform(*bounds, few)
    for axis in axes:
        found = np.repeat(found, side, axis)
    return found[tuple(slice(extent) for extent in item)]


def _back(threat: Threat, n: int, beyond: Array, queries: int) -> Generator[Query, Any, Array]:
    """The candidate nearest to the item between it and one that is a success: by halving, each rounded and asked.

    In ``linf`` the way is a clip to a smaller and smaller distance, in ``l2`` a straight line.
    """
    x, low, high = threat.values[n], 0.0, 1.0
    reach = float(np.abs(beyond - x).max())
    far = _size(beyond - x, threat)
    close = min(_CLOSE, _NEAR * _width(threat, far, 2) / (x.size**0.5 * max(far, np.finfo(np.float64).tiny)))

    def at(share: float) -> Array:
        if threat.norm == "linf":
            return np.asarray(np.clip(beyond, x - share * reach, x + share * reach))
        return np.asarray((1 - share) * x + share * beyond)

    while high - low > close and threat.board.queries[n] < queries:
        middle = (low + high) / 2
        margin = yield from threat.judge(np.array([n]), at(middle)[None], int(threat.board.steps[n]), smallest=True)
        low, high = (low, middle) if margin[0] > 0 else (middle, high)
    return np.asarray(at(high))


def _direction(
    threat: Threat, n: int, at: Array, width: float, count: int, rng: np.random.Generator, side: int
) -> Generator[Query, Any, Array]:
    """The way that raises the margin, of length 1 in the norm, from the classes of ``count`` probes of this width.

    ``side`` is that of their cells in pixels.
    """
    total, plain, votes, asked = np.zeros_like(at), np.zeros_like(at), 0.0, 0
    for start in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - start)
        noise, smooth = _noise(threat, some, rng, side)
        size = np.sqrt((noise * noise).reshape(some, -1).sum(axis=1)).reshape(-1, *(1,) * at.ndim)
        values = threat.space.rounded(at + width * noise / size)
        margin = yield from threat.judge(np.full(some, n), values, int(threat.board.steps[n]), smallest=True)
        signs = np.where(margin > 0, 1.0, -1.0)
        took = noise / size if smooth else (values - at) / width
        total += (signs.reshape(-1, *(1,) * at.ndim) * took).sum(axis=0)
        plain += took.sum(axis=0)
        votes, asked = votes + float(signs.sum()), asked + some
    mean = votes / asked
    way = total - mean * plain if abs(mean) < 1 else total
    if threat.norm == "linf":
        return np.asarray(np.sign(way))
    return np.asarray(way / max(float(np.sqrt((way * way).sum())), np.finfo(np.float64).tiny))


def _noise(threat: Threat, count: int, rng: np.random.Generator, side: int) -> tuple[Array, bool]:
    """Random directions ``[count, *item]``, and whether they are smooth: of cells of a picture's positions.

    A margin changes along smooth directions more than along as many others, so a few tell more of it.
    """
    item, axis = threat.values.shape[1:], threat.layout.channel_axis
    if threat.norm == "linf":
        return rng.uniform(-1, 1, (count, *item)), False
    if side == 1 or not threat.layout.is_picture or min(threat.layout.plane) < 4 * side:
        return rng.standard_normal((count, *item)), False
    rows, columns = threat.layout.plane
    channels = 1 if axis is None else item[axis - 1]
    cells = rng.standard_normal((count, channels, -(-rows // side), -(-columns // side)))
    planes = enlarge(cells, (rows, columns))
    return (planes[:, 0] if axis is None else np.moveaxis(planes, 1, axis)), True


def _width(threat: Threat, far: float, step: int) -> float:
    """The length of a probe: as in the paper, and so long that rounding leaves something of it."""
    count = threat.values[0].size
    low, high = threat.space.low, threat.space.high
    if step == 1 and np.isfinite([low, high]).all():
        wide = 0.1 * (high - low)
    else:
        wide = far / count if threat.norm == "l2" else far / count**0.5
    return max(float(wide), _GRAIN * count**0.5) if threat.space.whole else float(wide)


def _size(change: Array, threat: Threat) -> float:
    return float(threat.measure(change[None])[0])
