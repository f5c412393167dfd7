"""Partition SHAP: Owen values of features on a hierarchy, found from the top down where most is at stake."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from xplain.core.declaring.options import Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, Worth, read_off, set_up
from xplain.explainers.features.spec import Features

__all__ = ["halving", "partition_shap"]

_AT_ONCE = 16
"""Nodes that are split per question at most, all with at least half of the largest stake: more would fill a batch
better, fewer would follow the largest effects more closely."""


@dataclass(frozen=True)
class _Hierarchy:
    """A binary tree over the features."""

    accepts: str = (
        "'halves', or an array [S - 1, 2 or more] whose row k joins nodes a and b to node S + k, as in scipy's linkage"
    )

    @property
    def invalid(self) -> tuple[Any, ...]:
        return ("quarters", 3, np.zeros(4), np.zeros((2, 1)))

    def read(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.ndim != 2 or value.shape[1] < 2 or value.dtype.kind not in "fiu":
                raise ValueError
            return value
        if value != "halves":
            raise ValueError
        return value


Hierarchy: TypeAlias = Annotated[Any, _Hierarchy()]


@method(
    "partition-shap",
    needs=Score,
    paper=Paper("Owen 1977; shap's PartitionExplainer", "doi:10.1007/978-3-642-45494-3_7"),
    unit="delta {score} per feature",
    aliases=("owen",),
    complete=True,
    adaptive=True,
)
def partition_shap(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 500,
    hierarchy: Hierarchy = "halves",
    context: Literal["both", "absent", "present"] = "both",
    baseline: Hidden = 0.0,
    background: Background | None = None,
) -> Flow:
    """Split the features in two, ask what each half adds with the other hidden and shown, and go on where it matters.

    A group's worth ``v(C + group) - v(C)`` in a context C is shared between its halves L and R by
    ``( v(C + L) - v(C) + v(C + L + R) - v(C + R) ) / 2`` for L; then L is split in the contexts C and C + R, and so on
    to single features: the Owen values of the hierarchy. The group with the most at stake is split first; what is still
    whole when ``samples`` are spent is shared equally by its features.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about. S (S - 1) or more give exact Owen values for an even hierarchy.
        hierarchy: ``halves`` cuts the features in two where they lie, along the longer side, again and again; or a
            linkage array.
        context: ``both``, or only one of ``absent`` (the other half hidden) and ``present``: 2 (S - 1) coalitions are
            then enough, and interactions go to one side.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``. Nothing is sampled, so there is no error; ``notes["whole_groups"]`` is the
        number of groups that were not split to the end.

    Cost:
        1 + ``samples`` evaluations per item at most, times B.

    Differs from the paper:
        Owen values are exact only when every group was split; shap's order of splitting has random ties, here they go
        by feature number.

    Raises:
        UsageError: the hierarchy is no binary tree over the features.

    Source:
        Owen, Values of Games with a Priori Unions, 1977; Lundberg, shap.PartitionExplainer.
    """
    setup = set_up(view, features, baseline, background)
    worths: list[Worth | None] = [None] * len(view.x)
    whole = [0] * len(view.x)
    for game in setup.games:
        tree = _tree(game, hierarchy)
        nobody, everybody = yield from game.ends()
        for k, member in enumerate(game.members):
            item = np.array([k])
            root = _Part(
                len(tree.members) - 1, np.zeros(game.players, bool), float(nobody[k]), float(everybody[k]), 1.0
            )
            values, whole[int(member)] = yield from _descend(game, item, tree, root, samples, context)
            worths[int(member)] = Worth(values, base=float(nobody[k]))
    return read_off(setup, [worth for worth in worths if worth is not None], whole_groups=whole)


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """Features under each node, bool ``[nodes, S]``, and the two children of those that are no leaf."""

    members: Array
    children: Sequence[tuple[int, int] | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A node of the tree in a context: the scores without and with it, and its weight in the whole."""

    node: int
    context: Array
    without: float
    with_it: float
    weight: float

    @property
    def stake(self) -> float:
        """How much depends on this node."""
        return abs(self.with_it - self.without) * self.weight


def _descend(
    game: Game, item: Array, tree: _Tree, root: _Part, samples: int, context: str
) -> Generator[Score, Array, tuple[Array, int]]:
    """Split parts, those with the most at stake first, until all are leaves or nothing more may be asked."""
    values, waiting, left = np.zeros(game.players), [root], samples
    while waiting:
        for part in waiting:
            if tree.children[part.node] is None:
                values[tree.members[part.node]] += part.weight * (part.with_it - part.without)
        waiting = sorted((part for part in waiting if tree.children[part.node] is not None), key=lambda p: -p.stake)
        alike = sum(part.stake >= waiting[0].stake / 2 for part in waiting)
        room = min(_AT_ONCE, left // 2, alike)
        chosen, waiting = waiting[:room], waiting[room:]
        if not chosen:
            break
        nodes = [tree.children[part.node] or (0, 0) for part in chosen]
        keep = [part.context | tree.members[node] for part, pair in zip(chosen, nodes, strict=True) for node in pair]
        scores = (yield from game.worth(np.stack(keep), item))[0]
        left -= len(keep)
        for part, pair, f10, f01 in zip(chosen, nodes, scores[0::2], scores[1::2], strict=True):
            own = tree.members[part.node]
            if context != "both":  # the interaction of the halves stays with all features of the node
                together = part.with_it - f10 - f01 + part.without
                values[own] += (together if context == "absent" else -together) * part.weight / own.sum()
            waiting += _halves(part, pair, (float(f10), float(f01)), context, tree)
    for part in waiting:
        own = tree.members[part.node]
        values[own] += part.weight * (part.with_it - part.without) / own.sum()
    return values, len(waiting)


def _halves(part: _Part, pair: tuple[int, int], alone: tuple[float, float], context: str, tree: _Tree) -> list[_Part]:
    """Both children of a part, in the contexts asked for; ``alone`` are the scores with the left and the right one."""
    found, weight = [], part.weight / 2 if context == "both" else part.weight
    for own, other, with_own, with_other in ((*pair, *alone), (*pair[::-1], *alone[::-1])):
        if context in ("both", "absent"):
            found.append(_Part(own, part.context, part.without, with_own, weight))
        if context in ("both", "present"):
            found.append(_Part(own, part.context | tree.members[other], with_other, part.with_it, weight))
    return found


def _tree(game: Game, hierarchy: Any) -> _Tree:
    """The hierarchy with the features under each node; leaves first, the root last."""
    players = game.players
    joins = halving(game.labels, players) if isinstance(hierarchy, str) else hierarchy[:, :2].astype(np.int64)
    children: list[tuple[int, int] | None] = [None] * players
    members = [np.arange(players) == k for k in range(players)]
    for k, (a, b) in enumerate(joins.tolist()):
        if not (0 <= a < players + k and 0 <= b < players + k) or (members[a] & members[b]).any():
            raise UsageError(f"The hierarchy joins {a} and {b} in row {k}, which do not exist yet or overlap.")
        children.append((a, b))
        members.append(members[a] | members[b])
    if not members[-1].all() or len(joins) != players - 1:
        raise UsageError(
            f"The hierarchy has {counted(len(joins), 'row')} for {counted(players, 'feature')}; a binary tree over "
            f"all of them has {players - 1}, the last of which joins everything."
        )
    return _Tree(np.stack(members), children)


def halving(labels: Array, players: int) -> Array:
    """The features cut in two where they lie, along the longer side, again and again: joins ``[S - 1, 2]``."""
    flat, coordinates = labels.reshape(-1), np.indices(labels.shape).reshape(labels.ndim, -1)
    seen = flat >= 0
    counts = np.maximum(np.bincount(flat[seen], minlength=players), 1)
    middle = np.stack([np.bincount(flat[seen], at[seen], players) / counts for at in coordinates], axis=1)
    joins: list[tuple[int, int]] = []

    def join(features: Array) -> int:
        if len(features) == 1:
            return int(features[0])
        axis = int(np.ptp(middle[features], axis=0).argmax())
        order = features[np.argsort(middle[features, axis], kind="stable")]
        half = len(order) // 2
        pair = join(order[:half]), join(order[half:])
        joins.append(pair)
        return players + len(joins) - 1

    join(np.arange(players))
    return np.array(joins, dtype=np.int64).reshape(-1, 2)
