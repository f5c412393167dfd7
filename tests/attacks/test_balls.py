"""Balls: projections are the nearest points that are allowed, steps gain most, and rounded changes stay inside."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from xplain.core.positions.layout import Layout
from xplain.core.synthesis.attack import NORMS
from xplain.explainers.attacks.balls import Ball, size_of

PICTURE = Layout("NCHW", (2, 3, 4))
ROW = Layout("NS", (3,))


def ball(norm, radius, low, high, layout=ROW, whole=False):
    return Ball(norm, radius, np.asarray(low, float), np.asarray(high, float), layout, whole)


def free(norm, radius, item=(3,), layout=ROW):
    return ball(norm, radius, np.full((1, *item), -np.inf), np.full((1, *item), np.inf), layout)


def test_sizes_count_positions_once_whatever_their_channels():
    change = np.zeros((1, 2, 3, 4))
    change[0, :, 1, 1], change[0, 0, 2, 3] = (3, -4), 12
    assert [size_of(change, norm, PICTURE)[0] for norm in NORMS] == [12, 13, 19, 2]


@pytest.mark.parametrize(
    ("norm", "radius", "change", "nearest"),
    [
        ("linf", 1.0, [3.0, -0.5, -2.0], [1.0, -0.5, -1.0]),
        ("l2", 1.0, [3.0, -4.0, 0.0], [0.6, -0.8, 0.0]),
        ("l1", 1.0, [3.0, -2.5, 0.1], [0.75, -0.25, 0.0]),
        ("l0", 2, [3.0, -4.0, 0.5], [3.0, -4.0, 0.0]),
    ],
)
def test_without_a_box_projections_are_the_closed_forms(norm, radius, change, nearest):
    np.testing.assert_allclose(free(norm, radius).project(np.array([change]))[0], nearest, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_no_point_of_the_ball_and_the_box_is_nearer_than_the_projection(norm):
    """Brute force: every point of a fine grid in three dimensions."""
    rng = np.random.default_rng(3)
    steps = np.linspace(-1.5, 1.5, 61)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    for trial in range(8):
        low, high = -rng.uniform(0, 1.5, (1, 3)), rng.uniform(0, 1.5, (1, 3))
        one = ball(norm, 2 if norm == "l0" else 1.0, low, high)
        change = rng.normal(size=(1, 3)) * 2
        found = one.project(change)
        assert one.size(found)[0] <= one.radius + 1e-9, trial
        assert (found >= low - 1e-12).all()
        assert (found <= high + 1e-12).all()
        inside = (one.size(grid) <= one.radius) & (grid >= low).all(axis=1) & (grid <= high).all(axis=1)
        best = np.linalg.norm(grid[inside] - change, axis=1).min()
        assert np.linalg.norm(found - change) <= best + 1e-9, trial


@pytest.mark.parametrize("norm", NORMS)
def test_a_change_that_is_inside_stays_as_it_is(norm):
    inside = np.array([[0.2, -0.1, 0.0]])
    np.testing.assert_array_equal(free(norm, 2).project(inside), inside)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_step_of_size_one_gains_more_than_the_steepest(norm):
    rng = np.random.default_rng(5)
    gradient = rng.normal(size=(1, 3))
    step = free(norm, 1.0).steepest(gradient)
    others = rng.normal(size=(4000, 3))
    others /= size_of(others, norm, ROW)[:, None]
    assert size_of(step, norm, ROW)[0] == pytest.approx(1)
    assert (step * gradient).sum() >= (others * gradient).sum(axis=1).max() - 1e-9


def test_whole_changes_of_an_l2_ball_gain_most_along_a_direction():
    """``round(c g)`` with the largest c that is inside, against every whole change of the ball."""
    rng = np.random.default_rng(7)
    for radius in (1.0, 1.5, 2.3, 3.0):
        one = ball("l2", radius, np.full((1, 3), -9.0), np.full((1, 3), 9.0), whole=True)
        direction = rng.normal(size=(1, 3))
        direction *= radius / np.linalg.norm(direction)
        found = one.settle(direction)[0]
        whole = np.array([p for p in itertools.product(range(-3, 4), repeat=3) if np.linalg.norm(p) <= radius])
        assert np.array_equal(found, np.rint(found))
        assert np.linalg.norm(found) <= radius + 1e-9
        gain = (whole @ direction[0]).max()
        # the best whole point is round(c g) for some c; the ball may have room for one more single step beside it
        assert found @ direction[0] >= gain - np.abs(direction).max()
        assert found @ direction[0] > 0


def test_a_change_spread_thinly_survives_rounding():
    """Each of 10,000 elements is to change by 0.05: rounded to the nearest, nothing would be left of it."""
    wide = Layout("NS", (10_000,))
    change = np.random.default_rng(1).normal(size=(1, 10_000))
    change *= 5 / np.linalg.norm(change)
    one = ball("l2", 5.0, np.full_like(change, -255), np.full_like(change, 255), wide, whole=True)
    found = one.settle(change)
    assert np.abs(np.rint(change)).sum() == 0
    assert 20 <= np.abs(found).sum() <= 25
    assert (found * change).sum() > 0.5 * np.sort(np.abs(change[0]))[-25:].sum()


@pytest.mark.parametrize("norm", NORMS)
def test_random_changes_and_rounded_ones_are_inside(norm):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 256, (3, 2, 3, 4)).astype(float)
    one = Ball(norm, 4.0, -values, 255 - values, PICTURE, True)
    found = one.settle(one.anywhere(rng.normal(size=values.shape)))
    assert (one.size(found) <= 4 + 1e-9).all()
    assert (one.size(found) > 0).all()
    assert np.array_equal(found, np.rint(found))
    assert ((values + found >= 0) & (values + found <= 255)).all()
