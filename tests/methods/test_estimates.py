"""What an estimate says of its error, and what a blurred baseline is."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.positions.layout import Layout
from xplain.explainers.design.baseline import blurred
from xplain.explainers.estimation.sampling import HALF_WIDTH, Estimate


@pytest.mark.parametrize(("draws", "wide"), [(2, 12.7062), (3, 4.30265), (4, 3.18245), (11, 2.22814), (201, 1.97190)])
def test_the_interval_of_a_few_draws_is_students(draws: int, wide: float) -> None:
    """Quantiles of Student's t at 0.975, as printed in tables."""
    values = np.random.default_rng(draws).normal(size=(draws, 3))
    found = Estimate.mean(values)
    np.testing.assert_allclose(found.error * HALF_WIDTH, wide * values.std(axis=0, ddof=1) / np.sqrt(draws), rtol=1e-5)


@pytest.mark.parametrize(("axes", "item"), [("NCHW", (2, 31, 31)), ("NHWC", (31, 31, 2))])
def test_a_blurred_point_is_a_gaussian_on_the_positions_alone(axes: str, item: tuple[int, ...]) -> None:
    x = np.zeros((1, *item), np.float32)
    channel = (0, 0, 15, 15) if axes == "NCHW" else (0, 15, 15, 0)
    x[channel] = 1
    found = blurred(x, Layout(axes, item), 2.0)
    plane, other = (found[0, 0], found[0, 1]) if axes == "NCHW" else (found[0, ..., 0], found[0, ..., 1])
    one = np.exp(-0.5 * (np.arange(-15, 16) / 2.0) ** 2) * (np.abs(np.arange(-15, 16)) <= 8)
    np.testing.assert_allclose(plane, np.outer(one, one) / one.sum() ** 2, atol=1e-7)
    assert not other.any()


def test_a_blur_reflects_at_the_border_so_the_mean_stays() -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 9, 40)).astype(np.float32)
    found = blurred(x, Layout("NCHW", (1, 9, 40)), 30.0)  # wider than the picture
    np.testing.assert_allclose(found.mean(axis=(2, 3)), x.mean(axis=(2, 3)), atol=1e-6)
