"""Prototypes and criticisms are those that the paper's two sums, written out set by set, choose greedily."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.analyses.prototypes import prototypes
from xplain.core.errors import UsageError


def kernel(rows: np.ndarray, gamma: float) -> np.ndarray:
    return np.array([[np.exp(-gamma * ((a - b) ** 2).sum()) for b in rows] for a in rows])


def squared_discrepancy(k: np.ndarray, some: list[int]) -> float:
    """Of the chosen ones to all: the mean of k within all, between both, and within the chosen ones."""
    return k.mean() - 2 * k[:, some].mean() + k[np.ix_(some, some)].mean()


def test_each_step_is_the_best_of_all_steps_by_the_written_out_sums():
    rows = np.random.default_rng(2).normal(size=(25, 3)) + 40
    found = prototypes(rows, 5, 6, gamma=0.3)
    k, chosen = kernel(rows, 0.3), []
    for step in range(5):
        free = [one for one in range(25) if one not in chosen]
        chosen.append(min(free, key=lambda one: squared_discrepancy(k, [*chosen, one])))
        np.testing.assert_allclose(found.discrepancy[step], squared_discrepancy(k, chosen), rtol=1e-9)
    assert found.prototypes.tolist() == chosen
    witness = k.mean(axis=0) - k[chosen].mean(axis=0)
    np.testing.assert_allclose(found.witness, witness, atol=1e-12)
    critics: list[int] = []

    def unlike(some):
        return np.abs(witness[some]).sum() + np.linalg.slogdet(k[np.ix_(some, some)])[1]

    for _ in range(6):
        free = [one for one in range(25) if one not in [*chosen, *critics]]
        critics.append(max(free, key=lambda one: unlike([*critics, one])))
    assert found.criticisms.tolist() == critics
    np.testing.assert_array_equal(found.nearest, k[:, chosen].argmax(axis=1))


def test_every_group_has_its_prototype_and_the_lone_ones_are_the_criticisms():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [8, 0], [0, 8]])
    rows = np.concatenate([*(centre + rng.normal(size=(20, 2)) * 0.4 for centre in centres), [[30, 30], [-30, 0]]])
    found = prototypes(rows, 3, 2, gamma=0.5)
    assert sorted((found.prototypes // 20).tolist()) == [0, 1, 2]
    assert sorted(prototypes(rows, 59, 2, gamma=0.5).criticisms.tolist()) != [60, 61]  # they are prototypes by then
    assert np.bincount(found.nearest[:60]).tolist() == [20, 20, 20]
    assert (found.witness[[60, 61]] > 0).all()  # the folder holds them, no prototype does
    assert np.diff(found.discrepancy).max() < 0


def test_direction_alone_counts_where_it_is_asked_for_and_the_kernel_is_that_of_the_median():
    rows = np.random.default_rng(3).normal(size=(12, 4))
    scaled = rows * np.arange(1, 13)[:, None]
    one, other = prototypes(rows, 3, 2, metric="cosine"), prototypes(scaled, 3, 2, metric="cosine")
    np.testing.assert_array_equal(one.prototypes, other.prototypes)
    far = ((rows[:, None] - rows) ** 2).sum(axis=2)
    assert prototypes(rows, 2).gamma == pytest.approx(1 / np.median(far[far > 0]))


def test_copies_of_a_criticism_are_no_further_criticisms():
    rows = np.repeat([[0.0, 0], [1, 0], [5, 5]], 4, axis=0)
    found = prototypes(rows, 1, 9, gamma=1.0)
    assert len(found.criticisms) == 3  # one of each place, none twice
    assert len({tuple(rows[one]) for one in found.criticisms}) == 3


@pytest.mark.parametrize("count", [0, 4, 9])
def test_as_many_prototypes_as_vectors_say_nothing(count):
    with pytest.raises(UsageError, match="1 to 3 of them"):
        prototypes(np.eye(4), count)
