"""Boxes and segments land on the very pixels that were planted."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.errors import UsageError
from xplain.metrics.localisation import best_iou, evened, iou, localisation_error, mask_iou, region, segment


def planted(height=40, width=50, box=(10, 20, 22, 38)):
    values = np.zeros((height, width))
    values[box[0] : box[2], box[1] : box[3]] = 1.0
    return values


def test_the_box_is_exact():
    values = planted()
    values[0:3, 0:3] = 5 * 0.9  # smaller but stronger: the largest component wins, not the strongest
    found = region(values)
    assert found.box == (10, 20, 22, 38)
    np.testing.assert_array_equal(found.mask, planted() > 0)
    assert found.threshold == pytest.approx(0.2 * 4.5)


def test_negative_values_never_count_and_diagonals_connect():
    values = -planted()
    values[0, 0] = values[1, 1] = values[2, 2] = 0.5
    assert region(values).box == (0, 0, 3, 3)


@pytest.mark.parametrize(
    ("values", "share", "message"),
    [
        (np.zeros((2, 3, 3)), 0.2, r"one map \[H, W\]"),
        (np.ones((3, 3)), 0.0, r"share in \(0, 1\]"),
        (-np.ones((3, 3)), 0.2, "Nothing in the map is positive"),
    ],
)
def test_maps_without_a_region(values, share, message):
    with pytest.raises(UsageError, match=message):
        region(values, share)


@pytest.mark.parametrize("seed", range(5))
def test_speckles_become_the_area_in_which_they_lie(seed):
    """As a gradient's size: noise everywhere, four times as strong on the object, and one pixel that is strongest."""
    box = (40, 60, 150, 140)
    values = np.random.default_rng(seed).exponential(1.0, (224, 224)) * (1 + 3 * planted(224, 224, box))
    values[3, 3] = 60.0
    assert iou(region(values).box, box) < 0.1, "what the rule of the CAM paper finds in speckles"
    assert iou(region(evened(values)).box, box) > 0.6


def test_evening_out_leaves_what_needs_none():
    values = planted() - 0.5
    assert evened(values, 0) is values
    assert iou(region(evened(planted(200, 250, (50, 60, 150, 190)))).box, (50, 60, 150, 190)) > 0.7
    assert region(evened(np.ones((20, 20)))).box == (0, 0, 20, 20), "there is no other level"
    with pytest.raises(UsageError, match="Nothing in the map is positive"):
        region(evened(-planted()))


def test_overlap():
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0
    assert best_iou((0, 0, 2, 2), []) == 0
    got = localisation_error([(0, 0, 2, 2), (0, 0, 2, 2)], [[(5, 5, 6, 6), (0, 0, 2, 3)], [(1, 1, 3, 3)]])
    assert got["error"] == 0.5
    assert got["iou"] == pytest.approx([2 / 3, 1 / 7])
    with pytest.raises(UsageError, match="one list of each per item"):
        localisation_error([(0, 0, 1, 1)], [])
    assert mask_iou(planted() > 0, planted() > 0) == 1
    with pytest.raises(UsageError, match="must have one shape"):
        mask_iou(np.zeros((2, 2), bool), np.zeros((2, 3), bool))


@pytest.mark.parametrize("with_", ["grabcut", "random-walker"])
def test_a_segment_grows_from_a_weak_map_to_the_object(with_):
    if with_ == "grabcut":
        pytest.importorskip("cv2", reason="GrabCut needs opencv-python-headless")
    truth = planted() > 0
    rng = np.random.default_rng(0)
    picture = np.where(truth[..., None], [200, 40, 40], [40, 120, 60]) + rng.normal(0, 8, (*truth.shape, 3))
    values = np.zeros(truth.shape)
    values[13:19, 25:33] = 1  # the map sees only the middle of the object
    values += 0.01 * rng.random(truth.shape) * truth + 0.001 * rng.random(truth.shape)
    got = segment(picture.clip(0, 255).astype(np.uint8), values, with_=with_)
    assert mask_iou(got, truth) > 0.97


def test_segment_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match="for a map of"):
        segment(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5)))
    with pytest.raises(UsageError, match="0 <= background < foreground <= 1"):
        segment(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), foreground=0.2)
