"""Groups of explanations are found at several numbers, and eigenvalues are those of the dense Laplacian."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.analyses.groups import embedding, grouped
from xplain.core.errors import UsageError


def three(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2, 2], count)
    return np.eye(3, 12)[kind] * 6 + rng.normal(size=(4 * count, 12)), kind


def test_eigenvalues_are_those_of_the_laplacian_written_out():
    rows, _ = three(12)
    n, k = len(rows), 5
    graph = np.zeros((n, n))
    for i in range(n):
        far = np.linalg.norm(rows - rows[i], axis=1)
        far[i] = np.inf
        graph[i, np.argsort(far)[:k]] = 1
    graph = (graph + graph.T) / 2
    degree = graph.sum(axis=1)
    slow = np.linalg.eigvalsh(np.eye(n) - graph / np.sqrt(degree[:, None] * degree))
    vectors, values = embedding(rows, 4, k)
    np.testing.assert_allclose(values, slow[:5], atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.argmax(np.diff(values)) == 2  # three groups, three eigenvalues of zero


def test_each_number_of_groups_is_reported_and_none_mixes_what_lies_apart():
    rows, kind = three()
    found = grouped(rows)
    assert [(one.way, one.count) for one in found[:3]] == [("spectral", 2), ("spectral", 4), ("spectral", 8)]
    assert found[3].way == "hdbscan"
    for one in found[1:]:
        for k in range(one.own.max() + 1):
            assert len(set(kind[one.own == k])) == 1
        sizes = np.bincount(one.own[one.own >= 0])
        assert (np.diff(sizes) <= 0).all()
    again = grouped(rows)
    assert all((a.own == b.own).all() for a, b in zip(found, again, strict=True))


def test_few_items_are_refused_with_how_many_are_needed():
    with pytest.raises(UsageError, match="at least 32"):
        grouped(np.random.default_rng(0).normal(size=(20, 3)))
