"""RISE beyond its contract: unbiased, an honest error, no memory, a place to stop."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import xplain
from xplain.core.errors import BudgetError, UsageError
from xplain.testing import Formula, constant

SIDE = 14
RNG = np.random.default_rng(2)
WEIGHTS = RNG.normal(size=(SIDE, SIDE))
ITEM = RNG.normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)


def curved(rows: np.ndarray) -> np.ndarray:
    a = (rows.astype(np.float64).reshape(len(rows), -1) * WEIGHTS.reshape(-1)).sum(axis=1)
    return a + a**2 / 10


MODEL = Formula(curved, "NCHW", (1, SIDE, SIDE))


def test_unbiased_and_calibrated() -> None:
    """Over 200 seeds 95 % intervals cover in 92 to 98 %, and the mean over seeds is the expectation."""
    runs = [xplain.explain(MODEL, ITEM, "rise", samples=150, cells=4, target=0, seed=seed) for seed in range(200)]
    expected = xplain.explain(MODEL, ITEM, "rise", samples=200_000, cells=4, target=0, seed=999).values
    values, errors = (np.stack([getattr(run, name) for run in runs]) for name in ("values", "error"))
    covered = np.abs(values - expected) <= 1.96 * errors
    assert 0.92 <= covered.mean() <= 0.98
    standard = values.std(axis=0) / np.sqrt(len(runs))
    assert np.abs((values.mean(axis=0) - expected) / standard).max() < 4.5  # 196 correlated positions


def test_peaks_where_the_only_cause_is() -> None:
    def cell(rows: np.ndarray) -> np.ndarray:
        return rows[:, 0, 8:16, 24:32].astype(np.float64).sum(axis=(1, 2))

    x = np.ones((1, 3, 32, 40), np.float32)
    a = xplain.explain(Formula(cell, "NCHW", (3, 32, 40)), x, "rise", samples=3000, target=0)
    y, x_ = np.unravel_index(a.values[0].argmax(), (32, 40))
    assert 8 <= y < 16
    assert 24 <= x_ < 32


def test_4000_masks_at_224_take_little_memory() -> None:
    """What is stored does not grow with the number of masks: far below the 150 MB that were promised."""
    model = Formula(lambda rows: rows.reshape(len(rows), -1)[:, ::97].sum(axis=1), "NCHW", (3, 224, 224))
    x = np.ones((1, 3, 224, 224), np.float32)
    tracemalloc.start()
    xplain.explain(model, x, "rise", samples=4000, target=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


def test_precision_stops_early_and_says_so() -> None:
    loose = xplain.explain(MODEL, ITEM, "rise", samples=100_000, precision=0.5, target=0)
    tight = xplain.explain(MODEL, ITEM, "rise", samples=100_000, precision=0.2, target=0)
    for a, wanted in ((loose, 0.5), (tight, 0.2)):
        assert a.notes["stopped"] == ["precision"]
        assert a.notes["precision"][0] <= wanted
        assert a.cost.queries < 100_000
    assert loose.cost.queries < tight.cost.queries


def test_a_precise_item_does_not_wait_for_its_neighbour() -> None:
    pair = np.concatenate([ITEM, np.zeros_like(ITEM)])
    both = xplain.explain(MODEL, pair, "rise", samples=20_000, precision=0.3, target=0)
    alone = xplain.explain(MODEL, ITEM, "rise", samples=20_000, precision=0.3, target=0)
    assert np.array_equal(both.values[0], alone.values[0])
    assert both.notes["samples"][1] == 64
    assert both.notes["samples"][0] == alone.notes["samples"][0] > 64


def test_rounds_do_not_change_the_draws() -> None:
    """Stopped at M by precision, or asked for M at once: the same bits."""
    stopped = xplain.explain(MODEL, ITEM, "rise", samples=20_000, precision=0.3, target=0)
    at_once = xplain.explain(MODEL, ITEM, "rise", samples=stopped.notes["samples"][0], target=0)
    assert np.array_equal(stopped.values, at_once.values)
    assert np.array_equal(stopped.error, at_once.error)


def test_the_budget_is_used_up_and_no_more() -> None:
    a = xplain.explain(MODEL, ITEM, "rise", samples=4000, max_queries=301, target=0)
    assert a.notes["stopped"] == ["budget"]
    assert a.notes["samples"] == [300]  # one was spent on the prediction
    assert a.cost.queries == 301
    assert a.notes["precision"][0] > 0


def test_stability_tells_a_clear_top_from_a_tie() -> None:
    def blobs(rows: np.ndarray) -> np.ndarray:
        return sum(
            rows[:, 0, y : y + 4, x : x + 4].sum(axis=(1, 2)) for y, x in [(0, 0), (0, 16), (12, 4), (16, 20), (24, 8)]
        )

    model = Formula(blobs, "NCHW", (1, 28, 28))
    x = np.ones((1, 1, 28, 28), np.float32)
    clear = xplain.explain(model, x, "rise", samples=8000, target=0).notes["stability"][0]
    flat = Formula(lambda rows: rows.sum(axis=(1, 2, 3)), "NCHW", (1, 28, 28))
    tied = xplain.explain(flat, x, "rise", samples=8000, target=0).notes["stability"][0]
    assert clear > 0.8 > 0.3 > tied


def test_a_constant_model_is_certain() -> None:
    a = xplain.explain(constant(), ITEM, "rise", samples=500, precision=0.01, target=0)
    assert a.notes["samples"] == [64]
    assert a.notes["precision"] == [0.0]
    assert a.notes["stability"] == [1.0]


def test_messages() -> None:
    with pytest.raises(UsageError, match="samples is 1; accepted: at least 2: so many masks"):
        xplain.explain(MODEL, ITEM, "rise", samples=1, target=0)
    with pytest.raises(UsageError, match="20 x 20 cells on 14 x 14 positions; use fewer"):
        xplain.explain(MODEL, ITEM, "rise", cells=20, target=0)
    with pytest.raises(BudgetError, match=r"needs at least 2 more .* 1 item \(2 each\), but 1 of max_queries are left"):
        xplain.explain(MODEL, ITEM, "rise", max_queries=2, target=0)
