"""Orders of positions, on the CPU and on the simulated device."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xplain import native
from xplain.core.errors import UsageError
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


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="rank needs values"):
        native.rank(np.float64(1))
