"""Arrays are joined with the values that they have; rows of one array that follow each other are not copied."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.arrays import behind


def rows(whole: np.ndarray, places: list[int]) -> list[np.ndarray]:
    return [whole[n][None] for n in places]


@pytest.mark.parametrize("places", [[0], [0, 1, 2, 3, 4], [1, 2, 3], [4]])
def test_rows_that_follow_each_other_are_the_array_itself(places):
    whole = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    joined = behind(rows(whole, places))
    assert np.array_equal(joined, whole[places])
    assert np.shares_memory(joined, whole)
    assert np.array_equal(behind([whole[1:3], whole[3:5]]), whole[1:])


@pytest.mark.parametrize("places", [[0, 2], [1, 0], [3, 3], [4, 0, 1]])
def test_rows_in_another_order_are_copied(places):
    whole = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    joined = behind(rows(whole, places))
    assert np.array_equal(joined, whole[places])
    assert not np.shares_memory(joined, whole)


def test_parts_of_rows_and_rows_of_others_are_joined_as_they_are():
    whole = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    other = whole.copy()
    for parts in (
        [whole[:2, :3], whole[2:, :3]],
        [whole[:1], other[1:2]],
        [whole.T[:2], whole.T[2:4]],
        [whole[:2], np.zeros((0, 6), np.float32)],
        [whole.view(np.int32)[:1], whole.view(np.int32)[1:2]],
        [np.zeros((0, 6), np.float32), whole[:1]],
        [whole.reshape(8, 3)[1:3], whole.reshape(8, 3)[3:5]],
    ):
        assert np.array_equal(behind(parts), np.concatenate(parts))
