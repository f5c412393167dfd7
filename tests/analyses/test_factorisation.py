"""Non-negative factors: planted directions come back, others are encoded as least squares say, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from xplain.analyses.factorisation import encoded, factorised, left_out
from xplain.core.errors import NonFinite, UsageError

BANK = np.array([[3, 1, 0, 0, 0], [0, 0, 2, 2, 1], [0, 0, 0, 0, 4]], float)


def planted(count=60, seed=0):
    """Sums of the three directions, of which each row lacks one: a factorisation that is unique."""
    rng = np.random.default_rng(seed)
    amounts = rng.random((count, 3)) * (rng.random((count, 3)) < 0.6)
    amounts[:3] = np.eye(3)
    return amounts, amounts @ BANK


def test_planted_directions_come_back_with_how_much_of_each_there_is():
    amounts, rows = planted()
    found = factorised(rows, 3, seed=1)
    unit = BANK / np.linalg.norm(BANK, axis=1, keepdims=True)
    cosines = found.bank @ unit.T
    order = cosines.argmax(axis=0)
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(cosines.max(axis=0), 1, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(found.bank, axis=1), 1)
    expected = amounts * np.linalg.norm(BANK, axis=1)
    np.testing.assert_allclose(found.coefficients[:, order], expected, atol=0.05)
    assert found.lost < 1e-4
    assert found.converged


def test_other_rows_are_encoded_as_non_negative_least_squares_say():
    rng = np.random.default_rng(2)
    bank, rows = rng.random((3, 8)), rng.random((12, 8)) * (rng.random((12, 8)) < 0.5)
    np.testing.assert_allclose(encoded(rows, bank), [nnls(bank.T, row)[0] for row in rows], atol=2e-3)


def test_what_is_not_in_the_bank_is_told():
    rows = np.array([[3.0, 0, 4], [0, 0, 5]])
    assert left_out(rows, np.array([[3.0], [0]]), np.array([[1.0, 0, 0]])) == pytest.approx(41 / 50)
    assert left_out(np.zeros((2, 3)), np.zeros((2, 1)), np.ones((1, 3))) == 0
    _, mixed = planted()
    one = factorised(mixed, 1)
    assert one.lost == pytest.approx(left_out(mixed, one.coefficients, one.bank))
    assert one.lost > 0.1
    assert one.converged


def test_a_direction_that_nothing_needs_is_left_out():
    rows = np.outer(np.arange(1.0, 9), [1.0, 2, 0, 0])
    found = factorised(rows, 3)
    assert len(found.bank) < 3
    assert found.lost < 1e-6


def test_what_cannot_be_a_sum_of_concepts_is_refused():
    with pytest.raises(UsageError, match="-1, and sums of concepts are never below 0"):
        factorised(np.array([[1.0, -1], [2, 3]]), 1)
    with pytest.raises(
        UsageError, match="bank of 4 concepts cannot be made of 3 activations of 5 numbers.*1 to 3 here"
    ):
        factorised(planted(3)[1], 4)
    with pytest.raises(UsageError, match="are equal"):
        factorised(np.ones((4, 3)), 2)
    with pytest.raises(UsageError, match="is zero"):
        factorised(np.zeros((1, 3)), 1)
    with pytest.raises(NonFinite):
        factorised(np.array([[1.0, np.nan], [2, 3]]), 1)
