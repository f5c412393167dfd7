"""Distinct coalitions: the order of a stream, weights that stand for the population, certainty when all were seen."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.explainers.design.draws import Distinct, sized


def stream(players: int, seed: int) -> Distinct:
    """Every feature shown with probability 0.7."""

    def odds(rows: np.ndarray) -> np.ndarray:
        shown = rows.sum(axis=1, dtype=int)
        return 0.7**shown * 0.3 ** (players - shown)

    def draw(first: int, count: int) -> np.ndarray:
        return np.random.default_rng(seed).random((first + count, players))[first:] < 0.7

    return Distinct(players, odds, draw, lambda count: np.random.default_rng(seed).random(count))


@pytest.mark.parametrize("players", [8, 18])
def test_prefixes_are_prefixes_and_nothing_comes_twice(players: int) -> None:
    one = stream(players, 0)
    few, many = one.first(20), one.first(150)
    assert np.array_equal(few.rows, many.rows[:20])
    assert len(np.unique(many.rows, axis=0)) == 150
    assert many.rows.dtype == np.uint8


@pytest.mark.parametrize("players", [8, 18])
def test_weights_stand_for_the_population(players: int) -> None:
    """The mean number of features shown is 0.7 S, whatever was seen first; plain means of distinct rows are not."""
    estimates, weights = [], []
    for seed in range(300):
        found = stream(players, seed).first(100)
        weights.append(found.weights.sum())
        estimates.append(found.weights @ found.rows.sum(axis=1))
    spread = np.std(estimates) / np.sqrt(300)
    assert abs(np.mean(estimates) - 0.7 * players) < 4 * spread + 0.01 * players
    assert np.mean(weights) == pytest.approx(1, abs=0.02)


def test_nothing_is_left_to_chance_when_all_were_seen() -> None:
    found = stream(6, 3).first(64)
    assert found.weights.sum() == pytest.approx(1)
    assert not found.correction.any()
    assert 0 < stream(6, 3).first(63).correction.max() < 1


def test_sizes_and_members() -> None:
    chance = np.random.default_rng(0).random((20_000, 6))
    rows = sized(chance, np.array([0.25, 1.0]), np.array([1, 4]))
    assert set(rows.sum(axis=1)) == {1, 4}
    assert np.mean(rows.sum(axis=1) == 1) == pytest.approx(0.25, abs=0.02)
    assert np.allclose(rows[rows.sum(axis=1) == 4].mean(axis=0), 0.8, atol=0.02)
