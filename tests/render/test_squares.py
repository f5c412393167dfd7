"""Items as small squares: what is drawn is what the item holds, from the item alone."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.items import Columns, Items, Passage
from xplain.core.positions.coordinates import UNSTATED, Coordinates
from xplain.core.positions.layout import Axes
from xplain.core.segments import INPUTS
from xplain.render.squares import squares

SIDE = 64


def items(x, axes, **more):
    x = np.asarray(x, np.float32)
    return Items(x, tuple(map(str, range(len(x)))), layout=Axes(axes).of(x.shape[1:]), **more)


def ink(square):
    """Where a square is dark, inside its frame."""
    return (square[2:-2, 2:-2].astype(int).sum(axis=2) < 200).astype(bool)


def middle(column):
    return float(np.flatnonzero(column).mean())


def test_a_series_is_a_line_per_channel_over_the_whole_width():
    up, step = np.linspace(0, 1, 500), np.repeat([0.0, 1.0], 250)
    (drawn,) = squares(items([[up, step]], "NCT"), SIDE)
    assert drawn.shape == (SIDE, SIDE, 3)
    above, below = np.split(ink(drawn), 2)
    assert above.any(axis=0).all()
    assert below.any(axis=0).all()
    heights = [middle(above[:, k]) for k in range(above.shape[1])]
    assert (np.diff(heights) <= 0).all()
    assert heights[0] - heights[-1] > 25  # it rises over its whole strip
    assert middle(below[:, 5]) - middle(below[:, -5]) > 25
    assert below[:, 30].sum() > 25  # a step has no gap
    (short,) = squares(items([[0, 1, 0]], "NT"), SIDE)
    peak = [middle(ink(short)[:, k]) for k in range(60)]
    assert np.argmin(peak) in (29, 30)
    (flat,) = squares(items(np.ones((1, 40)), "NT"), SIDE)
    assert ink(flat).sum() == 60


def test_of_many_channels_those_that_move_most_are_drawn():
    table = np.zeros((20, 100))
    table[[3, 11]] = 5 * np.sin(np.linspace(0, 9, 100))
    (drawn,) = squares(items(table.T[None], "NTC"), SIDE)
    assert [part.any(axis=1).sum() > 3 for part in np.split(ink(drawn), 6)].count(True) == 2


def test_a_sound_is_its_spectrogram_with_low_frequencies_below():
    rate = 8000
    time = np.arange(rate) / rate
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 400 * time), np.sin(2 * np.pi * 3500 * time))
    told = Coordinates(kind="waveform", rate=rate)
    (drawn,) = squares(items(tone[None, None], "NCT", coordinates=told), SIDE)
    loud = drawn[..., 0].argmax(axis=0)
    np.testing.assert_allclose(loud[5:28] / SIDE, 1 - 400 / 4000, atol=0.05)
    np.testing.assert_allclose(loud[36:59] / SIDE, 1 - 3500 / 4000, atol=0.05)


@pytest.mark.parametrize(("axes", "frequency"), [("NCHW", "H"), ("NCHW", "W")])
def test_a_spectrogram_is_turned_as_it_is_drawn_elsewhere(axes, frequency):
    plane = np.zeros((1, 40, 60), np.float32)
    plane[0, :4, :30] = 1  # the lowest bins, in the first half
    told = Coordinates(kind="spectrogram", frequency=frequency, bins="linear", hertz=(0.0, 4000.0), rate=8000, hop=80)
    x = plane if frequency == "H" else plane.swapaxes(1, 2)
    grey = np.repeat((x[..., None] * 255).astype(np.uint8), 3, axis=3)
    (drawn,) = squares(items(x[None], axes, coordinates=told, pictures=grey), SIDE)
    assert drawn[-3:, :28].mean() > 200
    assert drawn[:32].max() == 0
    assert drawn[:, 36:].max() == 0


def test_a_volume_is_its_middle_slice_and_a_tensor_of_a_picture_its_shades():
    volume = np.zeros((1, 1, 9, 20, 20))
    volume[0, 0, 4, :, 10:] = 1
    volume[0, 0, 0, :10] = 1
    (drawn,) = squares(items(volume, "NCDHW"), SIDE)
    assert drawn[:, 36:].min() == 255
    assert drawn[:, :28].max() == 0
    picture = np.zeros((1, 3, 20, 20))
    picture[0, 0, :, :10] = 2.5
    (shaded,) = squares(items(picture, "NCHW"), SIDE)
    assert shaded[10, 10].tolist() == [255, 0, 0]
    assert shaded[10, -10].tolist() == [0, 0, 0]


def test_numbers_are_bars_from_zero_and_rows_and_texts_are_words():
    (bars,) = squares(items([[4, -4, 0, 2]], "NS"), SIDE)
    columns = np.split(ink(bars), 4, axis=1)
    zero = middle(columns[2][:, 3])
    assert middle(columns[0][:, 3]) < zero - 10
    assert middle(columns[1][:, 3]) > zero + 10
    assert columns[0][:, 3].sum() > 1.8 * columns[3][:, 3].sum()
    row = Columns(("age", "job"), (("52", "nurse"), ("31", "clerk"), ("52", "nurse")))
    told = squares(items(np.zeros((3, 2)), "NS", columns=row), SIDE)
    np.testing.assert_array_equal(told[0], told[2])
    assert (told[0] != told[1]).any()
    texts = tuple(Passage(one, ((0, 4),)) for one in ("A good film", "Another one altogether " * 50, " "))
    said = squares(items(np.zeros((3, 1)), "NS", texts=texts), SIDE)
    assert ink(said[0]).any()
    assert ink(said[1]).any()
    assert not ink(said[2]).any()


def test_a_square_is_of_its_item_alone_and_several_inputs_show_their_picture():
    x = np.random.default_rng(0).normal(size=(5, 3, 200))
    together = squares(items(x, "NCT"), 48)
    for n in range(5):
        np.testing.assert_array_equal(squares(items(x[n : n + 1], "NCT"), 48)[0], together[n])
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    pictures[1] = (0, 200, 0)
    both = items(np.zeros((2, 9)), "NS", facts={INPUTS: []}, each={"b": [["1"], ["2"]], "a": pictures})
    assert squares(both, 16)[:, 8, 8].tolist() == [[0, 0, 0], [0, 200, 0]]
    plain = items(np.zeros((2, 9)), "NS", facts={INPUTS: []}, coordinates=UNSTATED)
    assert squares(plain, 16) is None
