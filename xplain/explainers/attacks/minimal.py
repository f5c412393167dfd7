"""The smallest change that turns the class: the boundary as a plane, again and again, and a search on the way to it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, attack
from xplain.core.edits import Array
from xplain.core.query import Query, Sweep
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.explainers.attacks.balls import Ball
from xplain.explainers.attacks.climbing import Nudge, ball_of
from xplain.explainers.attacks.pgd import climbed

__all__ = ["minimal", "onto_plane"]

_SCALES = 8
"""Lengths that are tried at once along a change."""

_STEPS, _DOUBLINGS = 10, 14
"""Steps in a ball, and balls, until a first success."""

_FARTHEST = 2.4
"""The longest of the lengths, in ways to the plane."""

_BEYOND = 1e-5
"""How far behind the plane the first of them goes, as a share of the way to it."""


@attack(
    "minimal",
    needs=Sweep,
    paper=Paper("Croce 2020", "arXiv:1907.02044"),
    aliases=("deepfool", "fab"),
    norms=("l2", "linf", "l1", "l0"),
    smallest=True,
    trial={"steps": 2},
)
def minimal(threat: Threat, *, steps: Positive = 10, rivals: Positive = 3) -> AttackFlow:
    """How little it takes: the model is taken for linear where it stands, and the item goes straight to the boundary.

    The margin at a candidate ``z`` says a plane, ``margin(z) + g (x + d - z) = 0``; ``d`` is the least change, in the
    norm and inside the box, that reaches it from the item ``x`` itself. A search along ``d`` finds where the class
    really turns, on whole numbers; the next plane is taken there.

    Args:
        steps: Planes.
        rivals: How many of the best other classes have a plane of their own at first; the nearest one is gone to.

    Returns:
        The smallest success of each item. Of a linear model it is the closed form: ``|margin| / ||g||_2``,
        ``|margin| / ||g||_1`` (linf), ``|margin| / max |g|`` (l1), up to the whole numbers of a picture.

    Differs from the paper:
        The plane is gone to from the item alone, without the paper's step that is biased to the last candidate; the
        search along the way asks up to 15 evaluations a step; and where the first plane leads to no success, projected
        steps in a ball that is doubled find one.

    Cost:
        ``rivals + steps - 1`` sweeps and up to 16 ``steps`` evaluations per item, and 10 sweeps for each ball.

    Source:
        Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020;
        Moosavi-Dezfooli et al., DeepFool, arXiv:1511.04599.
    """
    board, nudge = threat.board, Nudge(threat)
    items, at = threat.open, threat.values.copy()
    for k in range(steps):
        ball = ball_of(threat, items)
        change, gradient = yield from _least(threat, items, at, ball, rivals if k == 0 else 1, nudge)
        yield from _searched(threat, items, change, ball, k)
        if k and threat.norm != "linf":
            yield from _pruned(threat, items, gradient, k)
        if k == 0:
            yield from _grown(threat, items, ball.size(change))
        items = items[board.done[items]]
        at[items] = board.values[items]
        if not len(items):
            break
    return Ended()


def _grown(threat: Threat, items: Array, sizes: Array) -> Generator[Query, Any, None]:
    """A success of each item from a few steps in a ball that is doubled until there is one: planes need it to start.

    Radii are an item's own, powers of two: few enough for items to be asked together, and none is another's affair.
    """
    least = 1.0 if threat.space.whole or threat.norm == "l0" else np.finfo(np.float64).tiny
    radii = np.zeros(len(threat.values))
    radii[items] = 2.0 ** np.ceil(np.log2(np.maximum(2 * sizes, least)))
    for k in range(_DOUBLINGS):
        for radius in np.unique(radii[threat.open]):
            members = threat.open[radii[threat.open] == radius]
            own = replace(threat, radius=float(radius))
            yield from climbed(own, _STEPS, None, 0.0, True, f"ball {k}", members)
        radii *= 2


def _least(
    threat: Threat, items: Array, at: Array, ball: Ball, count: int, nudge: Nudge
) -> Generator[Query, Any, tuple[Array, Array]]:
    """The least changes of the items that reach a plane of the margin at ``at``, the nearest of ``count`` rivals'.

    Returns:
        The changes, and the last rival's gradient.
    """
    values = threat.space.rounded(at[items])
    goal = threat.goal.of(items)
    looked = np.abs(values - threat.values[items]).reshape(len(items), -1).any(axis=1)
    scores = threat.scores[items].copy()
    if looked.any():
        scores[looked] = yield from threat.ask(items[looked], values[looked])
    own = np.arange(len(items))
    order = np.where(np.isfinite(scores), scores, -np.inf)
    order[own, goal.labels] = -np.inf
    order = np.argsort(-order, axis=1, kind="stable")
    found, size, gradient = np.zeros_like(values), np.full(len(items), np.inf), np.zeros_like(values)
    for k in range(1 if goal.targeted else min(count, scores.shape[1] - 1)):
        rival = order[:, k]
        gradient, _ = yield from threat.climb(items, values, rival)
        margin = (scores[own, rival] - scores[own, goal.labels]) * (-1.0 if goal.targeted else 1.0)
        way = (gradient * (values - threat.values[items])).reshape(len(items), -1).sum(axis=1) - margin
        change = onto_plane(gradient, way, ball)
        change = nudge.moved(items, gradient, change, ball)
        less = ball.size(change) < size
        found[less], size[less] = change[less], ball.size(change)[less]
    return found, gradient


def _searched(threat: Threat, items: Array, change: Array, ball: Ball, step: int) -> Generator[Query, Any, None]:
    """Where along a change the class turns: two rounds of lengths, rounded and asked; the best goes on the board."""
    count, wide = len(items), (-1, *(1,) * (change.ndim - 1))
    low, high = np.zeros(count), np.full(count, np.inf)
    # where whole numbers are needed a thin change has to grow until something of it is left
    most = np.abs(change).reshape(count, -1).max(axis=1)
    top = np.maximum(_FARTHEST, 2.0 / np.maximum(most, 1e-9)) if ball.whole else np.full(count, _FARTHEST)
    lengths = np.stack([[0.5, 0.8, 0.95, 1 + _BEYOND, *np.geomspace(1.05, one, _SCALES - 4)] for one in top])
    for _ in range(2):
        rows = np.repeat(np.flatnonzero(np.isfinite(lengths).all(axis=1)), lengths.shape[1])
        if not len(rows):
            return
        scale = lengths[np.isfinite(lengths).all(axis=1)].reshape(wide)
        scaled = np.clip(scale * change[rows], ball.low[rows], ball.high[rows])
        margin = yield from threat.judge(items[rows], threat.values[items[rows]] + scaled, step, smallest=True)
        for n in np.unique(rows):
            won = np.flatnonzero(margin[rows == n] > 0)
            if len(won):
                k = int(won[0])
                low[n], high[n] = lengths[n, k - 1] if k else low[n], lengths[n, k]
        lengths = low[:, None] + (high - low)[:, None] * np.arange(1, _SCALES)[None] / _SCALES


def _pruned(threat: Threat, items: Array, gradient: Array, step: int) -> Generator[Query, Any, None]:
    """Which elements of the best change are not needed: those that the margin owes least to go back, as many as can.

    Elements of ``l0`` go back by position, all channels at once; of ``l2`` by what they gain for the size they take.
    """
    change = threat.board.values[items] - threat.values[items]
    gain = gradient * change
    if threat.norm == "l0" and threat.layout.channel_axis is not None:
        gain = np.broadcast_to(gain.sum(axis=threat.layout.channel_axis, keepdims=True), gain.shape)
    elif threat.norm == "l2":
        gain = gain / np.maximum(np.abs(change), np.finfo(np.float64).tiny)
    flat = np.where(change != 0, gain, -np.inf).reshape(len(items), -1)
    ranked = np.sort(flat, axis=1)[:, ::-1]
    changed = (change != 0).reshape(len(items), -1).sum(axis=1)
    wide = (-1, *(1,) * (change.ndim - 1))
    low, high = np.zeros(len(items)), np.ones(len(items))
    for _ in range(2):
        shares = low[:, None] + (high - low)[:, None] * np.arange(1, _SCALES)[None] / _SCALES
        rows = np.repeat(np.arange(len(items)), shares.shape[1])
        kept = np.maximum((shares.reshape(-1) * changed[rows]).astype(int) - 1, 0)
        edge = ranked[rows, kept].reshape(wide)
        own = np.where(change != 0, gain, -np.inf)[rows]
        values = threat.values[items[rows]] + np.where(own >= edge, change[rows], 0.0)
        margin = yield from threat.judge(items[rows], values, step, smallest=True)
        for n in range(len(items)):
            won = np.flatnonzero(margin[rows == n] > 0)
            k = int(won[0]) if len(won) else shares.shape[1]
            low[n], high[n] = shares[n, k - 1] if k else low[n], shares[n, k] if len(won) else high[n]


def onto_plane(gradient: Array, way: Array, ball: Ball) -> Array:
    """The least change ``d`` of each item with ``g d = way``, in the ball's norm and inside its box.

    ``linf``: ``t sign(g)``, ``l2``: ``t g``, each clipped, with the t for which it fits. ``l1`` and ``l0``: elements,
    or positions, go to their border one after another, those that gain most first. All of the box where that is not
    enough.
    """
    found = np.zeros_like(gradient)
    for n in np.flatnonzero(way > 0):
        g, low, high = gradient[n], ball.low[n], ball.high[n]
        room = np.where(g > 0, high, -low)
        size = np.abs(g)
        if ball.norm in ("linf", "l2"):
            along = (size > 0).astype(np.float64) if ball.norm == "linf" else size
            found[n] = np.sign(g) * _filled(size, along, room, float(way[n]))
        else:
            found[n] = np.sign(g) * _greedy(size, room, float(way[n]), ball)
    return found


def _filled(size: Array, along: Array, room: Array, way: float) -> Array:
    """``min(t along, room)`` with ``sum size min(t along, room) = way``; the sum is concave in t, so t only grows."""
    t, used = 0.0, np.zeros_like(size)
    for _ in range(60):
        free = t * along < room
        slope = float((size * along)[free].sum())
        rest = way - float((size * used).sum())
        if slope <= 0 or rest <= 1e-12 * way:
            break
        t += rest / slope
        used = np.minimum(t * along, room)
    return used


def _greedy(size: Array, room: Array, way: float, ball: Ball) -> Array:
    """Elements (``l1``) or positions (``l0``) at their border, by what they gain, until ``way`` is gone."""
    gain = np.where(size > 0, size * np.where(np.isfinite(room), room, 0.0), 0.0)
    open_ended = np.isinf(room) & (size > 0)
    found = np.zeros_like(size)
    if open_ended.any():  # one element without a border goes all the way by itself
        best = np.unravel_index(np.argmax(np.where(open_ended, size, 0.0)), size.shape)
        found[best] = way / size[best]
        return found
    if ball.norm == "l1":
        order = np.argsort(-size, axis=None, kind="stable")
        reached = np.cumsum(gain.reshape(-1)[order])
        last = int(np.searchsorted(reached, way))
        flat = found.reshape(-1)
        flat[order[:last]] = room.reshape(-1)[order[:last]]
        if last < len(order):
            before = float(reached[last - 1]) if last else 0.0
            flat[order[last]] = (way - before) / max(float(size.reshape(-1)[order[last]]), 1e-300)
        return found
    axis = ball.layout.channel_axis
    summed = gain if axis is None else gain.sum(axis=axis - 1, keepdims=True)
    order = np.argsort(-summed, axis=None, kind="stable")
    last = int(np.searchsorted(np.cumsum(summed.reshape(-1)[order]), way)) + 1
    kept = np.zeros(summed.size, bool)
    kept[order[:last]] = True
    return np.where(kept.reshape(summed.shape) & (size > 0), np.where(np.isfinite(room), room, 0.0), 0.0)
