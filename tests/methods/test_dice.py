"""Diverse counterfactuals: every way out that there is, each without an idle change, within what may change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import xplain
from xplain.core.errors import UnknownName, UsageError
from xplain.explainers.perturbation.counterfactual import Changeable
from xplain.explainers.perturbation.dice import _Space, chosen
from xplain.testing import Formula

RNG = np.random.default_rng(1)
COLUMNS = ("income", "debt", "age", "job")
JOBS = ("clerk", "nurse", "smith")
SEEN = {
    "income": np.round(RNG.normal(size=300), 2),
    "debt": np.round(RNG.normal(size=300), 2),
    "age": RNG.integers(20, 70, 300),
    "job": RNG.choice(JOBS, 300),
}
REFUSED = {"income": [-1.0, -0.5], "debt": [1.0, 1.2], "age": [30, 41], "job": ["clerk", "nurse"]}


def credit(t):
    """Three ways to be accepted: enough income, little debt, or being a smith; age does nothing."""
    yes = (np.asarray(t["income"], float) > 0.8) | (np.asarray(t["debt"], float) < -0.8)
    yes = yes | (np.asarray(t["job"]) == "smith")
    return np.stack([~yes, yes], axis=1).astype(float)


def asked(rows=REFUSED, **options):
    reader = xplain.table(credit, columns=SEEN)
    return xplain.explain(reader, rows, "dice", background=SEEN, **options)


def test_all_three_ways_out_are_found_and_each_changes_one_column():
    a = asked(many=3)
    smith = 6 - a.rows[:, 3].sum()  # jobs are numbered from 1, and nobody else is one
    for own, rows in zip(a.rows, map(np.array, a.each["counterfactuals"]), strict=True):
        by_way = {int(np.flatnonzero(row != own)[0]): row for row in rows}
        assert sorted(by_way) == [0, 1, 3]
        assert 0.8 < by_way[0][0] < 0.85, "no further than it must"
        assert -0.85 < by_way[1][1] < -0.8
        assert by_way[3][3] == smith
    assert a.each["changed"] == [[1, 1, 1]] * 2
    assert all(one == sorted(one) for one in a.each["distance"])
    assert not a.values[:, 2].any()


def test_without_diversity_the_nearest_are_taken():
    alike, unlike = asked(many=3, diversity=0.0), asked(many=3, diversity=2.0)
    for n in range(2):
        assert alike.each["diversity"][n] < unlike.each["diversity"][n]
        assert np.mean(alike.each["distance"][n]) <= np.mean(unlike.each["distance"][n])


def test_what_may_not_change_does_not():
    a = asked(many=2, immutable="job", rising="debt,income")
    for own, rows in zip(a.rows, map(np.array, a.each["counterfactuals"]), strict=True):
        assert len(rows)
        assert (rows[:, 3] == own[3]).all()
        assert (rows[:, 1] == own[1]).all(), "less debt would be a way, but it may only rise"
    b = asked(immutable="income,debt,job")
    assert b.each["counterfactuals"] == [[], []]
    assert any("Fewer counterfactuals" in one for one in b.said)
    assert not b.values.any()
    with pytest.raises(UnknownName, match="income"):
        asked(immutable="incme")


def test_numbers_end_just_beyond_the_bound_and_whole_ones_stay_whole():
    model = Formula(lambda rows: rows[:, 0] + 0 * rows[:, 1], "NS", (2,))
    seen = np.stack([np.linspace(-3, 3, 61), np.arange(61)], axis=1).astype(np.float32)
    x = np.array([[-1.0, 7.0]], np.float32)
    a = xplain.explain(model, x, "dice", background=seen, target=0, above=0.5, many=1)
    assert a.each["counterfactuals"][0][0][0] == pytest.approx(0.5, abs=0.05), "a forecast reaches its bound"
    whole = Formula(lambda rows: rows[:, 1], "NS", (2,))
    b = xplain.explain(whole, x, "dice", background=seen, target=0, above=33.0, many=1)
    assert b.each["counterfactuals"][0][0][1] == 33.0


def test_the_chosen_set_is_the_best_of_all_sets():
    """Against every set of three of nine rows, by the determinant."""
    rows, row = RNG.normal(size=(9, 4)), np.zeros(4)
    none = np.zeros(4, bool)
    space = _Space.of(RNG.normal(size=(50, 4)), Changeable(none, none, none, none))

    def worth(some):
        gaps = np.abs(some[:, None] - some[None]) / space.spread
        det = np.linalg.det(1 / (1 + gaps.mean(axis=2)))
        return det - 0.5 * (np.abs(some) / space.spread).mean(axis=1).mean() - 0.5

    best = max(worth(rows[list(some)]) for some in itertools.combinations(range(9), 3))
    assert worth(chosen(rows, row, space, 3, (0.5, 0.5, 1.0))) == pytest.approx(best)


def test_a_background_of_other_columns_is_refused():
    model = Formula(lambda rows: rows[:, 0], "NS", (2,))
    with pytest.raises(UsageError, match="rows of 2 columns"):
        xplain.explain(model, np.ones((1, 2), np.float32), "dice", background=np.ones((3, 1)), target=0)


def test_a_budget_is_shared_and_what_it_bought_is_kept():
    a = asked(many=2, max_queries=80)
    assert a.cost.queries <= 80
    assert all(rows for rows in a.each["counterfactuals"]), "each of both items had its half"


def test_candidates_are_asked_in_full_calls():
    """Whatever a function costs per call, a search of thousands of rows takes tens of calls."""
    calls = []

    def counted(rows):
        calls.append(len(rows))
        return np.stack([-rows[:, 0], rows[:, 0]], axis=1)

    seen = RNG.normal(size=(200, 6)).astype(np.float32)
    model = xplain.load(counted, layout="NS")
    x = -np.abs(seen[:2])
    a = xplain.explain(model, x, "dice", background=seen, many=3)
    assert a.cost.queries == sum(calls) > 300
    assert len(calls) < a.cost.queries / 8
    calls.clear()
    alone = xplain.explain(model, x[1:], "dice", background=seen, many=3)
    np.testing.assert_array_equal(alone.values[0], a.values[1])  # no item's rows share a call with another's
    one = xplain.explain(model, x[1:], "dice", background=seen, many=3, batch_size=1)
    np.testing.assert_array_equal(one.each["counterfactuals"][0], a.each["counterfactuals"][1])
