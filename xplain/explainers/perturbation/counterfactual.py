"""Counterfactuals: the fewest columns that, set as in the nearest row of another class, change the decision."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.caveat import each
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError, unknown
from xplain.core.query import Flow, Reading, Score, View
from xplain.core.target import every_score
from xplain.explainers.design.game import Background

__all__ = ["Changeable", "Columns", "counterfactual"]

_TRIED = 8
"""Nearest unlike rows that are tried before an item is given up."""


@dataclass(frozen=True)
class _Columns:
    """Names or numbers of columns, parted by commas."""

    accepts: str = "names or numbers of columns, parted by commas: age,sex"
    invalid: tuple[Any, ...] = (3.5, True)

    def read(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if isinstance(value, (bool, float)) or not isinstance(value, (list, tuple, int)):
            raise ValueError
        given = [value] if isinstance(value, int) else list(value)
        if not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in given):
            raise ValueError
        return tuple(str(one).strip() for one in given)


Columns: TypeAlias = Annotated[Any, _Columns()]


@method(
    "counterfactual",
    needs=Score,
    paper=Paper("Brughmans 2021", "arXiv:2104.07411"),
    unit="change of the column",
    aliases=("nice", "nearest-unlike-neighbour"),
    adaptive=True,
)
def counterfactual(
    view: View,
    *,
    background: Background | None = None,
    immutable: Columns = (),
    rising: Columns = (),
    falling: Columns = (),
    many: Positive = 1,
    most: Positive = 10,
) -> Flow:
    """Copy columns one by one from the nearest row that is decided otherwise, the most helpful first, until it flips.

    Near is ``sum over columns of |x - b| / spread``, 1 where categories differ. Of the columns that are still unlike,
    the one is copied whose copy raises the best other class most above the item's; when the class has changed, each
    copy that is not needed is taken back. So every value in the answer was seen in a real row, and no change is idle.

    Args:
        background: Rows to choose from ``[B, *item]``, such as those of the training.
        immutable: Columns that cannot change: ``age,sex``.
        rising: Columns that may only grow.
        falling: Columns that may only fall.
        many: Answers per item, each by another set of columns.
        most: Columns that may change.

    Returns:
        In the shape of the items: what to add to each column, 0 where nothing changes; the shortest answer.
        ``each["counterfactuals"]`` holds all, row by row, nearest first; ``each["decided"]`` their classes, and
        ``each["valid"]`` whether the class really changed. Where none was found the best attempt is shown, and a
        warning says so.

    Cost:
        1 + B evaluations for all, and per item at most ``most`` times the unlike columns, per row that is tried.

    Differs from the paper:
        Copies are taken back at the end; immutable and monotone columns; several answers that differ in their columns.

    Raises:
        UsageError: a column that is not there, or a background that does not fit.

    Source:
        Brughmans, Leyman and Martens, NICE: An Algorithm for Nearest Instance Counterfactual Explanations, 2021.
    """
    x = view.x.reshape(len(view.x), -1).astype(np.float64)
    others = np.zeros((1, x.shape[1])) if background is None else np.asarray(background, np.float64)
    others = others.reshape(-1, x.shape[1]) if others.size % x.shape[1] == 0 else others
    if others.shape[1:] != x.shape[1:]:
        raise UsageError(f"The background has {others.size} numbers; accepted: rows of {x.shape[1]} columns.")
    rules = Changeable.of(view, (immutable, rising, falling), x.shape[1])
    own = _decided(np.asarray((yield Score(view.x, Untouched(), every_score)))[:, 0], view)
    shaped = others.astype(np.float32).reshape(-1, *view.x.shape[1:])
    theirs = _decided(np.asarray((yield Score(shaped, Untouched(), every_score, trials=True)))[:, 0], view)
    spread = others.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    changes, details, valid, classes = np.zeros(x.shape), [], [], []
    for n, row in enumerate(x):
        apart = np.abs(others - row) / spread
        apart[:, rules.categories] = others[:, rules.categories] != row[rules.categories]
        near = np.argsort(apart.sum(axis=1), kind="stable")
        near = near[theirs[near] != own[n]][: _TRIED * many]
        found: list[tuple[Array, int, bool]] = []
        for k in near:
            one = yield from _copied(view, n, row, others[k], int(own[n]), rules.allowed(row, others[k]), most)
            columns = tuple(np.flatnonzero(one[0] != row))
            if columns and columns not in [tuple(np.flatnonzero(had != row)) for had, _, _ in found]:
                found.append(one)
            if sum(done for _, _, done in found) >= many:
                break
        found.sort(key=lambda one: (not one[2], np.count_nonzero(one[0] != row)))
        found = [one for one in found if one[2]][:many] or found[:1]
        if found:
            changes[n] = found[0][0] - row
        details.append([one.tolist() for one, _, _ in found])
        classes.append([decided for _, decided, _ in found])
        valid.append([done for _, _, done in found])
    text = (
        "No row of another class was found whose columns, as far as they may change, change the decision; the best "
        "attempt is shown. Give more rows, or free more columns."
    )
    caveats = each(("" if done and all(done) else text for done in valid), "incomplete")
    facts = {"counterfactuals": details, "decided": classes, "valid": valid, "was": [int(one) for one in own]}
    return Reading(changes.reshape(view.x.shape), each=facts, warnings=caveats)


@dataclass(frozen=True)
class Changeable:
    """Which columns may change, and how."""

    immutable: Array
    rising: Array
    falling: Array
    categories: Array

    @classmethod
    def of(cls, view: View, given: Sequence[Sequence[str]], count: int) -> Changeable:
        """From names or numbers of immutable, rising and falling columns.

        Raises:
            UnknownName: no such column; the nearest are named.
        """
        names = [str(one) for one in view.outline.facts.get("columns", range(count))]

        def places(wanted: Sequence[str]) -> Array:
            mask = np.zeros(count, bool)
            for name in wanted:
                if name not in names and not (name.isdecimal() and int(name) < count):
                    raise unknown("column", name, names)
                mask[names.index(name) if name in names else int(name)] = True
            return mask

        immutable, rising, falling = (places(one) for one in given)
        return cls(immutable, rising, falling, places([str(one) for one in view.outline.facts.get("categories", ())]))

    def allowed(self, row: Array, other: Array) -> Array:
        """Columns of ``row`` that may become those of ``other``."""
        unlike = (row != other) & ~self.immutable
        return np.asarray(unlike & ~(self.rising & (other < row)) & ~(self.falling & (other > row)))


def _decided(scores: Array, view: View) -> Array:
    """The class of each row of scores ``[R, K]``; of a single score, whether it is above the middle."""
    return np.asarray(_sides(scores, view).argmax(axis=1))


def _sides(scores: Array, view: View) -> Array:
    if scores.shape[1] > 1:
        return scores
    middle = 0.5 if view.outline.scores.kind == "probabilities" else 0.0
    return np.concatenate([-(scores - middle), scores - middle], axis=1)


def _copied(
    view: View, item: int, row: Array, other: Array, own: int, allowed: Array, most: int
) -> Generator[Score, Any, tuple[Array, int, bool]]:
    """The row with columns of another one, which class it then has, and whether that is another."""
    at, free, decided = row.copy(), np.flatnonzero(allowed), own
    copied: list[int] = []

    def asked(rows: Array) -> Generator[Score, Any, Array]:
        shaped = rows.astype(np.float32).reshape(-1, *view.x.shape[1:])
        return _sides(np.asarray((yield Score(shaped, Untouched(), every_score, trials=True)))[:, 0], view)

    while len(free) and decided == own and len(copied) < most:
        trials = np.repeat(at[None], len(free), axis=0)
        trials[np.arange(len(free)), free] = other[free]
        scores = yield from asked(trials)
        lead = np.delete(scores, own, axis=1).max(axis=1) - scores[:, own]
        best = int(lead.argmax())
        at, decided = trials[best], int(scores[best].argmax())
        copied.append(int(free[best]))
        free = np.delete(free, best)
    while decided != own and len(copied) > 1:  # what is no longer needed is taken back
        trials = np.repeat(at[None], len(copied), axis=0)
        trials[np.arange(len(copied)), copied] = row[copied]
        scores = yield from asked(trials)
        idle = np.flatnonzero(scores.argmax(axis=1) != own)
        if not len(idle):
            break
        at, decided = trials[idle[0]], int(scores[idle[0]].argmax())
        del copied[int(idle[0])]
    return at, decided, decided != own
