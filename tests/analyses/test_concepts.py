"""A planted concept is found, a planted non-concept is not; boundary and left-out answers are ridge regression's."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.analyses.concepts import _direction, holm, sensitivity
from xplain.core.errors import NonFinite, UsageError


def planted(shift, seed=0):
    """A concept that lies apart from random vectors by ``shift`` along the first number, and two gradients."""
    rng = np.random.default_rng(seed)
    concept, others = rng.normal(size=(12, 6)), rng.normal(size=(40, 6))
    concept[:, 0] += shift
    return concept, others, np.random.default_rng(seed + 100)


def asked(shift, along, seed=0, draws=99):
    concept, others, rng = planted(shift, seed)
    gradients = np.eye(6)[along] + 0.05 * rng.normal(size=(8, 6))
    return sensitivity(concept, others, gradients, sets=4, draws=draws, rng=rng)


def test_a_score_that_rises_or_falls_towards_the_concept_is_told_and_one_that_does_neither_is_not():
    rises = asked(3, 0)
    assert rises.shares.tolist() == [1, 1, 1, 1]
    assert rises.p == pytest.approx(2 / 100)  # as small as 99 exchanges can say
    assert rises.accuracy > 0.8
    concept, others, rng = planted(3)
    falls = sensitivity(concept, others, -np.eye(6)[[0, 0]], sets=4, draws=99, rng=rng)
    assert falls.shares.tolist() == [0, 0, 0, 0]
    assert falls.p == pytest.approx(2 / 100)
    assert asked(3, 4).p > 0.05  # a concept, but not one that this score leans on


def test_random_items_are_called_a_concept_as_rarely_as_p_says():
    found = np.array([asked(0, 0, seed, draws=19).p for seed in range(60)])
    assert (found <= 0.1).sum() <= 12  # 6 are expected at most
    assert found.mean() > 0.35


def test_the_direction_is_ridge_regression_and_its_accuracy_is_that_of_leaving_each_out():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(10, 4)) + np.repeat([[0.8], [0.0]], 5, axis=0)
    side = np.repeat([1.0, -1.0], 5)
    weights, right = _direction(rows @ rows.T, np.arange(10))
    inside = rows - rows.mean(axis=0)
    ridge = 0.01 * (inside**2).sum() / 10
    slope = np.linalg.solve(inside.T @ inside + ridge * np.eye(4), inside.T @ side)
    np.testing.assert_allclose(weights @ rows, slope / np.linalg.norm(slope), atol=1e-10)
    correct = 0
    for n in range(10):
        kept = np.arange(10) != n
        mean = rows[kept].mean(axis=0)
        part = rows[kept] - mean
        own = np.linalg.solve(part.T @ part + ridge * np.eye(4), part.T @ side[kept])
        correct += ((rows[n] - mean) @ own + side[kept].mean()) * side[n] > 0
    assert right == pytest.approx(correct / 10)


def test_holm_corrects_in_steps():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_what_has_no_direction_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="has 1 item beside 3 random"):
        sensitivity(np.eye(1, 3), np.eye(3), np.eye(3), sets=2, draws=3, rng=rng)
    with pytest.raises(UsageError, match="zero for every item"):
        sensitivity(np.eye(3), np.eye(3), np.zeros((2, 3)), sets=2, draws=3, rng=rng)
    holed = np.where(np.eye(3) > 0, np.nan, 1.0)
    with pytest.raises(NonFinite, match="Row 0 of the vectors"):  # else no comparison holds, and p would be smallest
        sensitivity(holed, np.eye(3), np.eye(3), sets=2, draws=3, rng=rng)
    with pytest.raises(NonFinite, match="gradient at this layer holds NaN"):
        sensitivity(np.eye(3), np.ones((3, 3)), holed, sets=2, draws=3, rng=rng)
