"""A sum of decision trees as arrays: what a tree model is, whoever wrote it.

    trees = yield Ensemble()          # the question; only models that are sums of trees answer it
    trees.outputs(x)                  # [N, K], what the trees add up to

Every node asks one column: ``x <= threshold`` (or ``<``), whether it is in a set, and where a gap goes. Leaves hold K
numbers. Libraries differ in nothing else that matters, so that one method serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["Ensemble", "Forest", "Link", "Trees"]

Link: TypeAlias = Literal["identity", "sigmoid", "softmax", "other"]
"""What turns the sum of the trees into the scores that the model gives."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The question for the trees of a model; the answer is ``Trees``. It costs no evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """A sum of trees.

    Args:
        feature: int32 ``[n]``, the column that a node asks; -1 for a leaf.
        threshold: float64 ``[n]``.
        left: int32 ``[n]``, the node where the answer is yes.
        right: int32 ``[n]``.
        gap_left: bool ``[n]``, whether a gap (NaN) counts as yes.
        values: float64 ``[n, K]``, what a leaf adds; 0 at nodes that are none.
        roots: int32 ``[T]``.
        base: float64 ``[K]``, what is added to the sum of all.
        strict: Whether yes is ``x < threshold`` and not ``x <= threshold``.
        cover: float64 ``[n]``, how many rows of the training went through a node; None where nobody kept it.
        sets: Node to the values that are yes, for nodes that ask for membership.
        zero_gap: bool ``[n]``, whether 0 is a gap at a node; None: nowhere.
        single: Whether columns are compared in float32, as most libraries store them.
        gap: The number that stands for a gap in the rows that are asked; None for NaN alone.
        link: What turns the sum into the scores that the model gives.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    gap_left: Array
    values: Array
    roots: Array
    base: Array
    strict: bool = False
    cover: Array | None = None
    sets: dict[int, Array] = field(default_factory=dict)
    zero_gap: Array | None = None
    single: bool = True
    gap: float | None = None
    link: Link = "identity"

    @property
    def columns(self) -> int:
        """One more than the largest column that is asked."""
        return int(self.feature.max(initial=-1)) + 1

    def where_gap_is(self, number: float) -> Trees:
        """The same for rows in which this number stands for a gap."""
        return replace(self, gap=number)

    def rows(self, x: Array) -> Array:
        """Rows ``[N, S]`` as they are compared, gaps as NaN."""
        x = np.asarray(x, dtype=np.float32 if self.single else np.float64).reshape(len(x), -1)
        return x if self.gap is None else np.where(x == np.asarray(self.gap, x.dtype), np.nan, x)

    def says_yes(self, x: Array) -> Array:
        """Bool ``[N, n]``: whether each row goes left at each node, whether it comes there or not; leaves say no."""
        asked = np.maximum(self.feature, 0)
        seen = self.rows(x)[:, asked].astype(np.float64)
        with np.errstate(invalid="ignore"):
            yes = seen < self.threshold if self.strict else seen <= self.threshold
        for node, members in self.sets.items():
            yes[:, node] = np.isin(seen[:, node], members)
        gaps = np.isnan(seen)
        if self.zero_gap is not None:
            gaps |= self.zero_gap & (np.abs(seen) <= 1e-35)
        return np.asarray(np.where(gaps, self.gap_left, yes) & (self.feature >= 0))

    def outputs(self, x: Array) -> Array:
        """What the trees add up to, float64 ``[N, K]``."""
        yes = self.says_yes(x)
        at = np.repeat(self.roots[None], len(x), axis=0)
        rows = np.arange(len(x))[:, None]
        while (self.feature[at] >= 0).any():
            inner = self.feature[at] >= 0
            step = np.where(yes[rows, at], self.left[at], self.right[at])
            at = np.where(inner, step, at)
        return np.asarray(self.values[at].sum(axis=1) + self.base)

    def linked(self, outputs: Array) -> Array:
        """The scores ``[N, K]`` that the model gives for sums ``[N, K]``."""
        if self.link == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-np.clip(outputs, -700, 700))))
        if self.link == "softmax":
            away = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return np.asarray(away / away.sum(axis=1, keepdims=True))
        return outputs

    def paths(self) -> list[Paths]:
        """All ways from a root to a leaf, those with as many different columns together."""
        found: dict[int, list[tuple[int, list[int], list[list[tuple[int, bool]]]]]] = {}
        for root in self.roots:
            stack: list[tuple[int, dict[int, list[tuple[int, bool]]]]] = [(int(root), {})]
            while stack:
                node, way = stack.pop()
                column = int(self.feature[node])
                if column < 0:
                    if self.values[node].any() or self.cover is not None:
                        found.setdefault(len(way), []).append((node, [*way], [*way.values()]))
                    continue
                for child, turned in ((int(self.left[node]), True), (int(self.right[node]), False)):
                    longer = {**way, column: [*way.get(column, []), (node, turned)]}
                    stack.append((child, longer))
        return [Paths.of(self, some) for _, some in sorted(found.items())]


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Ways to L leaves, each through splits of d different columns.

    Args:
        columns: int ``[L, d]``.
        values: float64 ``[L, K]``.
        nodes: int ``[steps]``, the splits of all of them, column by column, way by way.
        turns: bool ``[steps]``, whether the way goes left there.
        starts: int ``[L * d]``, where each column's splits begin in these.
        shares: float64 ``[L, d]``, the share of training rows that go along at the splits of each column; None.
    """

    columns: Array
    values: Array
    nodes: Array
    turns: Array
    starts: Array
    shares: Array | None

    @classmethod
    def of(cls, trees: Trees, found: Sequence[tuple[int, list[int], list[list[tuple[int, bool]]]]]) -> Paths:
        """Ways as they were found: leaf, columns, and the splits of each."""
        leaves = np.array([leaf for leaf, _, _ in found])
        columns = np.array([own for _, own, _ in found], dtype=np.int64).reshape(len(found), -1)
        splits = [steps for _, _, own in found for steps in own]
        lengths = np.array([len(steps) for steps in splits], dtype=np.int64)
        flat = [step for steps in splits for step in steps]
        nodes = np.array([node for node, _ in flat], dtype=np.int64)
        turns = np.array([turned for _, turned in flat], dtype=bool)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(lengths) else lengths
        shares = None
        if trees.cover is not None:
            went = np.where(turns, trees.left[nodes], trees.right[nodes])
            step = trees.cover[went] / np.where(trees.cover[nodes] > 0, trees.cover[nodes], 1.0)
            shares = (np.multiply.reduceat(step, starts) if len(step) else step).reshape(columns.shape)
        return cls(columns, trees.values[leaves], nodes, turns, starts, shares)

    def along(self, yes: Array) -> Array:
        """Bool ``[N, L, d]``: whether each row goes this way at all splits of each column."""
        if not len(self.nodes):
            return np.ones((len(yes), *self.columns.shape), bool)
        fits = yes[:, self.nodes] == self.turns
        return np.logical_and.reduceat(fits, self.starts, axis=1).reshape(len(yes), *self.columns.shape)


class Forest:
    """Nodes that are collected tree by tree, as readers of files and estimators find them."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.nodes: list[tuple[int, float, int, int, bool, float]] = []
        self.values: list[Array] = []
        self.roots: list[int] = []
        self.sets: dict[int, Array] = {}
        self.zero_gap: set[int] = set()

    def plant(self) -> int:
        """Where the next tree's nodes begin; its root is the first of them."""
        self.roots.append(len(self.nodes))
        return len(self.nodes)

    def split(self, column: int, threshold: float, ways: tuple[int, int], gap_left: bool, cover: float = 0.0) -> int:
        """A node that asks; ``ways`` are its children, counted from 0."""
        self.nodes.append((column, threshold, *ways, gap_left, cover))
        self.values.append(np.zeros(self.outputs))
        return len(self.nodes) - 1

    def leaf(self, values: Array, cover: float = 0.0) -> int:
        """A node that adds K numbers."""
        self.nodes.append((-1, 0.0, -1, -1, False, cover))
        self.values.append(np.asarray(values, dtype=np.float64))
        return len(self.nodes) - 1

    def bare(self) -> Trees:
        """A single leaf of nothing: what a sum of trees is before anything is known of it."""
        self.plant()
        self.leaf(np.zeros(self.outputs), 1.0)
        return self.grown(np.zeros(self.outputs), covered=True)

    def grown(
        self, base: Array, covered: bool, strict: bool = False, single: bool = True, link: Link = "identity"
    ) -> Trees:
        """The trees that were planted."""
        feature, threshold, left, right, gap, cover = (np.array(part) for part in zip(*self.nodes, strict=True))
        zero = np.isin(np.arange(len(feature)), list(self.zero_gap)) if self.zero_gap else None
        return Trees(
            feature.astype(np.int32),
            threshold.astype(np.float64),
            left.astype(np.int32),
            right.astype(np.int32),
            gap.astype(bool),
            np.stack(self.values),
            np.array(self.roots, dtype=np.int32),
            np.asarray(base, dtype=np.float64),
            strict=strict,
            cover=cover.astype(np.float64) if covered else None,
            sets=dict(self.sets),
            zero_gap=zero,
            single=single,
            link=link,
        )
