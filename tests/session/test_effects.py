"""Effects of a column and what columns are worth: known functions in closed form, slow loops, and files of results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import UnknownName, UsageError
from xplain.testing import Formula

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(300, 4)).astype(np.float32)
ROWS[:, 1] = ROWS[:, 0] + 0.05 * ROWS[:, 1]  # two columns that go together


def bent(rows: np.ndarray) -> np.ndarray:
    return rows[:, 0] ** 2 + rows[:, 1] * rows[:, 2]


def test_partial_dependence_is_the_mean_over_all_rows() -> None:
    found = xplain.measure.effect(Formula(bent), ROWS, 0, "pdp", points=7)
    for k, at in enumerate(found.grid):
        changed = ROWS.astype(np.float64).copy()
        changed[:, 0] = at
        np.testing.assert_allclose(found.curves[:, k], bent(changed), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.mean, found.curves.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.error, found.curves.std(axis=0, ddof=1) / np.sqrt(300), rtol=1e-6)


def test_accumulated_local_effects_are_those_written_slowly() -> None:
    """Apley and Zhu 2020, equations 16 and 17, row by row; centred as PyALE 1.2 centres."""
    found = xplain.measure.effect(Formula(bent), ROWS, 0, points=8)
    edges, counts, effects = found.grid, np.zeros(len(found.grid) - 1), np.zeros(len(found.grid) - 1)
    for row in ROWS.astype(np.float64):
        k = int(np.flatnonzero((row[0] <= edges[1:]) & ((row[0] > edges[:-1]) | (np.arange(len(counts)) == 0)))[0])
        low, high = row.copy(), row.copy()
        low[0], high[0] = edges[k], edges[k + 1]
        counts[k] += 1
        effects[k] += bent(high[None])[0] - bent(low[None])[0]
    along = np.concatenate([[0], np.cumsum(effects / counts)])
    middle = ((along[:-1] + along[1:]) / 2 * counts).sum() / counts.sum()
    np.testing.assert_allclose(found.mean, along - middle, rtol=1e-4, atol=1e-4)
    assert found.cost.queries == 2 * len(ROWS) + len(ROWS)  # and a look at each row


def test_local_effects_are_not_fooled_by_columns_that_go_together() -> None:
    """x0 and x1 are nearly equal; the score reads (x0 - x1) x 30, which is large only where no row is."""
    found = xplain.measure.effect(Formula(lambda rows: 30 * (rows[:, 0] - rows[:, 1]) ** 2), ROWS, 0)
    spread = xplain.measure.effect(Formula(lambda rows: 30 * (rows[:, 0] - rows[:, 1]) ** 2), ROWS, 0, "pdp")
    assert np.ptp(found.mean) < 0.2 * np.ptp(spread.mean)


def test_shuffling_a_column_costs_what_it_explains() -> None:
    """A linear model of independent columns and its own answers: twice w^2 of the variance, 0 for what is not read."""
    x = np.random.default_rng(1).normal(size=(4000, 3)).astype(np.float32)
    weights = np.array([1.0, 0.5, 0.0])
    found = xplain.measure.importance(Formula(lambda rows: rows @ weights), x, x.astype(np.float64) @ weights)
    np.testing.assert_allclose(found.values, 2 * weights**2 * x.var(axis=0), atol=0.1)
    assert found.values[2] == 0
    assert found.measure == "squared error"
    assert "column 0" in str(found).splitlines()[1]


def test_sage_shares_the_variance_of_columns_that_are_independent() -> None:
    x = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
    weights = np.array([1.0, 0.5, 0.0])
    truth = x.astype(np.float64) @ weights
    found = xplain.measure.importance(Formula(lambda rows: rows @ weights), x, truth, "sage", repeats=600)
    assert np.all(np.abs(found.values - weights**2) < 4 * found.error + 0.08)
    assert found.values[2] == 0
    whole = found.values.sum()
    assert whole == pytest.approx(truth.var(), rel=0.25)


def test_classes_are_judged_by_their_log_loss() -> None:
    x = ROWS[:, :2].copy()
    truth = (x[:, 0] > 0).astype(int)
    model = xplain.load(lambda rows: np.stack([-3 * rows[:, 0], 3 * rows[:, 0]], axis=1))
    found = xplain.measure.importance(model, x, truth)
    assert found.measure == "log loss"
    scores = np.stack([-3 * x[:, 0], 3 * x[:, 0]], axis=1).astype(np.float64)
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.loss, -np.log(chance[np.arange(300), truth]), rtol=1e-4, atol=1e-6)
    assert found.values[0] > 1 > abs(found.values[1])


def test_results_are_saved_and_read_again(tmp_path: Path) -> None:
    rows = {name: ROWS[:40, k] for k, name in enumerate("abcd")}
    reader = xplain.table(lambda t: [[v] for v in t["a"]], columns=rows)
    made = [
        xplain.measure.effect(reader, rows, "a", points=4),
        xplain.measure.importance(reader, rows, ROWS[:40, 0], repeats=2),
    ]
    for k, one in enumerate(made):
        one.save(tmp_path / f"{k}.npz")
        again = xplain.results.load(tmp_path / f"{k}.npz")
        assert type(again) is type(one)
        assert str(again) == str(one)


def test_bad_questions_say_what_is_accepted() -> None:
    model = Formula(bent)
    with pytest.raises(UnknownName, match="column"):
        xplain.measure.effect(model, ROWS, "age")
    with pytest.raises(UsageError, match="kind is 'soup'"):
        xplain.measure.effect(model, ROWS, 0, "soup")
    with pytest.raises(UsageError, match="The truth is"):
        xplain.measure.importance(model, ROWS, ROWS[:5, 0])
    same = ROWS.copy()
    same[:, 3] = 1.0
    with pytest.raises(UsageError, match="no order of different values"):
        xplain.measure.effect(model, same, 3)
    many = xplain.load(lambda rows: np.stack([rows[:, 0]] * 3, axis=1))
    with pytest.raises(UsageError, match="3 classes; say whose score"):
        xplain.measure.effect(many, ROWS, 0)
