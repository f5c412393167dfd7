"""Shapley estimators against known truth: values, axioms, errors, and shap itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xplain
from xplain.core.edits import Coalitions
from xplain.explainers.design import game as games
from xplain.explainers.perturbation.shapley_sampling import balanced
from xplain.testing import Formula, xor

PLAYERS = 8
RNG = np.random.default_rng(11)
# a polynomial of every degree up to four: its Shapley values are known in closed form
TERMS = [
    (float(RNG.normal()), members)
    for size in (1, 2, 3, 4)
    for members in itertools.combinations(range(PLAYERS), size)
    if RNG.random() < 0.5
]


def polynomial(rows: np.ndarray) -> np.ndarray:
    x = rows.reshape(len(rows), -1).astype(np.float64)
    return sum(weight * x[:, list(members)].prod(axis=1) for weight, members in TERMS)


def polynomial_shapley(x: np.ndarray) -> np.ndarray:
    """With baseline 0 a product of k factors is worth an equal share to each."""
    values = np.zeros(PLAYERS)
    for weight, members in TERMS:
        values[list(members)] += weight * x[list(members)].prod() / len(members)
    return values


MODEL = Formula(polynomial, "NS", (PLAYERS,))
X = RNG.normal(size=(1, PLAYERS)).astype(np.float32)
TRUTH = polynomial_shapley(X[0].astype(np.float64))


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap", "shapley-sampling"])
def test_exact_when_every_coalition_is_asked(method: str) -> None:
    a = xplain.explain(MODEL, X, method)
    np.testing.assert_allclose(a.notes["feature_values"][0], TRUTH, atol=1e-9)
    assert a.cost.queries <= 1 + 2**PLAYERS
    assert a.error is None or not a.error.any()


@pytest.mark.parametrize(
    ("method", "samples"),
    [("kernel-shap", 120), ("kernel-shap", 40), ("shapley-sampling", 40), ("shapley-sampling", 200)],
)
def test_intervals_cover_between_92_and_98_percent(method: str, samples: int) -> None:
    covered, spread = [], []
    for seed in range(200):
        a = xplain.explain(MODEL, X, method, samples=samples, seed=seed)
        values, errors = (np.array(a.notes[name][0]) for name in ("feature_values", "feature_errors"))
        covered.append(np.abs(values - TRUTH) <= 1.96 * errors)
        spread.append(values)
    assert 0.92 <= np.mean(covered) <= 0.98
    bias = np.mean(spread, axis=0) - TRUTH
    # a regression on drawn rows is a ratio of means: its bias falls as 1/n, below its error at any n
    assert (np.abs(bias) < np.std(spread, axis=0) / 2.5).all()


def test_intervals_of_banzhaf_values_cover() -> None:
    """With baseline 0 a product of k factors is worth 2^(1 - k) of itself to each."""
    truth = np.zeros(PLAYERS)
    for weight, members in TERMS:
        truth[list(members)] += weight * X[0, list(members)].astype(float).prod() * 2.0 ** (1 - len(members))
    assert covered_share("banzhaf", truth, samples=80)


def test_intervals_of_influences_cover() -> None:
    background = np.random.default_rng(5).normal(size=(40, PLAYERS)).astype(np.float32)
    replaced = np.repeat(X, 40 * PLAYERS, axis=0).reshape(40, PLAYERS, PLAYERS)
    replaced[:, range(PLAYERS), range(PLAYERS)] = background
    truth = polynomial(X)[0] - polynomial(replaced.reshape(-1, PLAYERS)).reshape(40, PLAYERS).mean(axis=0)
    assert covered_share("qii", truth, samples=60, background=background)


def covered_share(method: str, truth: np.ndarray, **options: object) -> bool:
    """Whether the 95 % intervals of 200 seeds cover the truth in 92 to 98 % of cases."""
    covered = []
    for seed in range(200):
        notes = xplain.explain(MODEL, X, method, seed=seed, **options).notes
        values, errors = (np.array(notes[name][0]) for name in ("feature_values", "feature_errors"))
        covered.append(np.abs(values - truth) <= 1.96 * errors)
    return 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("players", [1, 2, 5, 6, 12])
def test_permutations_are_latin_squares(players: int) -> None:
    turns = players // 2 if players % 2 == 0 else players
    places = balanced(np.random.default_rng(0).random(players + 2 * (players // 2) + turns), players)
    assert places.shape == (turns, players)
    assert (np.sort(places, axis=1) == np.arange(players)).all()
    both = np.concatenate([places, players - 1 - places])
    times = 1 if players % 2 == 0 else 2
    assert (np.sort(both, axis=0) == np.repeat(np.arange(players), times)[:, None]).all()


def test_every_first_permutation_is_as_likely() -> None:
    """Each permutation alone is uniform, so the mean is unbiased after any number of them."""
    rng = np.random.default_rng(1)
    seen = [tuple(balanced(rng.random(10), 4)[0]) for _ in range(4800)]
    counts = np.array([seen.count(one) for one in itertools.permutations(range(4))])
    assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-squared, 23 degrees of freedom: 1 in 1000


def test_no_coalition_is_asked_twice() -> None:
    model = Formula(polynomial, "NS", (PLAYERS,))
    a = xplain.explain(model, X, "shapley-sampling", samples=200)
    asked = [q.edits.keep for q in model.queries if isinstance(q.edits, Coalitions)]
    rows = np.concatenate([keep.reshape(-1, PLAYERS) for keep in asked])
    assert len(np.unique(rows, axis=0)) == len(rows) == a.cost.queries - 1
    assert a.notes["samples"][0] * 2 * (PLAYERS - 1) > 1.5 * len(rows)


def test_shapley_sampling_is_complete_at_any_number_of_samples() -> None:
    a = xplain.explain(MODEL, X, "shapley-sampling", samples=30)
    assert math.isclose(sum(a.notes["feature_values"][0]), a.scores[0] - a.base[0], abs_tol=1e-9)


def test_the_budget_is_shared_and_never_exceeded() -> None:
    x = RNG.normal(size=(3, PLAYERS)).astype(np.float32)
    for method in ("kernel-shap", "shapley-sampling", "banzhaf", "lime", "qii"):
        drawn = {"background": x} if method == "qii" else {}
        a = xplain.explain(MODEL, x, method, samples=5000, max_queries=240, **drawn)
        assert a.notes["stopped"] == ["budget"] * 3
        assert len(set(a.notes["samples"])) == 1
        assert 190 < a.cost.queries <= 240
        assert all(reached > 0 for reached in a.notes["precision"])


@pytest.mark.parametrize("method", ["kernel-shap", "shapley-sampling", "banzhaf", "lime", "qii"])
def test_precision_is_reached_or_the_samples_are_spent(method: str) -> None:
    drawn = {"background": RNG.normal(size=(64, PLAYERS))} if method == "qii" else {}
    a = xplain.explain(MODEL, X, method, samples=100_000, precision=0.1, **drawn)
    assert a.notes["stopped"][0] == "precision" or method == "kernel-shap"  # which asks all 254 coalitions
    assert a.notes["precision"][0] <= 0.1
    assert 1.96 * a.error.max() <= 0.1 * np.abs(a.values).max() * (1 + 1e-5)


def test_two_that_cancel_are_worth_nothing_but_each_counts() -> None:
    """XOR: both on is as good as both off, so Shapley says 0 and 0, and leaving one out says -1 each."""
    x = np.ones((1, 3), np.float32)
    for method in ("exact-shapley", "kernel-shap", "partition-shap", "shapley-sampling"):
        np.testing.assert_allclose(xplain.explain(xor(0, 2), x, method).values, 0, atol=1e-9)
    np.testing.assert_allclose(xplain.explain(xor(0, 2), x, "ablation").values, [[-1, 0, -1]])
    np.testing.assert_allclose(xplain.explain(xor(0, 2), x, "ablation", leave="in").values, [[1, 0, 1]])


GAMES = st.lists(st.floats(-5, 5, width=32), min_size=16, max_size=16)


def game(worths: list[float]) -> Formula:
    """Any game of four players: the score of a 0/1 row is looked up."""
    table = np.array(worths)
    return Formula(lambda rows: table[(rows > 0.5).astype(int) @ [8, 4, 2, 1]], "NS", (4,))


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap"])
@settings(max_examples=30, deadline=None)
@given(worths=GAMES, more=st.lists(st.floats(0, 3, width=32), min_size=8, max_size=8))
def test_local_accuracy_missingness_consistency(method: str, worths: list[float], more: list[float]) -> None:
    ones = np.ones((1, 4), np.float32)
    values = np.array(xplain.explain(game(worths), ones, method).notes["feature_values"][0])
    assert math.isclose(values.sum(), worths[15] - worths[0], abs_tol=1e-6)

    # player 3, whose bit is the lowest, never changes anything
    silent = [worths[k & ~1] for k in range(16)]
    assert abs(xplain.explain(game(silent), ones, method).notes["feature_values"][0][3]) < 1e-9

    # player 3 adds more to every coalition than before: it must not lose
    raised = [worths[k] + (more[k >> 1] if k & 1 else 0.0) for k in range(16)]
    assert xplain.explain(game(raised), ones, method).notes["feature_values"][0][3] >= values[3] - 1e-9


def test_exact_refuses_many_features() -> None:
    with pytest.raises(xplain.XplainError, match=r"20 features make 2\^20 coalitions; accepted: at most 14"):
        xplain.explain(
            Formula(lambda rows: rows.sum(axis=1), "NS", (20,)), np.ones((1, 20), np.float32), "exact-shapley"
        )


def test_linear_shap_refuses_what_is_not_a_sum() -> None:
    with pytest.raises(xplain.XplainError, match="not additive in these features: for item 0 .* Use kernel-shap"):
        xplain.explain(MODEL, X, "linear-shap")


@pytest.mark.parametrize("method", ["ablation", "linear-shap"])
def test_features_are_asked_one_by_one_in_parts_of_bounded_size(method, monkeypatch):
    """All at once would be S x S switches: 32 GiB for the 65,536 pixels of a small picture."""
    weights = np.arange(1, 8, dtype=np.float32)
    x = np.full((2, 7), 2, np.float32)
    monkeypatch.setattr(games, "_KEEP_BYTES", 3 * 7)
    found = xplain.explain(lambda b: np.asarray(b) @ weights[:, None], x, method, target=0, baseline=0.0)
    assert np.allclose(found.values, 2 * weights)
