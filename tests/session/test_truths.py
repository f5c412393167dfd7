"""What is known of a picture: which item a name means, where boxes and masks land, and what is not guessed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xplain.core.card import Card
from xplain.core.errors import UsageError
from xplain.render.extents import extent_of
from xplain.render.geometry import Frame
from xplain.render.pictures import read
from xplain.session.truths.known import boxed, masked, unrolled
from xplain.session.truths.names import Names
from xplain.session.truths.reading import truths_of


def test_a_crop_moves_boxes_and_masks_alike():
    """The one function that maps pixels to positions, against every position's middle walked by hand."""
    card = Card(resize_short=20, crop=(16, 12))
    frame = Frame.of(card, 30, 45)  # becomes 20 x 30, of which 16 x 12 in the middle are seen
    box = (6.0, 15.0, 21.0, 30.0)
    mask = np.zeros((30, 45), bool)
    mask[6:21, 15:30] = True
    by_hand = np.zeros((16, 12), bool)
    for y in range(16):
        for x in range(12):
            row, column = (y + 0.5 + 2) * 30 / 20, (x + 0.5 + 9) * 45 / 30
            by_hand[y, x] = 6 <= row < 21 and 15 <= column < 30
    assert (frame.inside([box], (16, 12)) == by_hand).all()
    assert (frame.sampled(mask, (16, 12)) == by_hand).all()
    y0, x0, y1, x1 = frame.to_seen((6, 15, 21, 30))
    assert by_hand[max(0, y0) : y1, max(0, x0) : x1].all()
    assert by_hand.sum() == (y1 - max(0, y0)) * (x1 - max(0, x0))


def test_what_a_card_pads_is_in_no_box():
    frame = Frame.of(Card(crop=(8, 8)), 4, 4)
    inside = frame.inside([(0, 0, 100, 100)], (8, 8))
    assert inside[2:6, 2:6].all()
    assert inside.sum() == 16
    assert frame.sampled(np.ones((4, 4), bool), (8, 8)).sum() == 16


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4)])
def test_a_mask_comes_back_from_its_runs(shape):
    rng = np.random.default_rng(1)
    for mask in (rng.random(shape) < 0.5, np.ones(shape, bool), np.zeros(shape, bool)):
        known = masked(mask)
        assert (unrolled(known.shape, known.runs) == mask).all()
        assert known.empty == (not mask.any())


def test_names_mean_the_item_that_is_called_so():
    known = Names(["a/1.jpg", "b/1.jpg", "b/2.jpg", "c/3.jpg", "c/3.png"])
    assert [known.of(one) for one in ("a/1.jpg", "./b//1.jpg", "2.jpg", "1.jpg", "", "9.jpg")] == [
        0,
        1,
        2,
        None,
        None,
        None,
    ]
    assert known.of("photos/b/1.jpg") == 1  # of a path, as much of its end as names an item
    assert known.of("photos/z/1.jpg") is None
    assert [known.of_file(one) for one in ("a/1.png", "2.xml", "c/3.png.png", "c/3.npy")] == [0, 2, 4, None]


def test_turned_photographs_are_measured_as_they_are_looked_at(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    content = (tmp_path / "turned.jpg").read_bytes()
    assert extent_of(content) == read(content).shape[:2] == (30, 20)


def test_truths_of_arrays_are_not_guessed():
    with pytest.raises(UsageError, match="may be boxes or a mask"):
        truths_of([np.array([[0, 0, 1, 1]])], ["a"])
    assert (truths_of([np.array([[0, 0, 2, 3.0]])], ["a"]).of(0).boxes == [[0, 0, 2, 3]]).all()
    assert boxed([(0, 0, 1, 1)]).labels == ("",)
