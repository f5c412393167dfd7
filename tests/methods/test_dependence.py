"""HSIC and Sobol: against their definitions written slowly, SALib's index, known variances, and honest errors."""

from __future__ import annotations

import numpy as np

import xplain
from xplain.explainers.perturbation.hsic import hsic_indices
from xplain.explainers.perturbation.sobol import total_indices
from xplain.testing import Formula


def test_hsic_is_the_trace_of_the_papers_kernels() -> None:
    rng = np.random.default_rng(0)
    shown = (rng.random((40, 5)) < 0.5).astype(float)
    scores = 2 * shown[:, 0] - shown[:, 1] * shown[:, 2] + rng.normal(size=40) / 5
    apart = np.abs(scores[:, None] - scores[None])
    width = np.median(apart[np.triu_indices(40, 1)])
    middle = np.eye(40) - 1 / 40
    wanted = [
        np.trace((column[:, None] == column[None]) @ middle @ np.exp(-(apart**2) / (2 * width**2)) @ middle) / 40**2
        for column in shown.T
    ]
    np.testing.assert_allclose(hsic_indices(shown, scores)[0], wanted, rtol=1e-10)


def spreading(rows: np.ndarray) -> np.ndarray:
    """Column 0 moves the score; column 1 only turns the sign of column 2; columns 3 to 6 do nothing."""
    return 3 * rows[:, 0] + 2 * (2 * rows[:, 1] - 1) * (2 * rows[:, 2] - 1) + 0 * rows[:, 3]


def test_hsic_sees_what_is_there_and_its_interval_covers_nothing_where_nothing_is() -> None:
    """Of columns without an effect, at most a few intervals leave 0 out; those with one are found each time."""
    model, x = Formula(spreading), np.ones((1, 7), np.float32)
    missed = 0
    for seed in range(12):
        a = xplain.explain(model, x, "hsic", samples=200, seed=seed)
        found, error = np.array(a.notes["feature_values"][0]), np.array(a.notes["feature_errors"][0])
        assert (found[:3] > 2 * error[:3]).sum() >= 1
        assert found[0] > found[3:].max()
        missed += int((found[3:] > 1.96 * error[3:]).sum())
    assert missed <= 5  # 48 intervals


def test_hsic_errors_are_of_the_size_of_what_runs_differ_by() -> None:
    model, x = Formula(spreading), np.ones((1, 7), np.float32)
    runs = [xplain.explain(model, x, "hsic", samples=150, seed=seed) for seed in range(30)]
    found = np.array([run.notes["feature_values"][0] for run in runs])
    told = np.array([run.notes["feature_errors"][0] for run in runs]).mean(axis=0)
    assert 0.5 < told[0] / found[:, 0].std() < 2


def test_total_indices_are_jansens_and_errors_are_honest() -> None:
    """f = 2 x0 + x1 x2 of uniform shades: the variances are known in closed form."""
    model = Formula(lambda rows: 2 * rows[:, 0] + rows[:, 1] * rows[:, 2] + 0 * rows[:, 3])
    x = np.ones((1, 4), np.float32)
    alone, product = 4 / 12, 1 / 9 - 1 / 16
    wanted = np.array([alone, 1 / 12 * 1 / 3, 1 / 12 * 1 / 3, 0]) / (alone + product)
    runs = [xplain.explain(model, x, "sobol", designs=64, seed=seed) for seed in range(8)]
    found = np.array([run.notes["feature_values"][0] for run in runs])
    told = np.array([run.notes["feature_errors"][0] for run in runs])
    np.testing.assert_allclose(found.mean(axis=0), wanted, atol=0.03)
    assert np.all(np.abs(found - wanted) < 4 * told + 1e-9)
    assert not found[:, 3].any()


def test_total_indices_are_those_of_salib() -> None:
    """SALib 1.6.0, ``SALib.analyze.sobol.total_order(plain, changed[:, k], plain)`` for each k."""
    rng = np.random.default_rng(1)
    plain, changed = rng.normal(size=8), rng.normal(size=(8, 3))
    theirs = np.array([0.39944931109284726, 2.100580914771604, 1.4353405630824967])  # by the variance over n, not n - 1
    np.testing.assert_allclose(total_indices(plain, changed)[0], theirs, rtol=1e-12)


def test_faded_cells_of_a_picture_find_the_planted_one() -> None:
    def cell(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows[:, :, 4:8, 8:12].mean(axis=(1, 2, 3)))

    model = Formula(cell, "NCHW", (2, 16, 16))
    x = np.random.default_rng(0).uniform(0.5, 1, (2, 2, 16, 16)).astype(np.float32)
    for method in ("sobol", "hsic"):
        a = xplain.explain(model, x, method, features="grid:4")
        inside = a.values[:, 4:8, 8:12]
        assert (inside > 0).all()
        outside = a.values.copy()
        outside[:, 4:8, 8:12] = 0
        assert outside.max() < 0.05 * inside.min()
