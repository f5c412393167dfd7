"""Interactions: equal to shapiq's, planted pairs found to the index, errors that hold, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError
from xplain.explainers.perturbation.interactions import pair_indices
from xplain.testing import Formula

GOLDEN = np.load(Path(__file__).parent / "golden" / "interactions.npz")  # shapiq 1.4.1, by record_interactions.py
PLAYERS = 7


def table_of_worths(rows: np.ndarray) -> np.ndarray:
    """The game of the golden file: one number per coalition; a row holds 1 for who is there."""
    worths = np.random.default_rng(11).normal(size=2**PLAYERS)
    return (worths - worths[0])[np.asarray(rows, dtype=int) @ 2 ** np.arange(PLAYERS - 1, -1, -1)]


@pytest.mark.parametrize("index", ["fsii", "k-sii", "stii"])
def test_indices_are_those_of_shapiq(index: str) -> None:
    x = np.ones((1, PLAYERS), np.float32)
    a = xplain.explain(Formula(table_of_worths), x, "interactions", index=index)
    np.testing.assert_allclose(a.each["main effects"][0], GOLDEN[f"{index} main"], atol=1e-8)
    np.testing.assert_allclose(a.each["pairs"][0], GOLDEN[f"{index} pairs"], atol=1e-8)
    assert not np.any(a.each["pair errors"])
    np.testing.assert_allclose(a.values.sum(), a.scores[0] - a.base[0], atol=1e-5)


def paired(rows: np.ndarray) -> np.ndarray:
    """Columns 1 and 4 work together, 0 and 2 get in each other's way, 3 and the rest act alone, if at all."""
    return 3 * rows[:, 1] * rows[:, 4] - 2 * rows[:, 0] * rows[:, 2] + rows[:, 3] + 0.5 * rows[:, 0]


def test_planted_pairs_are_found_from_a_sample() -> None:
    x = np.ones((2, 20), np.float32)
    x[1, 4] = 0.5
    a = xplain.explain(Formula(paired), x, "interactions", samples=600, features="columns")
    for n, strength in enumerate((3.0, 1.5)):
        wanted = np.zeros((20, 20))
        wanted[1, 4] = wanted[4, 1] = strength
        wanted[0, 2] = wanted[2, 0] = -2
        np.testing.assert_allclose(a.each["pairs"][n], wanted, atol=1e-6)
        main = np.zeros(20)
        main[[0, 3]] = 0.5, 1.0
        np.testing.assert_allclose(a.each["main effects"][n], main, atol=1e-6)


def test_intervals_of_pairs_hold_the_truth() -> None:
    """Where three features work together the fit is a projection, and what is sampled of it scatters."""

    def three(rows: np.ndarray) -> np.ndarray:
        return 4 * rows[:, 0] * rows[:, 1] * rows[:, 2] + rows[:, 3] * rows[:, 4] + np.sin(rows.sum(axis=1))

    x = np.ones((1, 11), np.float32)
    exact = np.array(xplain.explain(Formula(three), x, "interactions", samples=2048).each["pairs"][0])
    upper = np.triu_indices(11, 1)
    inside, wrong = [], []
    for seed in range(10):
        a = xplain.explain(Formula(three), x, "interactions", samples=500, seed=seed)
        found, error = (np.array(a.each[name][0])[upper] for name in ("pairs", "pair errors"))
        inside.append(np.abs(found - exact[upper]) <= 1.96 * error)
        wrong.append(np.abs(found - exact[upper]).max())
    assert 0.88 < np.mean(inside) <= 1
    assert max(wrong) < 1.0


def test_an_index_that_needs_all_coalitions_says_what_they_cost() -> None:
    x = np.ones((1, 20), np.float32)
    with pytest.raises(UsageError, match="needs all 1,048,576 coalitions of 20 features"):
        xplain.explain(Formula(paired), x, "interactions", index="k-sii", features="columns")


def test_without_three_together_all_indices_are_the_same() -> None:
    worths = np.array([paired(np.array([[k >> j & 1 for j in range(4, -1, -1)]], float))[0] for k in range(32)])
    for index in ("k-sii", "stii"):
        main, pairs = pair_indices(worths, index)
        assert pairs[1, 4] == pytest.approx(3)
        assert pairs[0, 2] == pytest.approx(-2)
        np.testing.assert_allclose(main, [0.5, 0, 0, 1, 0], atol=1e-12)


def test_a_matrix_and_a_network_show_the_pair_that_is_there() -> None:
    rows = {name: [1.0, 1.0] for name in ("age", "dose", "size", "rate", "weight")}
    reader = xplain.table(lambda t: paired(np.stack([np.asarray(t[n]) for n in rows], 1))[:, None], columns=list(rows))
    a = xplain.explain(reader, rows, "interactions", baseline=dict.fromkeys(rows, 0.0), target=0)
    matrix, network = (np.asarray(a.render(f"interaction-{how}")) for how in ("matrix", "network"))
    warmer = network[..., 0].astype(int) - network[..., 2]
    assert min((warmer > 60).sum(), (warmer < -60).sum()) > 200  # a line of each sign
    assert matrix.shape[2] == 3
    assert (matrix[..., 0].astype(int) - matrix[..., 2] > 60).sum() > 300
    other = xplain.explain(reader, rows, "exact-shapley", baseline=dict.fromkeys(rows, 0.0), target=0)
    with pytest.raises(UsageError, match="knows no pairs"):
        other.render("interaction-matrix")
