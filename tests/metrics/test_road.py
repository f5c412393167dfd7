"""What ROAD removes is the blend of its neighbours that a dense system gives, and the model is asked about that."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.positions.layout import Layout
from xplain.core.query import View
from xplain.core.target import label
from xplain.engine import drive
from xplain.metrics.road import imputed, road
from xplain.testing import Formula


def slow(item, gone):
    """A dense system over all positions of one plane: known ones are themselves."""
    height, width = item.shape
    matrix, right = np.zeros((item.size, item.size)), np.zeros(item.size)
    for y in range(height):
        for x in range(width):
            n = y * width + x
            if not gone[y, x]:
                matrix[n, n], right[n] = 1, item[y, x]
                continue
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    if (dy or dx) and inside:
                        weight = 1 / 12 if dy and dx else 1 / 6
                        matrix[n, n] += weight
                        matrix[n, (y + dy) * width + x + dx] -= weight
    return np.linalg.solve(matrix, right).reshape(item.shape)


@pytest.mark.parametrize("axes", ["NCHW", "NHWC", "NHW"])
def test_a_blend_solves_the_papers_system(axes):
    rng = np.random.default_rng(0)
    planes, gone = rng.normal(size=(3, 7, 9)), rng.random((7, 9)) < 0.6
    item = {"NCHW": planes, "NHWC": np.moveaxis(planes, 0, -1), "NHW": planes[0]}[axes]
    found = imputed(item, gone, Layout(axes, item.shape))
    found = {"NCHW": found, "NHWC": np.moveaxis(found, -1, 0), "NHW": found[None]}[axes]
    for plane, one in zip(planes, found, strict=False):
        np.testing.assert_allclose(one, slow(plane, gone), atol=1e-12)


def test_a_line_is_blended_straight_and_a_plane_stays_flat():
    line = np.array([[0.0, 9, 9, 3]])
    found = imputed(line, np.array([False, True, True, False]), Layout("NCT", (1, 4)))
    np.testing.assert_allclose(found, [[0, 1, 2, 3]])
    volume = np.full((1, 3, 4, 5), 2.5)
    gone = np.random.default_rng(1).random((3, 4, 5)) < 0.5
    np.testing.assert_allclose(imputed(volume, gone, Layout("NCDHW", volume.shape)), volume)


def test_the_score_is_asked_of_blended_items():
    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=(2, 1, 6, 6)).astype(np.float32), rng.normal(size=(6, 6))
    model = Formula(lambda rows: (rows[:, 0] * weights).sum(axis=(1, 2)), "NCHW", (1, 6, 6))
    values = rng.normal(size=(2, 6, 6))
    flow = road(View(x, label(0), model.outline), values, np.zeros((1, 1, 1, 1), np.float32), steps=2, noise=0.0)
    (reading,), cost = drive([flow], model)
    assert cost.queries == 2 * 3
    scores = []
    for count in (0, 9, 18):
        gone = np.argsort(np.argsort(-values.reshape(2, -1), axis=1), axis=1).reshape(2, 6, 6) < count
        scores.append([(slow(one[0], some) * weights).sum() for one, some in zip(x, gone, strict=True)])
    np.testing.assert_allclose(reading.each["scores"], np.transpose(scores), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reading.notes["shares"], [0, 0.25, 0.5])
    np.testing.assert_allclose(reading.values, np.transpose(scores) @ [0.25, 0.5, 0.25], rtol=1e-4, atol=1e-5)
    with pytest.raises(Exception, match="a share above 0"):
        drive([road(View(x, label(0), model.outline), values, 0, most=0.0)], model)
