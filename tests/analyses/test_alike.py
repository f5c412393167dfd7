"""Likeness at the best shift is the slow double loop's, and windows that return are those with the planted stamp."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.analyses.alike import again, likeness, windows
from xplain.core.errors import UsageError


def slow(some, others, slack):
    """Every pair, every shift, products of the two patches with each channel's mean taken off."""
    h, w = some.shape[2] - 2 * slack[0], some.shape[3] - 2 * slack[1]
    out = np.full((len(some), len(others)), -1.0)
    for n, a in enumerate(some):
        t = a[:, slack[0] : slack[0] + h, slack[1] : slack[1] + w]
        t = t - t.mean(axis=(1, 2), keepdims=True)
        for m, b in enumerate(others):
            for y in range(2 * slack[0] + 1):
                for x in range(2 * slack[1] + 1):
                    p = b[:, y : y + h, x : x + w]
                    p = p - p.mean(axis=(1, 2), keepdims=True)
                    out[n, m] = max(out[n, m], (t * p).sum() / np.sqrt((t**2).sum() * (p**2).sum()))
    return out


def test_likeness_is_that_of_every_shift_written_out():
    rng = np.random.default_rng(0)
    some, others = rng.normal(3, 1, (4, 2, 9, 11)), rng.normal(-1, 2, (5, 2, 9, 11))
    np.testing.assert_allclose(likeness(some, others, (2, 3)), slow(some, others, (2, 3)), rtol=1e-6)
    shifted = np.roll(some, (1, -2), axis=(2, 3))
    np.testing.assert_allclose(np.diag(likeness(some, shifted, (2, 3))), 1, rtol=1e-6)
    flat = np.ones((1, 2, 9, 11))
    assert likeness(flat, some, (2, 3)).max() == 0  # nothing is like what shows nothing


def test_windows_are_the_boxes_with_slack_and_stay_inside():
    pictures = np.arange(2 * 20 * 30).reshape(2, 1, 20, 30)
    found = windows(pictures, np.array([[8, 10, 12, 16], [0, 24, 4, 30]]), (2, 1))
    np.testing.assert_array_equal(found[0, 0], pictures[0, 0, 6:14, 9:17])
    np.testing.assert_array_equal(found[1, 0], pictures[1, 0, 0:8, 22:30])
    with pytest.raises(UsageError, match="does not fit"):
        windows(pictures, np.array([[0, 0, 4, 4]]), (9, 1))


def test_the_windows_that_carry_the_stamp_return_and_noise_does_not():
    rng = np.random.default_rng(1)
    stamp = rng.normal(size=(6, 8)) * 2
    own, others = rng.normal(size=(60, 1, 12, 14)), rng.normal(size=(60, 1, 12, 14))
    carries = np.arange(60) < 20
    for n in np.flatnonzero(carries):
        y, x = 3 + rng.integers(-2, 3), 3 + rng.integers(-2, 3)
        own[n, 0, y : y + 6, x : x + 8] += stamp
    found = again(own, others, (3, 3))
    assert set(found.members[:15]) <= set(np.flatnonzero(carries))
    assert found.score[carries].mean() > found.level
    none = again(others, rng.normal(size=(60, 1, 12, 14)), (3, 3))
    assert len(none.members) <= 6
    with pytest.raises(UsageError, match="at least 16"):
        again(own[:9], others, (3, 3))
