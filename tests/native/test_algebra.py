"""Orders of positions and weighted least squares, on the CPU and on the simulated device."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xplain import native
from xplain.core.errors import NonFinite, UsageError
from xplain.native import reference

pytestmark = pytest.mark.usefixtures("kernels")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.integers(0, 3), size=st.integers(1, 700), seed=st.integers(0, 1000))
def test_rank_defines_ties_signed_zero_and_nan(items, size, seed):
    rng = np.random.default_rng(seed)
    few = [*rng.standard_normal(size // 4 + 1), 0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3e38]
    values = rng.choice(few, (items, size)).astype(np.float32)
    assert np.array_equal(native.rank(values), reference.rank(values))


def test_rank_keeps_the_shape_of_maps():
    values = np.random.default_rng(0).standard_normal((2, 5, 7))
    places = native.rank(values)
    assert places.shape == values.shape
    assert values.reshape(2, -1)[1, places.reshape(2, -1)[1] == 0] == values[1].max()
    assert all(sorted(row) == list(range(35)) for row in places.reshape(2, -1).tolist())


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (3, 5), (64, 8), (65, 9), (1000, 37), (3000, 64)])
def test_gram_counts_exactly_where_weights_repeat(rows, features):
    rng = np.random.default_rng(rows)
    keep = rng.integers(0, 2, (rows, features)).astype(np.uint8)
    weights = 1.0 / (1 + keep.sum(axis=1))
    gram = native.coalition_gram(keep, weights)
    # integer counts per weight, added in the order of the weights: no other rounding where rows are counted
    exact = np.zeros((features, features))
    for value in np.unique(weights):
        rows_of = keep[weights == value].astype(np.int64)
        exact += value * (rows_of.T @ rows_of)
    assert np.array_equal(gram, gram.T)
    assert np.array_equal(gram, exact) if rows >= 1000 else np.allclose(gram, exact, rtol=1e-14)


def test_gram_of_various_weights_is_the_plain_product():
    rng = np.random.default_rng(5)
    keep = rng.integers(0, 2, (300, 20)).astype(np.uint8)
    weights = rng.random(300)
    gram = native.coalition_gram(keep, weights)
    assert np.array_equal(gram, gram.T)
    assert np.allclose(gram, keep.T.astype(float) @ (weights[:, None] * keep), rtol=1e-13)


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(("batch", "size", "kinds"), [(1, 1, 1), (2, 8, 1), (3, 37, 4), (2, 90, 3)])
def test_solve_meets_the_constraint_and_is_the_minimum(batch, size, kinds, constrained):
    rng = np.random.default_rng(size)
    rows = rng.standard_normal((batch, 3 * size, size))
    gram = np.einsum("bki,bkj->bij", rows, rows)
    right = rng.standard_normal((batch, size, kinds))
    total = rng.standard_normal((batch, kinds)) if constrained else None
    got = native.constrained_solve(gram, right, total)
    for b in range(batch):
        if total is None:
            expected = np.linalg.solve(gram[b], right[b])
        else:  # the Lagrangian's linear system
            border = np.ones((size, 1))
            system = np.block([[gram[b], border], [border.T, np.zeros((1, 1))]])
            expected = np.linalg.solve(system, np.vstack([right[b], total[b : b + 1]]))[:size]
        assert np.allclose(got[b], expected, rtol=1e-9, atol=1e-10)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="the samples do not tell it from the ones before"):
        native.constrained_solve(np.ones((1, 3, 3)), np.ones((1, 3, 1)), None)
    with pytest.raises(UsageError, match=r"constrained_solve got .* accepted: \[B, S, S\]"):
        native.constrained_solve(np.ones((1, 3, 3)), np.ones((1, 2, 1)), None)
    with pytest.raises(UsageError, match=r"coalition_gram got keep float64 \[4, 2\]"):
        native.coalition_gram(np.ones((4, 2)), np.ones(4))
    with pytest.raises(NonFinite, match="a weight that is NaN or infinite"):
        native.coalition_gram(np.ones((4, 2), np.uint8), np.full(4, np.inf))
    with pytest.raises(UsageError, match="rank needs values"):
        native.rank(np.float64(1))
