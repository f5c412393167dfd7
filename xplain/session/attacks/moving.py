"""What an attack did to the explanation: does the map move before the class does?

Two pictures, before and after, say only that both moved or not. So the way between them is walked too: a growing share
of the changed positions (in a fixed random order) takes its new value, and at each step the model says a class, and a
map of the class that it said at first. Every step is a picture that can be saved, which a faded change would not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.query import View
from xplain.core.synthesis.space import Space
from xplain.core.target import label
from xplain.core.targets.target_parser import Aim
from xplain.session.part import Part
from xplain.session.run import Session

__all__ = ["SHARES", "Moved", "moved", "rank_correlation"]

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the changed positions that have their new value, step by step."""

_STILL = 0.5
"""Rank correlation below which a map counts as another one."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """What the maps did.

    Args:
        maps: float32 ``[N, 3, *map]``: of the class before on the item before and after, of the class after on the
            item after.
        correlation: Rank correlation of the second and the third with the first, float64 ``[N, 2]``; NaN for a map
            that is the same everywhere.
        way: Rank correlation with the first at each of ``SHARES``, ``[N, S]``.
        said: The class that is said there, int64 ``[N, S]``.
        cost: What it took.
        warnings: Why there is no map, where there is none.
    """

    maps: Array | None
    correlation: Array
    way: Array
    said: Array
    cost: Cost
    warnings: tuple[Caveat, ...] = ()

    def each(self) -> dict[str, Any]:
        """The facts of each item; none without maps."""
        if self.maps is None:
            return {}
        return {"rank correlation": self.correlation, "way: rank correlation": self.way, "way: class": self.said}

    def sentence(self, labels: Array, fooled: Array) -> str:
        """Which moved first, in words; empty where nothing was fooled or there is no map."""
        if self.maps is None or not fooled.any():
            return ""
        first = [0, 0, 0]
        for n in np.flatnonzero(fooled):
            class_at = _first(self.said[n] != labels[n])
            map_at = _first(self.way[n] < _STILL)
            first[0 if class_at < map_at else 1 if map_at < class_at else 2] += 1
        return (
            f"of {int(fooled.sum())} items that were fooled the class turned before the map moved in {first[0]}, after "
            f"it in {first[1]}, at the same step in {first[2]} (a map has moved where its rank correlation with the "
            f"first is below {_STILL:g}; steps of a quarter of the changed positions)"
        )


def moved(session: Session, part: Part, space: Space, ends: tuple[Array, Array], classes: tuple[Array, Array]) -> Moved:
    """The maps of one method of the session before, on the way and after; where it cannot be, the caveat says why.

    Args:
        session: Has one method.
        part: The items.
        space: What their values are.
        ends: The items' values before and after, ``[N, *item]`` each.
        classes: The class before and after, ``[N]`` each.
    """
    labels, became = classes
    values, after = ends
    (name,) = session.methods
    count = len(values)
    none = np.full((count, len(SHARES)), np.nan)
    try:
        cost, maps = Cost(), []
        steps = on_the_way(values, after, space, part, session.request.seed)
        for one, asked in ((values, labels), *((step, labels) for step in steps), (after, became)):
            found, spent = _map(session, part, space.tensor(one), asked, name)
            maps.append(found)
            cost += spent
        said = np.stack([session.look(_part(part, space.tensor(one))).argmax(axis=1) for one in steps], axis=1)
    except XplainError as error:
        text = f"There is no map of {name!r} to hold against the one before: {error}"
        return Moved(None, none[:, :2], none, np.full(none.shape, -1), Cost(), (Caveat(text, "other"),))
    way = np.array([[rank_correlation(maps[0][n], step[n]) for step in maps[1:-1]] for n in range(count)])
    last = np.array([rank_correlation(maps[0][n], maps[-1][n]) for n in range(count)])
    kept = np.stack([maps[0], maps[-2], maps[-1]], axis=1).astype(np.float32)
    return Moved(kept, np.stack([way[:, -1], last], axis=1), way, said.astype(np.int64), cost)


def on_the_way(before: Array, after: Array, space: Space, part: Part, seed: int) -> list[Array]:
    """Items of which a growing share of the changed positions has its new value; the last is ``after``."""
    axis = space.layout.channel_axis
    moves = before != after
    moves = moves if axis is None else moves.any(axis=axis, keepdims=True)
    rngs = View(part.items.x, label(0), part.model.outline, seed).rngs("the order in which changes come")
    order = np.stack([rng.random(moves.shape[1:]) for rng in rngs])
    order = np.where(moves, order, 2.0)
    rank = np.argsort(np.argsort(order.reshape(len(order), -1), axis=1), axis=1).reshape(order.shape)
    count = moves.reshape(len(moves), -1).sum(axis=1).reshape(-1, *(1,) * (before.ndim - 1))
    return [np.where(rank < np.ceil(share * count), after, before) for share in SHARES]


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's rank correlation of two maps, equal values sharing their mean rank; NaN for a map without contrast."""
    ranks = np.stack([_ranks(one), _ranks(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1))
    return float(ranks[0] @ ranks[1] / (size[0] * size[1])) if size.min() > 0 else float("nan")


def _ranks(values: Array) -> Array:
    _, place, count = np.unique(np.asarray(values).reshape(-1), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[place.reshape(-1)])


def _part(part: Part, x: Array) -> Part:
    """The same items with other tensors."""
    return Part(part.model, replace(part.items, x=x))


def _map(session: Session, part: Part, x: Array, labels: Array, name: str) -> tuple[Array, Cost]:
    one = _part(part, x)
    classes: Sequence[int] = labels.tolist()
    one.aims = [Aim(label(classes), tuple(classes))]
    (found,) = session.explain(one, name)
    values: Any = found.values
    return values, found.cost


def _first(when: Array) -> int:
    return int(when.argmax()) if when.any() else len(when)
