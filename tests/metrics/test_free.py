"""Metrics that read a map alone, or beside the truth, give the numbers that their formulas give by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xplain.core.declaring.registry import METRICS
from xplain.core.errors import UsageError
from xplain.metrics.maps import mean_ranks, pearson, top_share
from xplain.metrics.mosaics import mosaic
from xplain.metrics.sparsity import complexity, effective_complexity, sparseness
from xplain.metrics.truth import focus, mass_accuracy, pointing_game, rank_accuracy, roc_auc, topk_intersection

MAPS = np.array(
    [[[4.0, -1.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[np.nan, 1.0], [2.0, 3.0]]]
)
MASKS = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 0]]], bool)


def test_sparseness_is_gini() -> None:
    sizes = np.sort(np.abs(MAPS[0]).ravel())
    apart = np.abs(sizes[:, None] - sizes[None]).sum() / (2 * 4 * sizes.sum())
    np.testing.assert_allclose(sparseness(MAPS), [apart, 0, np.nan, np.nan])
    one = np.zeros((1, 1, 100))
    one[0, 0, 7] = -2
    assert sparseness(one)[0] == pytest.approx(1 - 1 / 100), "one position alone"


def test_complexity_is_entropy() -> None:
    parts = np.array([4, 1, 3]) / 8
    np.testing.assert_allclose(complexity(MAPS), [-(parts * np.log(parts)).sum(), math.log(4), np.nan, np.nan])
    np.testing.assert_allclose(effective_complexity(MAPS, least=0.3), [0.5, 1, np.nan, np.nan])


def test_the_largest_value_is_inside_or_not() -> None:
    np.testing.assert_allclose(pointing_game(MAPS, MASKS), [1, 0.25, 0.25, np.nan])
    assert np.isnan(pointing_game(MAPS, np.zeros_like(MASKS))).all(), "an empty mask is no hit and no miss"
    assert pointing_game(-MAPS[:1], MASKS[:1])[0] == 0


def test_mass_rank_and_top_k() -> None:
    np.testing.assert_allclose(mass_accuracy(MAPS, MASKS), [4 / 7, 0.25, np.nan, np.nan])
    np.testing.assert_allclose(rank_accuracy(MAPS, MASKS), [0.5, 0.25, 0.25, np.nan])
    np.testing.assert_allclose(topk_intersection(MAPS, MASKS, k=3), [2 / 3, 0.25, 0.25, np.nan])
    np.testing.assert_allclose(topk_intersection(MAPS[:1], MASKS[:1], k=99), [0.5])
    np.testing.assert_allclose(focus(MAPS, MASKS, least=0.8), [1, 0.25, np.nan, np.nan])
    for one in (mass_accuracy, rank_accuracy, topk_intersection, roc_auc, focus):
        assert np.isnan(one(MAPS, np.zeros_like(MASKS))).all()


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    values, masks = rng.integers(0, 5, (6, 5, 7)).astype(float), rng.random((6, 5, 7)) < 0.3
    slow = []
    for row, mask in zip(values.reshape(6, -1), masks.reshape(6, -1), strict=True):
        pairs = row[mask][:, None] - row[~mask][None]
        slow.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    np.testing.assert_allclose(roc_auc(values, masks), slow)
    assert roc_auc(np.ones((1, 2, 2)), MASKS[:1])[0] == 0.5
    assert np.isnan(roc_auc(values, np.ones_like(masks))).all()


def test_ranks_and_correlations_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rows = np.random.default_rng(1).integers(0, 4, (5, 20)).astype(float)
    np.testing.assert_array_equal(mean_ranks(rows), stats.rankdata(rows, axis=1) - 1)
    other = rows[::-1] + np.arange(20)
    np.testing.assert_allclose(
        pearson(rows, other), [stats.pearsonr(a, b)[0] for a, b in zip(rows, other, strict=True)]
    )
    assert np.isnan(pearson(np.full((1, 3), 0.1), rows[:1, :3])).all(), "a constant has no correlation"


def test_ties_count_as_a_random_choice_among_them_would() -> None:
    row, inside = np.array([[2.0, 1, 1, 1, 0]]), np.array([[False, True, True, False, True]])
    assert top_share(row, inside, np.array([2]))[0] == pytest.approx((0 + 2 / 3) / 2)


@pytest.mark.parametrize("name", [one.name for one in METRICS if one.needs in ("map", "truth")])
def test_what_does_not_fit_is_refused_and_ranges_hold(name: str) -> None:
    entry = METRICS.find(name)
    rng = np.random.default_rng(2)
    values, masks = rng.normal(size=(40, 6, 5)), rng.random((40, 6, 5)) < 0.4
    given = (values,) if entry.needs == "map" else (values, masks)
    found = entry.function(*given)
    assert found.shape == (40,)
    assert (found >= entry.range[0]).all()
    assert (found <= entry.range[1]).all()
    np.testing.assert_allclose(entry.function(*(one[3:4] for one in given)), found[3:4], rtol=1e-12)
    with pytest.raises(UsageError, match=r"accepted: real numbers \[N, \*map\]|The truth is"):
        entry.function(values[0, 0], *given[1:])
    if entry.needs == "truth":
        with pytest.raises(UsageError, match="of the same shape"):
            entry.function(values, masks[:, :, :4])
        with pytest.raises(UsageError, match="other values than 0 and 1"):
            entry.function(values, masks * 2)


def test_a_mosaic_holds_its_tiles_where_its_masks_say() -> None:
    pictures = np.arange(8.0).reshape(8, 1, 1, 1) * np.ones((8, 2, 6, 4))
    right = np.array([1, 0, 0, 0, 0, 1, 1, 0], bool)
    made, masks = mosaic(pictures, right)
    assert made.shape == (2, 2, 6, 4)
    for n in range(2):
        for k, (rows, columns) in enumerate([(slice(0, 3), slice(0, 2)), (slice(0, 3), slice(2, 4))]):
            assert (made[n, :, rows, columns] == 4 * n + k).all()
            assert (masks[n, rows, columns] == right[4 * n + k]).all()
        assert (made[n, :, 3:, 2:] == 4 * n + 3).all()
    np.testing.assert_allclose(focus(made.sum(axis=1), masks), [0, 11 / 22])
    for wrong, marks in ((pictures, np.zeros(8, bool)), (pictures[:6], right[:6]), (pictures[:, :, :5], right)):
        with pytest.raises(UsageError, match="mark|accepted"):
            mosaic(wrong, marks)
