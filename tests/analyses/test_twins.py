"""Rank correlations are scipy's; planted changes of reason, contradictions and worst classes come back to the index."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xplain.analyses.twins import contradictions, rank_correlation, twins, unrelated
from xplain.core.errors import UsageError


def test_the_rank_correlation_is_scipys_with_ties_and_no_contrast_has_none():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (9, 4, 5)), rng.integers(0, 6, (9, 4, 5))
    slow = [stats.spearmanr(x.reshape(-1), y.reshape(-1)).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), slow, rtol=1e-9)
    flat = np.ones((2, 3, 3))
    flat[1] = np.nan
    assert np.isnan(rank_correlation(flat, np.random.default_rng(1).normal(size=(2, 3, 3)))).all()
    with pytest.raises(UsageError, match="one shape"):
        rank_correlation(a, b[:, :3])


def maps(rng, count):
    return rng.normal(size=(count, 7, 7)) + np.linspace(-2, 2, 7)[:, None]  # all are brighter below


def test_maps_of_different_items_are_alike_by_what_they_have_in_common_alone():
    rng = np.random.default_rng(2)
    one = maps(rng, 400)
    assert unrelated(one, one).mean() == pytest.approx(rank_correlation(one[:200], one[200:]).mean(), abs=0.05)
    assert unrelated(one, one).mean() > 0.4


def test_the_items_and_the_class_that_changed_their_reason_are_named():
    rng = np.random.default_rng(3)
    one = maps(rng, 300)
    other = one + 0.1 * rng.normal(size=one.shape)
    names = np.repeat(["cat", "dog", "owl"], 100)
    moved = np.arange(200, 215)
    other[moved] = one[moved, ::-1]
    predicted = names.copy()
    predicted[0:3] = "owl"
    found = twins(
        rank_correlation(one, other),
        (names, predicted),
        names=("fp32", "int8"),
        groups=names,
        items=np.arange(300) + 9000,
    )
    assert [(one.group, one.standing) for one in found] == [("", "measured"), ("", "candidate"), ("owl", "candidate")]
    assert set(found[1].members) == set(moved + 9000) == set(found[2].members)
    assert found[0].evidence["same class"] == 0.99
    assert found[1].effect == 0.05
    assert found[2].interval[0] > 0.05
    assert found[0].interval[0] < found[0].effect < found[0].interval[1]
    same = twins(rank_correlation(one, one), (names, names), names=("a", "b"), groups=names)
    assert [one.standing for one in same] == ["measured"]
    assert twins(np.ones(9), (names[:9], names[:9]), names=("a", "b"))[0].standing == "too few"


def test_methods_contradict_one_another_where_their_maps_are_no_more_alike_than_of_different_items():
    rng = np.random.default_rng(4)
    one = maps(rng, 200)
    other = one + 0.3 * rng.normal(size=one.shape)
    other[[7, 70, 150]] = -one[[7, 70, 150]]
    rho, chance = rank_correlation(one, other), unrelated(one, other)
    (found,) = contradictions(rho, chance, names=("lrp", "rise"))
    assert set(found.members) == {7, 70, 150}
    assert found.standing == "candidate"
    assert found.effect == 0.015
    (half,) = contradictions(chance, chance, names=("lrp", "rise"))
    assert half.effect == pytest.approx(0.5, abs=0.01)  # nothing to do with one another: half of all
    assert contradictions(np.full(200, 0.99), chance, names=("a", "b"))[0].standing == "measured"
    assert contradictions(rho[:5], chance, names=("a", "b"))[0].standing == "too few"
