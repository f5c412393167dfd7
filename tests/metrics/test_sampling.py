"""A sample is fair to every class, the same for the same seed, and says how precise it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xplain.core.errors import UsageError
from xplain.metrics import plan_sample, power_table

LABELS = ["a"] * 700 + ["b"] * 280 + ["c"] * 15 + [None] * 5


def test_classes_are_drawn_in_proportion_and_none_is_left_out() -> None:
    found = plan_sample(LABELS, 100, seed=3)
    assert found.tolist() == sorted(set(found.tolist()))
    drawn = [LABELS[n] for n in found]
    assert {name: drawn.count(name) for name in ("a", "b", "c", None)} == {"a": 69, "b": 28, "c": 2, None: 1}
    assert plan_sample(LABELS, 100, seed=3).tolist() == found.tolist()
    assert plan_sample(LABELS, 100, seed=4).tolist() != found.tolist()


def test_every_item_is_equally_likely() -> None:
    counts = np.zeros(60)
    for seed in range(400):
        counts[plan_sample(np.repeat([0, 1], 30), 12, seed)] += 1
    assert abs(counts / 400 - 0.2).max() < 4.2 * math.sqrt(0.2 * 0.8 / 400)


def test_more_than_there_are_is_all_and_none_is_refused() -> None:
    assert plan_sample(7, 100).tolist() == list(range(7))
    assert len(plan_sample(list("abcdef"), 3)) == 3, "more classes than places"
    for labels, size, message in ((7, 0, "size"), ([], 5, "no items"), (0, 5, "no items"), (7, True, "size")):
        with pytest.raises(UsageError, match=message):
            plan_sample(labels, size)


def test_the_precision_is_that_of_repeated_draws() -> None:
    truth = np.random.default_rng(0).normal(size=1000)
    labels = ["x"] * 1000
    sample = plan_sample(labels, 100)
    whole = power_table(labels, sample)[0]
    means = [truth[plan_sample(labels, 100, seed)].mean() for seed in range(400)]
    assert 1.96 * np.std(means) / truth.std() == pytest.approx(whole.mean, rel=0.12)
    assert whole.share == pytest.approx(0.98 / 10 * math.sqrt(900 / 999))
    assert (whole.items, whole.of) == (100, 1000)


def test_the_least_precise_class_comes_first() -> None:
    rows = power_table(LABELS, plan_sample(LABELS, 100))
    assert [one.group for one in rows] == ["", "None", "c", "b", "a"]
    assert power_table(LABELS, np.array([0]))[1].mean == math.inf
    assert power_table(5, plan_sample(5, 5))[0].mean == 0, "all items are in it"
