"""Neighbours are those, and in the order, that comparing all with all in float64 gives."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from xplain.analyses import neighbours
from xplain.analyses.neighbours import nearest, recall
from xplain.core.errors import NonFinite, UsageError
from xplain.core.keeping import mapped


def brute(vectors: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    rows = vectors.astype(np.float64)
    far = cdist(rows, rows, metric)
    np.fill_diagonal(far, np.inf)
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(far, order, axis=1)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("rows_in_a_block", [16, 10**6])
def test_neighbours_equal_brute_force(monkeypatch, metric, rows_in_a_block):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(257, 300)).astype(np.float32) + 5  # far from the origin, where products cancel
    vectors[3] = vectors[200] + 1e-4
    monkeypatch.setattr(mapped, "_BLOCK", rows_in_a_block * 300)
    monkeypatch.setattr(neighbours, "_TOGETHER", rows_in_a_block * 300)
    found, (index, distance) = nearest(vectors, 9, metric=metric), brute(vectors, 9, metric)
    assert found.exact
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, atol=1e-12)
    assert found.index[3, 0] == 200


def test_vectors_on_a_disk_are_compared_in_blocks_and_never_all_held(monkeypatch, tmp_path):
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(3000, 400)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    on_disk = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    monkeypatch.setattr(mapped, "_BLOCK", 2**15)
    monkeypatch.setattr(neighbours, "_TOGETHER", 2**15)
    tracemalloc.start()
    found = nearest(on_disk, 3, metric="cosine")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < vectors.nbytes / 2  # float64 rows of all would be twice their size
    some = np.arange(0, 3000, 100)
    truth = np.argsort(cdist(vectors[some].astype(float), vectors.astype(float), "cosine"), axis=1)[:, 1:4]
    np.testing.assert_array_equal(found.index[some], truth)


def test_near_duplicates_that_float32_cannot_tell_apart_are_told_apart():
    base = np.full((40, 64), 1000.0)
    base[:, 0] += np.arange(40) ** 2 * 1e-5  # distances that squares of float32 lose
    np.testing.assert_array_equal(nearest(base, 3).index, brute(base, 3, "euclidean")[0])


def test_equal_distances_go_to_the_lower_row():
    corners = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    np.testing.assert_array_equal(nearest(corners, 4).index[0], [1, 2, 3, 4])


def test_a_row_of_zeros_is_at_a_right_angle_to_all():
    found = nearest(np.array([[0.0, 0], [1, 0], [2, 0]]), 2, metric="cosine")
    np.testing.assert_allclose(found.distance[0], [1, 1])
    np.testing.assert_allclose(found.distance[1], [0, 1])


def test_more_neighbours_than_there_are_means_all_others():
    assert nearest(np.eye(4), 99).index.shape == (4, 3)


def test_what_has_no_neighbours_is_refused():
    with pytest.raises(UsageError, match="All 5 vectors are equal.*another layer"):
        nearest(np.ones((5, 3)), 2)
    with pytest.raises(UsageError, match="at least 2 rows"):
        nearest(np.ones((1, 3)), 2)
    with pytest.raises(UsageError, match="k is 0; accepted"):
        nearest(np.eye(3), 0)
    with pytest.raises(NonFinite, match="Row 1"):
        nearest(np.array([[0.0], [np.nan], [1.0]]), 1)
    with pytest.raises(UsageError, match=r"accepted: real numbers \[N, D\]"):
        nearest(np.zeros((2, 3, 4)), 1)


def test_an_index_finds_nearly_all_of_them():
    pytest.importorskip("usearch")
    vectors = np.random.default_rng(0).normal(size=(1500, 16)).astype(np.float32)
    found = nearest(vectors, 5, exact=False)
    assert not found.exact
    assert (found.index != np.arange(1500)[:, None]).all()
    truth = brute(vectors, 5, "euclidean")[0]
    share = np.mean([len(np.intersect1d(own, true)) / 5 for own, true in zip(found.index, truth, strict=True)])
    assert share > 0.9
    assert recall(vectors, found, some=1500) == pytest.approx(share)
    np.testing.assert_allclose(
        found.distance[:, 0], np.linalg.norm(vectors - vectors[found.index[:, 0]], axis=1), rtol=1e-4
    )
