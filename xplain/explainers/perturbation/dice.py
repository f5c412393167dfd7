"""Diverse counterfactuals: several near rows that are decided otherwise, chosen together so that they differ."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from xplain.core.caveat import each
from xplain.core.declaring.options import NonNegative, Positive, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence, named
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, UsageError
from xplain.core.query import Flow, Reading, Score, View
from xplain.explainers.design.decision import Bound, Decision, decision
from xplain.explainers.design.game import Background
from xplain.explainers.perturbation.counterfactual import Changeable, Columns

__all__ = ["chosen", "dice"]

_ROUND = 64
"""Rows that are drawn and asked together."""
_HALVINGS = 8
_KEPT = 12
"""Valid rows per answer that are wanted before they are thinned and chosen from."""


@method(
    "dice",
    needs=Score,
    paper=Paper("Mothilal 2020", "arXiv:1905.07697"),
    unit="change of the column",
    aliases=("diverse-counterfactuals",),
    adaptive=True,
    trial={"samples": 64, "many": 1},
)
def dice(
    view: View,
    *,
    background: Background | None = None,
    many: Positive = 4,
    above: Bound | None = None,
    immutable: Columns = (),
    rising: Columns = (),
    falling: Columns = (),
    proximity: NonNegative = 0.5,
    sparsity: NonNegative = 0.5,
    diversity: NonNegative = 1.0,
    samples: Samples = 2000,
) -> Flow:
    """Look for rows that are decided otherwise, thin out their changes, and choose several that are near and differ.

    Of the valid rows found a set C is chosen by ``diversity det K - proximity mean dist(c, x) - sparsity mean share of
    changed columns``, ``K_ij = 1 / (1 + dist(c_i, c_j))``; ``dist`` is the mean over columns of ``|a - b|`` by the
    column's median deviation, 1 where categories differ.

    Args:
        background: Rows ``[B, *item]`` that changes are taken from, such as those of the training: categories stay
            categories, whole numbers whole, and no number leaves their range.
        many: Answers per item.
        above: The decision is whether the target is at least this, in the target's unit, so that a forecast has
            counterfactuals too; left out, the predicted class.
        immutable: Columns that cannot change: ``age,sex``.
        rising: Columns that may only grow.
        falling: Columns that may only fall.
        proximity: Weight of being near.
        sparsity: Weight of changing few columns.
        diversity: Weight of being unlike each other; 0 chooses the nearest.
        samples: Evaluations per item at most.

    Returns:
        In the shape of the items: what to add to each column, 0 where nothing changes; the nearest answer.
        ``each["counterfactuals"]`` holds all, row by row, nearest first, ``each["valid"]`` whether the decision really
        changed, ``each["distance"]`` and ``each["changed"]`` of each, ``each["diversity"]`` the determinant.

    Cost:
        1 + at most ``samples`` evaluations per item, in full batches.

    Differs from the paper:
        No gradient: rows are drawn by copying columns of rows that were seen, a few at a time, so that any model has
        answers. Changes that are not needed are taken back, numbers moved back by halves, quarters and so on while the
        decision stays changed; then the set is chosen greedily and by exchange. Where fewer than ``many`` are left
        of that, the nearest rows before it stand in, with changes that are not all needed.

    Raises:
        UsageError: a column that is not there, or a background that does not fit.

    Source:
        Mothilal, Sharma and Tan, Explaining Machine Learning Classifiers through Diverse Counterfactual Explanations,
        FAT* 2020.
    """
    x = view.x.reshape(len(view.x), -1).astype(np.float64)
    seen = np.zeros((1, x.shape[1])) if background is None else np.asarray(background, np.float64)
    if seen.size % x.shape[1]:
        raise UsageError(f"The background has {seen.size} numbers; accepted: rows of {x.shape[1]} columns.")
    seen = seen.reshape(-1, x.shape[1])
    may = Changeable.of(view, (immutable, rising, falling), x.shape[1])
    space = _Space.of(seen, may)
    decided = yield from decision(view, above)
    weights = (proximity, sparsity, diversity)
    share = samples if view.budget is None else view.budget // len(x) - 1  # each item has looked at itself
    changes, found = np.zeros(x.shape), []
    for n, rng in enumerate(replace(view, seed=0).rngs("dice")):  # a search, no sample: nothing to estimate
        search = _Search(decided, n, x[n], space, rng, *[min(samples, share) if share > 0 else samples] * 2)
        drawn = yield from _drawn(search, many)
        valid = yield from _thinned(search, drawn)
        if len(valid) < many:  # several became the same: the nearest of those before stand in
            rest = drawn[~(drawn[:, None] == valid[None]).all(axis=2).any(axis=1)]
            near = np.argsort(space.apart(rest, x[n]), kind="stable")[: many - len(valid)]
            valid = np.concatenate([valid, rest[near]])
        picked = chosen(valid, x[n], space, many, weights)
        found.append(picked)
        if len(picked):
            changes[n] = picked[0] - x[n]
    text = Sentence(
        "Fewer counterfactuals were found than asked for: as far as the columns may change, no more rows are decided "
        "otherwise. Give more rows (",
        named("background"),
        "), free more columns, or allow more ",
        named("samples"),
        ".",
    )
    return Reading(
        changes.reshape(view.x.shape),
        each={
            "counterfactuals": [one.tolist() for one in found],
            "valid": [[True] * len(one) for one in found],
            "distance": [space.apart(one, row).tolist() for one, row in zip(found, x, strict=True)],
            "changed": [(one != row).sum(axis=1).tolist() for one, row in zip(found, x, strict=True)],
            "diversity": [_determinant(one, space) for one in found],
        },
        warnings=each((text if len(one) < many else "" for one in found), "incomplete"),
    )


@dataclass(frozen=True, eq=False)
class _Space:
    """The columns: rows that were seen, how far apart values of each are, which are categories, which whole."""

    seen: Array
    may: Changeable
    spread: Array
    whole: Array

    @classmethod
    def of(cls, seen: Array, may: Changeable) -> _Space:
        """By median deviation; by the standard deviation where more than half of a column is alike."""
        deviation = np.median(np.abs(seen - np.median(seen, axis=0)), axis=0)
        spread = np.where(deviation > 0, deviation, seen.std(axis=0))
        return cls(seen, may, np.where(spread > 0, spread, 1.0), (seen == np.round(seen)).all(axis=0))

    def apart(self, rows: Array, other: Array) -> Array:
        """The mean over columns of how far rows ``[..., D]`` are from another."""
        gap = np.abs(rows - other) / self.spread
        gap = np.where(self.may.categories, rows != other, gap)
        return np.asarray(gap.mean(axis=-1))


@dataclass(eq=False)
class _Search:
    """One item's search."""

    decided: Decision
    item: int
    row: Array
    space: _Space
    rng: np.random.Generator
    most: int
    left: int

    def changed(self, rows: Array) -> Generator[Score, Array, Array]:
        """Which rows ``[M, D]`` are decided otherwise; those beyond the evaluations that are left are not asked."""
        rows = rows[: max(0, self.left)]
        if not len(rows):
            return np.zeros(0, bool)
        asked, self.left = self.left < self.most, self.left - len(rows)
        shaped = rows.astype(np.float32).reshape(-1, *self.decided.view.x.shape[1:])
        try:
            return np.asarray((yield from self.decided.others(self.item, shaped)) < 0)
        except BudgetError:
            if not asked:
                raise
            self.left = 0
            return np.zeros(0, bool)


def _drawn(search: _Search, many: int) -> Generator[Score, Array, Array]:
    """Rows that are decided otherwise: columns copied from rows that were seen, few at first."""
    row, space, rng = search.row, search.space, search.rng
    found: list[Array] = []
    free = np.flatnonzero(~space.may.immutable)
    half = search.left // 2
    most = 1
    while len(free) and search.left > half and sum(map(len, found)) < _KEPT * many:
        donors = space.seen[rng.integers(len(space.seen), size=_ROUND)]
        mixed = space.seen[rng.integers(len(space.seen), size=(_ROUND, len(row))), np.arange(len(row))]
        donors = np.where((np.arange(_ROUND) % 2 == 0)[:, None], donors, mixed)
        counts = rng.integers(1, min(most, len(free)) + 1, size=_ROUND)
        ranks = rng.random((_ROUND, len(free))).argsort(axis=1)
        take = np.zeros((_ROUND, len(row)), bool)
        take[:, free] = ranks < counts[:, None]
        rows = np.where(take & np.stack([space.may.allowed(row, one) for one in donors]), donors, row)
        rows = np.unique(rows[(rows != row).any(axis=1)], axis=0)
        good = yield from search.changed(rows)
        found.append(rows[: len(good)][good])
        most += 1
        if not len(rows):
            search.left -= _ROUND  # nothing to change to: the search must end
    return np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, len(row)))


def _thinned(search: _Search, rows: Array) -> Generator[Score, Array, Array]:
    """The rows with changes taken back that are not needed, then numbers moved back as far as they can be."""
    row, space = search.row, search.space
    rows = rows[np.argsort(space.apart(rows, row), kind="stable")].copy()
    for back in 0.5 ** np.arange(1.0 + _HALVINGS):
        going = True
        while going and search.left > 0:
            owner, trials = _nearer(rows, row, space, back)
            good = yield from search.changed(trials)
            owner, trials = owner[: len(good)][good], trials[: len(good)][good]
            gain = space.apart(rows[owner], row) - space.apart(trials, row)
            best = {int(n): k for k, n in sorted(enumerate(owner), key=lambda one: gain[one[0]])}
            for n, k in best.items():
                rows[n] = trials[k]
            going = bool(best) and back == 1.0  # of halves, quarters ... one round each: a search by bisection
    return np.unique(rows, axis=0)


def _nearer(rows: Array, row: Array, space: _Space, back: float) -> tuple[Array, Array]:
    """Every row with one of its changes taken back, all of it or in part; and whose each is."""
    owner, column = np.nonzero(rows != row)
    if back < 1:
        numbers = ~space.may.categories[column]
        owner, column = owner[numbers], column[numbers]
    trials = rows[owner].copy()
    k = np.arange(len(trials))
    moved = trials[k, column] + back * (row[column] - trials[k, column])
    moved = np.where(space.whole[column] & (back < 1), np.round(moved), moved)
    fresh = (moved != trials[k, column]) & ((moved != row[column]) | (back == 1))
    trials[k, column] = moved
    return owner[fresh], trials[fresh]


def chosen(valid: Array, row: Array, space: _Space, many: int, weights: tuple[float, float, float]) -> Array:
    """The set of rows whose objective is best: one after another, then by exchange; the nearest first."""
    near, few, unlike = weights
    lone = near * space.apart(valid, row) + few * (valid != row).mean(axis=1)
    alike = 1 / (1 + space.apart(valid[:, None], valid[None]))

    def worth(sets: Array) -> Array:
        dets = np.linalg.det(alike[sets[:, :, None], sets[:, None, :]])
        return np.asarray(unlike * dets - lone[sets].mean(axis=1))

    picked = np.zeros(0, np.int64)
    for _ in range(min(many, len(valid))):
        rest = np.setdiff1d(np.arange(len(valid)), picked)
        grown = np.column_stack([np.tile(picked, (len(rest), 1)), rest])
        picked = grown[worth(grown).argmax()]
    going = bool(len(picked))
    while going:
        rest = np.setdiff1d(np.arange(len(valid)), picked)
        place = np.repeat(np.arange(len(picked)), len(rest))
        swaps = np.tile(picked, (len(place), 1))
        swaps[np.arange(len(place)), place] = np.tile(rest, len(picked))
        values = worth(swaps)
        going = bool(len(swaps)) and values.max() > worth(picked[None])[0] + 1e-12
        picked = swaps[values.argmax()] if going else picked
    rows = valid[picked]
    return np.asarray(rows[np.argsort(space.apart(rows, row), kind="stable")])


def _determinant(rows: Array, space: _Space) -> float:
    return float(np.linalg.det(1 / (1 + space.apart(rows[:, None], rows[None])))) if len(rows) else 0.0
