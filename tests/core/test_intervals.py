"""Intervals hold the mean as often as they say, small samples are told as such, and the worst tenth is found."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.intervals import mean_of, worst_tenth


@pytest.mark.parametrize("count", [8, 40])
def test_95_of_100_intervals_hold_the_mean(count):
    rng = np.random.default_rng(0)
    found = [mean_of(rng.normal(size=count), rounds=400) for _ in range(300)]
    held = np.mean([one.low < 0 < one.high for one in found])
    assert 0.89 < held < 0.985


def test_the_quantile_is_students():
    stats = pytest.importorskip("scipy.stats")
    from xplain.core.intervals import _student

    for freedom in (4, 7, 30, 1000):
        assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_gaps_are_left_out_and_few_have_no_interval():
    one = mean_of(np.array([1.0, np.nan, 3.0]))
    assert (one.mean, one.count) == (2, 2)
    assert np.isnan(one.low)
    assert "too few" in str(one)
    assert str(mean_of(np.array([np.nan]))) == "not known"
    assert mean_of(np.arange(30.0)) == mean_of(np.arange(30.0)), "drawn alike"
    many = mean_of(np.tile([0.0, 1.0], 50_000), rounds=50)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(1e5), rel=0.5)


def test_the_worst_tenth():
    values = np.array([*range(20), np.nan], float)
    assert worst_tenth(values, better_small=True)[1].tolist() == [19, 18]
    assert worst_tenth(values, better_small=False)[0] == 0.5
    mean, items = worst_tenth(values[:9], better_small=True)
    assert np.isnan(mean)
    assert len(items) == 0
