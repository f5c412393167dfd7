"""Proxy SHAP: the trees' Shapley values are exact, they never cost the truth, and they save questions."""

from __future__ import annotations

import itertools
import math

import numpy as np

import xplain
from xplain.explainers.estimation.boosting import boosted
from xplain.testing import Formula

RNG = np.random.default_rng(2)
PLAYERS = 9
ALL = np.array(list(itertools.product([0, 1], repeat=PLAYERS)), dtype=float)


def shapley(worth):
    """By the definition, over all coalitions."""
    values = np.zeros(PLAYERS)
    place = {tuple(row): k for k, row in enumerate(ALL.astype(int))}
    for row, k in place.items():
        size = sum(row)
        for i in np.flatnonzero(np.array(row) == 0):
            joined = place[tuple(1 if j == i else one for j, one in enumerate(row))]
            share = math.factorial(size) * math.factorial(PLAYERS - size - 1) / math.factorial(PLAYERS)
            values[i] += share * (worth[joined] - worth[k])
    return values


WIDE = 12
PICKED = (((0, 1, 2), 3.0), ((2, 3, 4), -2.0), ((5, 6, 7), 2.5), ((8, 9, 10), 1.5), ((0, 5, 11), -2.0))
"""Features whose product is worth something: odd, and not linear, so paired kernel SHAP sees it as noise."""


def triples(rows):
    on = rows > 0.5
    return rows @ np.arange(WIDE) / 10 + sum(w * on[:, list(some)].all(axis=1) for some, w in PICKED)


TRUTH = np.arange(WIDE) / 10 + sum(np.isin(np.arange(WIDE), some) * w / 3 for some, w in PICKED)


def test_the_values_of_trees_are_their_shapley_values():
    scores = RNG.normal(size=len(ALL))
    leaves = boosted(ALL, scores, np.full(len(ALL), 1 / len(ALL)), 20)
    fitted = leaves.at(ALL)
    assert 0.1 < np.corrcoef(fitted, scores)[0, 1] < 1, "it learnt something"
    np.testing.assert_allclose(leaves.shapley(), shapley(fitted), atol=1e-12)


def test_nothing_to_learn_grows_no_tree():
    leaves = boosted(ALL, np.zeros(len(ALL)), np.ones(len(ALL)), 5)
    assert len(leaves.value) == 0
    assert not leaves.at(ALL).any()
    assert not leaves.shapley().any()


def run(method, samples, seed):
    model = Formula(triples, "NS", (WIDE,))
    return xplain.explain(model, np.ones((1, WIDE), np.float32), method, samples=samples, seed=seed, target=0)


def test_the_same_questions_say_more_and_the_error_stays_honest():
    runs = {name: [run(name, 500, seed) for seed in range(12)] for name in ("kernel-shap", "proxy-shap")}
    gaps = {name: np.array([a.values[0] - TRUTH for a in found]) for name, found in runs.items()}
    errors = {name: float(np.sqrt((gap**2).mean())) for name, gap in gaps.items()}
    assert errors["proxy-shap"] < 0.6 * errors["kernel-shap"]
    assert all(a.notes["proxied"] == [True] for a in runs["proxy-shap"])
    assert {a.cost.queries for a in runs["proxy-shap"]} == {a.cost.queries for a in runs["kernel-shap"]}
    inside = np.abs(gaps["proxy-shap"]) <= 1.96 * np.array([a.error[0] for a in runs["proxy-shap"]])
    assert inside.mean() > 0.88
    for a in runs["proxy-shap"]:
        np.testing.assert_allclose(a.values.sum(), a.scores[0] - a.base[0], rtol=1e-5)


def test_where_trees_learn_nothing_it_is_kernel_shap():
    weights = RNG.normal(size=PLAYERS)
    model = Formula(lambda rows: rows @ weights, "NS", (PLAYERS,))
    x = np.ones((1, PLAYERS), np.float32)
    plain, proxied = (xplain.explain(model, x, name, samples=60, target=0) for name in ("kernel-shap", "proxy-shap"))
    np.testing.assert_allclose(proxied.values, plain.values, rtol=1e-5)
    np.testing.assert_allclose(proxied.values[0], weights, rtol=1e-4)


def test_all_coalitions_make_it_exact():
    a = run("proxy-shap", 2**WIDE, 0)
    np.testing.assert_allclose(a.values[0], TRUTH, rtol=1e-5, atol=1e-6)
    assert not a.error.any()
