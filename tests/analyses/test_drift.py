"""Distances of two samples are those of all pairs written out; what moved is told, and nothing where nothing did."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xplain.analyses.drift import apart, drift
from xplain.core.errors import UsageError


def energy(x: np.ndarray, y: np.ndarray) -> float:
    """Pair by pair, each number in its standard deviation."""
    spread = np.concatenate([x, y]).std(axis=0)
    x, y = x / spread, y / spread

    def mean(a, b):
        return float(np.mean([np.sqrt(((p - q) ** 2).sum()) for p in a for q in b]))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The squared MMD with the kernel sum sqrt(p q), pair by pair."""

    def mean(a, b):
        return float(np.mean([np.sqrt(p * q).sum() for p in a for q in b]))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_both_distances_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(13, 3)), rng.normal(0.5, 2, size=(9, 3))
    assert apart(x, y, draws=9)[0] == pytest.approx(energy(x, y), rel=1e-4)
    p, q = rng.dirichlet(np.ones(6), 13), rng.dirichlet(np.arange(1, 7), 9)
    assert apart(p, q, "hellinger", draws=9)[0] == pytest.approx(discrepancy(p, q), rel=1e-4)
    one = apart(x[:, :1], y[:, :1], draws=9)[0]
    scale = np.concatenate([x, y])[:, 0].std()
    assert one == pytest.approx(stats.energy_distance(x[:, 0] / scale, y[:, 0] / scale) ** 2, rel=1e-4)


@pytest.mark.parametrize("distance", ["energy", "hellinger"])
def test_p_is_uniform_where_both_samples_are_of_one_source(distance):
    rng = np.random.default_rng(1)
    p = [apart(*(rng.dirichlet(np.ones(5), n) for n in (20, 30)), distance, draws=99, seed=s)[1] for s in range(150)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_energy_distance_sees_a_change_that_leaves_the_mean():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (300, 1)), rng.normal(0, 2, (300, 1))
    assert apart(x, y, draws=199)[1] == 1 / 200


def sample(rng, count, moved=0.0):
    raw = rng.gamma(2, size=(count, 8, 8))
    some = rng.random(count) < moved
    raw[some, 6, 1] += 2 * raw.sum(axis=(1, 2))[some]
    return raw / raw.sum(axis=(1, 2), keepdims=True), some


def test_the_class_whose_reasons_moved_is_named_with_the_items_that_moved():
    rng = np.random.default_rng(4)
    names = np.array(["owl", "cat"] * 200)
    before, _ = sample(rng, 400)
    after, _ = sample(rng, 400)
    moved = np.flatnonzero(names == "cat")[:20]
    after[moved] = sample(rng, 20, 1.0)[0]
    found = drift(
        before, after, (names, names), what="explanations", items=np.arange(400) + 7000, names=("May", "June")
    )
    assert [one.group for one in found] == ["", "cat", "owl"]
    assert [one.standing for one in found] == ["candidate", "candidate", "measured"]
    assert found[1].p <= 0.01
    assert found[2].p > 0.01
    assert set(found[1].members[:20]) == set(moved + 7000)
    change = found[1].evidence["after"] - found[1].evidence["before"]
    assert change.argmax() == 6 * 8 + 1
    assert "May" in found[1].statement
    assert any("not what" in one for one in found[1].limits)


def test_few_items_are_told_how_many_are_needed_and_failed_ones_are_left_out():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 2))
    x[::2] = np.nan
    names = ["a"] * 60
    found = drift(x, rng.normal(size=(40, 2)), (names, ["a"] * 30 + ["b"] * 10), what="scores")
    assert [(one.group, one.standing) for one in found] == [("", "measured"), ("a", "measured"), ("b", "too few")]
    assert found[0].count == 70
    few = drift(x[:9], x[:30], (names[:9], names[:30]), what="scores")
    assert few[0].standing == "too few"
    assert few[0].evidence["needed"] == 20


def test_what_is_no_sample_is_refused():
    with pytest.raises(UsageError, match="one width"):
        apart(np.ones((3, 2)), np.ones((3, 3)))
    with pytest.raises(UsageError, match="negative"):
        apart(-np.ones((3, 2)), np.ones((3, 2)), "hellinger")
    with pytest.raises(UsageError, match="NaN"):
        apart(np.full((3, 2), np.nan), np.ones((3, 2)))
