"""Corrections, intervals and p-values are those of slow formulas, and p is uniform where labels mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xplain.analyses.chance import bootstrap, excess, holm, permuted_p, relabelled, wilson
from xplain.analyses.enough import drawn
from xplain.core.errors import UsageError


def holm_by_steps(p: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure, run as published, rejects each hypothesis."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out = [0.0] * len(p)
    for i in order:
        before = order[: order.index(i) + 1]
        out[i] = min(1.0, max(p[j] * (len(p) - order.index(j)) for j in before))
    return out


def test_holm_is_the_procedure_written_out_and_tests_not_made_do_not_count():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 30):
        p = (rng.random(count) ** 3).tolist()
        np.testing.assert_allclose(holm(p), holm_by_steps(p))
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(("hits", "of"), [(0, 12), (3, 7), (12, 12), (480, 1000)])
def test_wilson_holds_the_shares_whose_score_test_does_not_reject(hits, of):
    """The interval by its definition: all p with |hits / n - p| <= z sqrt(p (1 - p) / n), on a fine grid."""
    p = np.linspace(0, 1, 400001)
    kept = p[np.abs(hits / of - p) <= stats.norm.ppf(0.975) * np.sqrt(p * (1 - p) / of) + 1e-15]
    np.testing.assert_allclose(wilson(hits, of), (kept.min(), kept.max()), atol=1e-5)
    peer = stats.binomtest(hits, of).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(hits, of), (peer.low, peer.high), atol=1e-9)


def test_no_items_leave_a_share_open_and_more_hits_than_items_are_refused():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(UsageError, match="a part of a whole"):
        wilson(3, 2)


@pytest.mark.parametrize(("hits", "of", "all_hits", "all_of"), [(3, 5, 10, 60), (0, 20, 30, 90), (17, 17, 40, 80)])
def test_the_excess_of_a_part_is_fishers_exact_test(hits, of, all_hits, all_of):
    table = [[hits, of - hits], [all_hits - hits, all_of - of - (all_hits - hits)]]
    assert excess(hits, of, all_hits, all_of) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-9)


def test_permuted_labels_keep_their_number_within_each_stratum_and_reach_every_item():
    inside = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0, 0], bool)
    strata = np.array([0] * 5 + [1] * 5)
    block = np.concatenate([*relabelled(inside, 400, 3, strata)])
    assert block.shape == (400, 10)
    assert (block[:, :5].sum(axis=1) == 2).all()
    assert (block[:, 5:].sum(axis=1) == 1).all()
    np.testing.assert_allclose(block.mean(axis=0), [0.4] * 5 + [0.2] * 5, atol=0.1)


def test_p_of_a_permutation_test_is_uniform_where_labels_mean_nothing():
    rng, found = np.random.default_rng(1), []
    for seed in range(300):
        values, inside = rng.exponential(size=24), np.arange(24) < 9
        null = np.concatenate([*relabelled(inside, 99, seed)]) @ values
        found.append(permuted_p(float(values[inside].sum()), null))
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.09
    assert permuted_p(9.0, np.zeros(99)) == 0.01


def test_the_interval_of_a_mean_is_that_of_its_standard_error_and_grows_with_the_level():
    values = np.random.default_rng(2).normal(5, 2, 400)
    low, high = bootstrap(values, draws=4000)
    error = values.std() / 20
    np.testing.assert_allclose((low, high), values.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error)
    wide = bootstrap(values, 1 - 0.05 / 50, draws=4000)
    assert wide[0] < low
    assert high < wide[1]
    with pytest.raises(UsageError, match="no values"):
        bootstrap(np.zeros(0))


def test_a_group_of_few_is_whole_and_a_large_one_is_drawn_alike_whatever_the_others_are():
    names = np.array(["rare"] * 3 + ["common"] * 500)
    rows = drawn(names, 40, seed=1)
    assert rows[:3].tolist() == [0, 1, 2]
    assert len(rows) == 43
    assert (np.diff(rows) > 0).all()
    more = drawn(np.concatenate([names, ["other"] * 100]), 40, seed=1)
    np.testing.assert_array_equal(more[:43], rows)
    assert set(drawn(names, 40, seed=2)[3:]) != set(rows[3:])
