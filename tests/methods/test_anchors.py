"""Anchors: the rule that was planted, with a bound that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

import xplain
from xplain.explainers.estimation.bernoulli import lower_bound, upper_bound
from xplain.testing import Formula, constant

PLAYERS = 8
X = np.ones((1, PLAYERS), np.float32)


def both(rows: np.ndarray) -> np.ndarray:
    """Class 1 exactly where features 2 and 5 are shown."""
    on = (rows[:, 2] > 0.5) & (rows[:, 5] > 0.5)
    return np.stack([~on, on], axis=1).astype(float)


def test_finds_the_rule_that_was_planted() -> None:
    a = xplain.explain(Formula(both, "NS", (PLAYERS,), classes=2), X, "anchors", seed=1)
    assert a.notes["rule"] == [(2, 5)]
    assert a.notes["accepted"] == [True]
    assert a.notes["bound"][0] >= 0.95
    assert a.notes["coverage"] == [0.25]
    assert a.labels == (1,)
    # with either gone the other half of coalitions decides otherwise
    np.testing.assert_allclose(a.values[0, [2, 5]], 0.5, atol=4 * a.error.max())
    assert not a.values[0, [0, 1, 3, 4, 6, 7]].any()


def test_nothing_matters_to_a_constant_decision() -> None:
    a = xplain.explain(constant(), X, "anchors")
    assert a.notes["rule"] == [()]
    assert a.notes["accepted"] == [True]


def test_the_bound_holds_in_most_runs() -> None:
    """Precision of 0.9: the rule must hardly ever be accepted at 0.95."""
    rng = np.random.default_rng(0)
    flipped = rng.random(2**PLAYERS) < 0.1
    flipped[-1] = False

    def noisy(rows: np.ndarray) -> np.ndarray:
        code = (rows > 0.5).astype(int) @ (1 << np.arange(PLAYERS))
        return np.stack([flipped[code], ~flipped[code]], axis=1).astype(float)

    model = Formula(noisy, "NS", (PLAYERS,), classes=2)
    empty = [xplain.explain(model, X, "anchors", seed=seed, longest=1).notes["rule"][0] == () for seed in range(30)]
    assert sum(empty) <= 6  # delta = 0.1


def test_a_rule_that_was_never_tried_is_not_returned() -> None:
    """100 features: 200 samples pay for the empty rule alone, not for one batch of each rule of one feature."""
    weights = np.random.default_rng(3).normal(size=100)
    model = Formula(lambda rows: np.stack([rows @ weights, -(rows @ weights)], axis=1), "NS", (100,), classes=2)
    a = xplain.explain(model, np.ones((1, 100), np.float32), "anchors", samples=200)
    assert a.notes["rule"] == [()]
    assert a.notes["precision"][0] == a.base[0] > 0
    assert a.notes["effective"][0] >= 24


def test_samples_are_a_limit() -> None:
    a = xplain.explain(Formula(both, "NS", (PLAYERS,), classes=2), X, "anchors", samples=300)
    assert a.cost.queries <= 302


def test_a_single_score_decides_by_its_sign() -> None:
    model = Formula(lambda rows: rows[:, 3] - 0.5, "NS", (PLAYERS,))
    assert xplain.explain(model, X, "anchors").notes["rule"] == [(3,)]


@pytest.mark.parametrize(("share", "tried"), [(0.0, 10), (0.3, 50), (1.0, 10), (0.97, 300)])
def test_bounds_are_chernoffs(share: float, tried: int) -> None:
    level = math.log(20)
    low, high = lower_bound(share, tried, level), upper_bound(share, tried, level)
    assert 0 <= low <= share <= high <= 1
    if share == 1.0:
        assert low == pytest.approx(math.exp(-level / tried))  # KL(1, q) = -log q
    if share == 0.0:
        assert high == pytest.approx(1 - math.exp(-level / tried))
    assert (lower_bound(share, 0, level), upper_bound(share, 0, level)) == (0.0, 1.0)
