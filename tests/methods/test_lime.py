"""LIME: the authors' coefficients from the same samples, its selection, its tree, its error, its pick."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.explainers.estimation.pick import pick
from xplain.explainers.estimation.regression import ridge_fit
from xplain.explainers.estimation.selection import select
from xplain.explainers.estimation.tree import tree_fit
from xplain.testing import Formula, linear

linear_model = pytest.importorskip("sklearn.linear_model")

PLAYERS = 9
RNG = np.random.default_rng(8)
W = RNG.normal(size=(2, PLAYERS))
X = RNG.normal(size=(1, PLAYERS)).astype(np.float32)


def function(rows: np.ndarray) -> np.ndarray:
    a, b = ((rows.astype(np.float64) * w).sum(axis=1) for w in W)
    return a + np.tanh(b) * a


MODEL = Formula(function, "NS", (PLAYERS,))


ALL = ((np.arange(2**PLAYERS)[:, None] >> np.arange(PLAYERS)) & 1).astype(float)[::-1]
"""Every coalition, the item itself first."""


def cloud(samples: int) -> np.ndarray:
    z = (np.random.default_rng(1).random((samples, PLAYERS)) < 0.5).astype(float)
    z[0] = 1
    return z


@pytest.mark.parametrize(("distance", "width"), [("cosine", 0.25), ("l2", 2.0)])
def test_coefficients_are_the_authors(distance: str, width: float) -> None:
    """lime_base on all coalitions: sklearn's distances, root of the exponential kernel, Ridge(alpha=1), intercept."""
    pairwise = pytest.importorskip("sklearn.metrics").pairwise_distances
    if distance == "cosine":  # of nothing at all sklearn says 1
        away = np.array([1 - np.sqrt(z.sum() / PLAYERS) for z in ALL])
        np.testing.assert_allclose(away[:-1], pairwise(ALL[:-1], ALL[:1], metric="cosine").ravel(), atol=1e-12)
    else:
        away = pairwise(ALL, ALL[:1], metric="euclidean").ravel()
    weights = np.sqrt(np.exp(-(away**2) / width**2))
    scores = function((ALL * X).astype(np.float32))
    ridge = linear_model.Ridge(alpha=1, fit_intercept=True).fit(ALL, scores, sample_weight=weights)

    a = xplain.explain(MODEL, X, "lime", distance=distance, width=width)
    assert a.cost.queries == 1 + 2**PLAYERS
    np.testing.assert_allclose(a.notes["feature_values"][0], ridge.coef_, atol=1e-6)
    assert np.isclose(a.base[0], ridge.intercept_)
    assert np.isclose(a.notes["r2"][0], ridge.score(ALL, scores, sample_weight=weights))
    assert not a.error.any()  # nothing is left to chance


def test_the_same_rows_and_weights_give_the_same_coefficients() -> None:
    z = cloud(200)
    weights, scores = RNG.random(200), function((z * X).astype(np.float32))
    ridge = linear_model.Ridge(alpha=0.7).fit(z, scores, sample_weight=weights)
    fit = ridge_fit(z, scores, weights, 0.7)
    np.testing.assert_allclose(fit.values, ridge.coef_, atol=1e-9)
    assert np.isclose(fit.intercept, ridge.intercept_)


def test_lasso_path_lets_in_what_lars_lets_in() -> None:
    z = cloud(400)
    weights, scores = RNG.random(400), function((z * X).astype(np.float32))
    root = np.sqrt(weights)
    centred = (z - np.average(z, axis=0, weights=weights)) * root[:, None]
    gains = (scores - np.average(scores, weights=weights)) * root
    _, _, path = linear_model.lars_path(centred, gains, method="lasso", verbose=False)
    for most in (1, 3, 5):
        last = next(c for c in path.T[::-1] if np.count_nonzero(c) <= most)
        assert select(z, scores, weights, most, "lasso-path").tolist() == np.flatnonzero(last).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_every_stretch_of_the_path_is_seen(seed: int) -> None:
    """Correlated columns, of which some come in, go out and come in again, and stretches of any length."""
    rng = np.random.default_rng(seed)
    players = int(rng.integers(2, 14))
    z = (rng.random((60, players)) < 0.5).astype(float)
    z[:, -1] = np.where(rng.random(60) < 0.8, z[:, 0], z[:, -1])
    mixed = z @ rng.normal(size=(players, players)) if seed % 2 else z
    scores = mixed @ rng.normal(size=players) + np.sin(5 * mixed).sum(1) + rng.normal(size=60) * 0.3
    weights = rng.random(60)
    root = np.sqrt(weights)
    centred = (mixed - np.average(mixed, axis=0, weights=weights)) * root[:, None]
    gains = (scores - np.average(scores, weights=weights)) * root
    _, _, path = linear_model.lars_path(centred, gains, method="lasso", verbose=False)
    for most in range(1, players):
        last = next(c for c in path.T[::-1] if np.count_nonzero(c) <= most)
        assert select(mixed, scores, weights, most, "lasso-path").tolist() == np.flatnonzero(last).tolist()


def test_columns_that_say_the_same_do_not_stop_the_path() -> None:
    z = cloud(100)
    twice = np.concatenate([z, z[:, :2], np.ones((100, 1))], axis=1)
    weights = np.ones(100)
    scores = twice @ np.arange(twice.shape[1])
    for most in (1, 3, 6):
        assert 0 < len(select(twice, scores, weights, most, "lasso-path")) <= most


@pytest.mark.parametrize("how", ["highest", "forward", "lasso-path", "auto"])
def test_selection_keeps_the_features_that_matter(how: str) -> None:
    weights = np.array([0.1, 5, 0.2, -4, 0, 3, 0, 0, 0.1])
    a = xplain.explain(linear(weights), np.ones((1, 9), np.float32), "lime", top=3, selection=how)
    assert set(np.flatnonzero(a.values[0])) == {1, 3, 5}
    assert a.notes["ranked"] == [[1, 3, 5]]


def test_a_linear_model_is_fitted_without_a_gap() -> None:
    a = xplain.explain(linear(np.arange(9.0), 2.0), np.ones((1, 9), np.float32), "lime", penalty=0)
    np.testing.assert_allclose(a.values[0], np.arange(9), atol=1e-5)
    assert a.notes["r2"] == [pytest.approx(1)]
    assert a.base[0] == pytest.approx(2)
    assert a.error.max() < 1e-6


def test_intervals_cover_the_surrogate_of_all_coalitions() -> None:
    truth = np.array(xplain.explain(MODEL, X, "lime", samples=2**PLAYERS, penalty=0).notes["feature_values"][0])
    covered = []
    for seed in range(200):
        a = xplain.explain(MODEL, X, "lime", samples=120, penalty=0, seed=seed)
        values, errors = (np.array(a.notes[name][0]) for name in ("feature_values", "feature_errors"))
        covered.append(np.abs(values - truth) <= 1.96 * errors)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_tree_follows_its_path() -> None:
    """A score that is a tree: 5 if feature 2 is shown and 7 is, 1 if only 2 is, else 0."""
    z = cloud(600)
    scores = np.where(z[:, 2] > 0, np.where(z[:, 7] > 0, 5.0, 1.0), 0.0)
    fit = tree_fit(z, scores, np.ones(600))
    assert fit.r2 == pytest.approx(1)
    assert fit.values.sum() + fit.intercept == pytest.approx(5)
    assert fit.values[7] == pytest.approx(5 - np.mean(scores[z[:, 2] > 0]))
    assert set(np.flatnonzero(fit.values)) == {2, 7}


def test_tree_surrogate_through_the_door() -> None:
    a = xplain.explain(MODEL, X, "lime", surrogate="tree", samples=500)
    assert a.error.max() > 0
    assert 0.3 < a.notes["r2"][0] <= 1


def test_pick_covers_what_a_set_shows() -> None:
    """Items 0 and 1 say the same; 2 says something else; 3 says nothing."""
    values = np.array([[4.0, 0, 0], [3.9, 0.1, 0], [0, 0, 1.0], [0, 0, 0]])
    chosen, covered = pick(values, 2)
    assert set(chosen) >= {2}
    assert 3 not in chosen
    assert covered == pytest.approx(1.0)
    with pytest.raises(xplain.XplainError, match="5 items are to be picked from 4"):
        pick(values, 5)


@pytest.mark.slow
def test_very_many_features_do_not_overflow() -> None:
    x = np.ones((1, 1040), np.float32)
    a = xplain.explain(linear(np.r_[5.0, np.zeros(1039)]), x, "lime", samples=1100)
    assert a.values[0].argmax() == 0
    assert np.isfinite(a.error).all()
