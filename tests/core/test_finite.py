"""Whether all numbers are finite is told right of every type, layout and size."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.arrays import all_finite


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(dtype, wrong):
    x = np.random.default_rng(0).normal(size=(4, 3, 50)).astype(dtype)
    assert all_finite(x)
    assert all_finite(x[:, :, ::2])
    for place in ((0, 0, 0), (3, 2, 49), (1, 1, 20)):
        bad = x.copy()
        bad[place] = wrong
        assert not all_finite(bad)
        assert not all_finite(np.asfortranarray(bad))
        assert not all_finite(bad[::-1])


def test_large_numbers_whose_squares_overflow_are_finite_all_the_same():
    assert all_finite(np.full((2, 100), 3e38, np.float32))
    assert all_finite(np.full((2, 100), -1e308))
    assert not all_finite(np.array([[3e38, np.nan]], np.float32))
    assert all_finite(np.zeros((0, 3), np.float32))
    assert all_finite(np.float32(1).reshape(()))
    assert all_finite(np.array([[2**62, -1]]))
