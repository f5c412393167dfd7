"""Series, spectra, bands and volumes: what a drawing shows names the place that counts, and lies where it should."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import NonFinite
from xplain.core.positions.coordinates import Coordinates
from xplain.render import montage
from xplain.render.axis import ticks
from xplain.render.band_maps import bands_of
from xplain.render.colormap import find
from xplain.render.planes import at_scale, projected, volume_of
from xplain.render.scroll import slices_of
from xplain.render.series import lines, series
from xplain.render.spectra import heard, labels, spectrum_of
from xplain.render.tracks import seconds, stretches, tracks_of

ECG = {"layout": "NCT", "coordinates": {"channels": ["I", "II", "V1"], "rate": 250, "unit": "mV"}}
BUMP = slice(200, 300)  # of 1,000 moments, on the second channel


def bump(batch):
    """Reads the second channel's bump, and nothing else."""
    return batch[:, 1, BUMP].mean(axis=1)


def ecg(count=1):
    x = np.random.default_rng(0).normal(0, 0.1, (count, 3, 1000)).astype(np.float32)
    x[:, 1, BUMP] += 1
    x[:, 0, 600:700] += 1  # as large, on a channel that is not read
    return x


# ------------------------------------------------------------------ series


def test_the_channel_and_the_seconds_are_named():
    apart = xplain.explain(bump, ecg(), "occlusion", features="segments:50,apart=true", card=ECG)
    assert apart.values.shape == (1, 3, 1000)
    found = tracks_of(apart)
    assert found.tracks[0].name == "II"
    assert found.tracks[0].share == pytest.approx(1.0)
    assert (found.step, found.unit, found.shared, found.others) == (0.004, "mV", False, 0)
    np.testing.assert_allclose(found.tracks[0].signal, ecg()[0, 1], rtol=1e-6)
    assert found.tracks[0].cells[10] == (200, 220)
    (best,) = stretches(found.values)
    assert (best.row, best.share) == (0, pytest.approx(0.8, abs=0.02))
    assert BUMP.start <= best.start < best.stop <= BUMP.stop
    assert "lies on channel II between 0.8" in apart.sentence()


def test_windows_over_all_channels_give_one_value_for_all():
    a = xplain.explain(bump, ecg(), "occlusion", patch=50, stride=25, card=ECG)
    found = tracks_of(a)
    assert found.shared
    assert found.window == (50, 25)
    assert [one.name for one in found.tracks] == ["I", "II", "V1"]
    assert found.values.shape == (1, 1000)
    assert 190 <= int(found.values[0].argmax()) < 310
    assert "lies between 0.9 and 1.2 s, 8% of the time" in a.sentence()


@pytest.mark.parametrize("axes", ["NCT", "NTC"])
def test_channels_may_stand_first_or_last(axes):
    x = ecg() if axes == "NCT" else ecg().transpose(0, 2, 1)
    model = bump if axes == "NCT" else lambda b: bump(b.transpose(0, 2, 1))
    a = xplain.explain(model, x, "ablation", features="channels", card={**ECG, "layout": axes})
    assert [(one.name, round(one.share, 3)) for one in tracks_of(a).tracks] == [("II", 1), ("I", 0), ("V1", 0)]
    frame = a.to_frame()
    best = frame.loc[frame.value.idxmax()]
    assert best["channel name"] == "II"
    assert frame.seconds.max() == pytest.approx(999 / 250)


def test_what_the_line_says_lies_at_its_time():
    signal, values = np.sin(np.arange(100) / 5), np.zeros(100)
    values[40:60] = 2.0
    drawn = lines(signal, values, find(None, True), 2.0, 400).astype(int)
    red = (drawn[..., 0] - drawn[..., 2]).max(axis=0)
    assert (red[160:240] > 100).all()
    assert (red[:158] < 20).all()
    assert (red[242:] < 20).all()
    packed = lines(np.sin(np.arange(40_000) / 900), np.repeat(values, 400), find(None, True), 2.0, 400).astype(int)
    red = (packed[..., 0] - packed[..., 2]).max(axis=0)
    assert (red[161:239] > 100).all()
    assert (red[:159] < 20).all()


def test_a_single_moment_among_many_in_a_pixel_is_not_lost():
    values = np.zeros(10_000)
    values[7777] = -1.0
    drawn = lines(np.zeros(10_000), values, find(None, True), 1.0, 100).astype(int)
    blue = (drawn[..., 2] - drawn[..., 0]).max(axis=0)
    assert np.flatnonzero(blue > 60).tolist() == [77]


def test_errors_are_a_band_and_cells_are_marked(make):
    values, error = np.zeros((1, 2, 20)), np.full((1, 2, 20), 0.1)
    values[0, 1, 5:10] = 1.0
    labels_ = np.repeat(np.arange(4), 5)
    a = make(values, error=error, layout="NCT", facts={"labels": labels_}, signals=np.ones((1, 2, 20), np.float32))
    first = tracks_of(a).tracks[0]
    assert (first.number, first.cells) == (1, ((0, 5), (5, 10), (10, 15), (15, 20)))
    image = np.asarray(series(tracks_of(a), find(None, True), 1.0, 200)).astype(int)
    plain = np.asarray(series(tracks_of(make(values, layout="NCT", signals=a.signals)), find(None, True), 1.0, 200))
    assert image.shape == plain.shape or (image < 60).sum() > (plain < 60).sum()
    assert (image[:, -200:] == 30).all(axis=2).sum() > 300  # the black bars
    assert "Grey band: the 95 % interval." in said_in(a)


def said_in(a):
    from xplain.render.bodies import Look, body_of

    return body_of(a[0], Look(find(None, a.signed)))[1]


def test_many_channels_are_told_apart_by_what_they_do(make):
    values = np.zeros((1, 500, 30), np.float32)
    values[0, 321] = 3
    values[0, 7, 4] = 1
    found = tracks_of(make(values, layout="NCT"))
    assert [one.number for one in found.tracks[:2]] == [321, 7]
    assert (len(found.tracks), found.others, found.rest) == (8, 492, pytest.approx(0))
    said = said_in(make(values, layout="NCT"))
    assert any("the 8 most active of 500 channels; 492 are not shown, which hold 0%" in one for one in said)
    shared = make(np.ones((1, 30)), layout="NCT", signals=np.ones((1, 500, 30), np.float32) * [[[1]]])
    assert "8 of 500 channels that move most" in " ".join(said_in(shared))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 1), (1, 1, 40), (1, 3, 2)])
def test_the_shortest_series_is_drawn(make, shape):
    a = make(np.ones(shape), layout="NCT", signals=np.ones(shape, np.float32))
    for picture in (a.overlay(0), a.plot(), montage([a])):
        assert picture is not None
    assert ("33%" if shape[1] == 3 else "moment") in a.sentence()


def test_what_no_channel_holds_is_said_to_be_spread(make):
    said = make(np.ones((1, 40, 9)), layout="NCT").sentence()
    assert said == "What speaks for 'cat' is spread over 40 channels; the most, 2%, is on channel 0."


@pytest.mark.parametrize(
    ("rate", "told"), [(250, "1.2"), (1, "300"), (44100, "0.0068"), (1e12, "3e-10"), (1e-9, "3e+11"), (3, "100")]
)
def test_seconds_have_the_digits_of_a_step(rate, told):
    assert seconds(300 / rate, 1 / rate) == told


def test_what_is_not_finite_is_not_drawn(make):
    a = make(np.full((1, 2, 9), np.nan), layout="NCT")
    with pytest.raises(NonFinite, match="not drawn over time"):
        a.overlay(0)
    x = ecg()
    x[0, 1, 5] = np.nan
    with pytest.raises(NonFinite, match="mend or drop"):
        xplain.explain(bump, x, "occlusion", card=ECG)


def test_a_plain_series_is_told_as_before(make):
    values = np.zeros((1, 20))
    values[0, 5:8] = 1
    assert "lies at moments 5 to 7, 15% of the time" in make(values, layout="NT").sentence()


# ------------------------------------------------------------------ sound

TONE = {"kind": "spectrogram", "frequency": "H", "bins": "linear", "hertz": [0, 8000], "rate": 16000, "hop": 160}


@pytest.mark.parametrize("axes", ["NCHW", "NHW"])
@pytest.mark.parametrize("frequency", ["H", "W"])
@pytest.mark.parametrize("falling", [False, True])
def test_a_tone_is_told_in_hertz_and_seconds(axes, frequency, falling):
    """81 bins of 100 Hz; the tone is bins 20 to 22, frames 10 to 19 of 40."""
    plane = np.full((81, 40), -60.0, np.float32)
    plane[20:23, 10:20] = 0
    plane[50:53, 25:30] = 0  # another one, which is not read
    plane = plane[::-1] if falling else plane
    plane = plane.T if frequency == "W" else plane
    own = slice(20, 23) if not falling else slice(58, 61)
    at = (slice(None), own, slice(10, 20)) if frequency == "H" else (slice(None), slice(10, 20), own)
    x = plane[None, None] if axes == "NCHW" else plane[None]
    told = {**TONE, "frequency": frequency, "hertz": [8000, 0] if falling else [0, 8000], "unit": "dB"}
    a = xplain.explain(
        lambda b: b.reshape(len(b), *plane.shape)[at].sum((1, 2)),
        x,
        "occlusion",
        patch=1,
        stride=1,
        baseline=-60.0,
        card={"layout": axes, "coordinates": told},
        layout=axes,
    )
    drawn = spectrum_of(a)
    assert drawn.values.shape == (81, 40)
    assert np.argwhere(drawn.values > 1).min(axis=0).tolist() == [20, 10]
    assert np.argwhere(drawn.values > 1).max(axis=0).tolist() == [22, 19]
    np.testing.assert_allclose(drawn.hertz[20:23], [2000, 2100, 2200])
    assert np.argwhere(drawn.grey > 0.5).min(axis=0).tolist() == [20, 10]
    assert "100% of what speaks for" in a.sentence()
    assert "lies between 1950 and 2250 Hz, between 0.1 and 0.2 s" in a.sentence()
    frame = a.to_frame()
    assert sorted(frame[frame.value > 1].hertz.unique()) == [2000, 2100, 2200]
    assert frame[frame.value > 1].seconds.min() == pytest.approx(0.1)
    assert a.overlay(0).width > 500
    assert a.plot().axes[0].get_ylabel() == "Hz"


def test_bins_may_be_channels():
    x = np.random.default_rng(1).random((1, 40, 30)).astype(np.float32)
    card = {"layout": "NCT", "coordinates": {**TONE, "frequency": "C"}}
    a = xplain.explain(lambda b: b[:, 7, 3:6].sum(1), x, "ablation", features="segments:30,apart=true", card=card)
    drawn = spectrum_of(a)
    assert np.argwhere(drawn.values > 0.01).tolist() == [[7, 3], [7, 4], [7, 5]]
    assert not drawn.shared
    shared = xplain.explain(lambda b: b[:, 7, 3:6].sum(1), x, "occlusion", patch=1, stride=1, card=card)
    assert spectrum_of(shared).shared
    assert np.flatnonzero(spectrum_of(shared).values[0] > 0.01).tolist() == [3, 4, 5]
    assert "between 0.03 and 0.06 s" in shared.sentence()
    shared.overlay(0)


def test_recorded_sound_has_its_own_spectrogram():
    time = np.arange(8000) / 8000
    wave = np.sin(2 * np.pi * 1000 * time) * (np.abs(time - 0.5) < 0.1)
    values = (np.abs(time - 0.5) < 0.1) * 1.0
    found = heard(wave, values, 8000, True)
    loud = found.grey.argmax(axis=0)[np.abs(found.start + found.step * np.arange(found.values.shape[1]) - 0.5) < 0.05]
    assert (np.abs(found.hertz[loud] - 1000) < 20).all()
    inside = found.values[0] > 0.99
    middles = found.start + found.step * (np.arange(len(inside)) + 0.5)
    assert middles[inside].min() > 0.38
    assert middles[inside].max() < 0.62
    card = {"layout": "NT", "coordinates": {"kind": "waveform", "rate": 8000}}
    x = wave[None].astype(np.float32)
    a = xplain.explain(lambda b: (b[:, 3200:4800] ** 2).sum(1), x, "occlusion", patch=400, stride=400, card=card)
    plain = xplain.explain(lambda b: (b[:, 3200:4800] ** 2).sum(1), x, "occlusion", patch=400, stride=400, layout="NT")
    assert a.overlay(0).height > plain.overlay(0).height + 100
    assert "between 0.4 and 0.6 s" in a.sentence() or "between 0.4" in a.sentence()
    drawn = a.plot()
    assert drawn.axes[-1].get_ylabel() == "Hz"
    assert drawn.axes[-1].get_xlim() == drawn.axes[0].get_xlim()
    short = xplain.explain(lambda b: b.sum(1), x[:, :3], "occlusion", patch=1, stride=1, card=card)
    short.overlay(0)


def test_labels_of_frequencies_lie_at_their_bins():
    found = labels(np.linspace(0, 8000, 81))
    by_text = {text: share for share, text in found}
    assert by_text["0"] == pytest.approx(1 - 0.5 / 81)
    assert by_text["8000"] == pytest.approx(0.5 / 81)
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(3.0, 3.0) == [3.0]


# ------------------------------------------------------------------ bands


def test_the_band_that_is_read_holds_all():
    names = ["blue", "green", "red", "nir", "swir"]
    x = np.random.default_rng(2).random((1, 5, 12, 10)).astype(np.float32)
    x[0, 3, :6] += 5
    card = {"coordinates": {"channels": names, "rgb": ["nir", "red", "green"]}}
    a = xplain.explain(lambda b: b[:, 3, :6].mean((1, 2)), x, "ablation", features="channels", card=card, layout="NCHW")
    found = bands_of(a)
    assert found.names == tuple(names)
    np.testing.assert_allclose(found.shares, [0, 0, 0, 1, 0], atol=1e-6)
    assert found.names[found.order[0]] == "nir"
    assert "bands hold: nir 100%, blue 0%" in a.sentence()
    assert a.pictures.shape == (1, 12, 10, 3)
    assert (a.pictures[0, :6, :, 0] > a.pictures[0, 6:, :, 0].max()).all()  # near infrared is shown as red
    assert "Shown as red, green and blue: nir, red, green." in said_in(a)
    drawn = a.plot()
    assert drawn.axes[0].get_yticklabels()[0].get_text() == "nir"
    whole = xplain.explain(lambda b: b[:, 3, :6].mean((1, 2)), x, "occlusion", patch=3, card=card, layout="NCHW")
    assert bands_of(whole) is None
    assert whole.overlay(0).width < a.overlay(0).width + 200


def test_colours_of_pictures_are_no_bands(make):
    assert bands_of(make(np.ones((1, 3, 8, 8)), layout="NCHW")) is None
    assert bands_of(make(np.ones((1, 9, 8, 8)), layout="NCHW")).names[8] == "band 8"


# ------------------------------------------------------------------ volumes

CUBE = (slice(None), slice(None), slice(4, 6), slice(6, 10), slice(3, 8))


def volume():
    x = np.random.default_rng(3).random((1, 1, 10, 16, 12)).astype(np.float32) * 0.1
    x[CUBE] += 3
    return x


def explained(**card):
    told = {"coordinates": card} if card else None
    how = {"patch": 1, "stride": 1, "layout": "NCDHW", "card": told}
    return xplain.explain(lambda b: b[CUBE].mean((1, 2, 3, 4)), volume(), "occlusion", **how)


def test_planes_cross_in_the_cuboid_that_is_read():
    a = explained(spacing=[5, 0.5, 0.5])
    found = volume_of(a)
    assert all(s.start <= k < s.stop for s, k in zip(CUBE[2:], found.place, strict=True))
    assert found.grey.shape == (10, 16, 12)
    top = projected(found, 0).values
    assert np.argwhere(top > 1e-3).min(axis=0).tolist() == [6, 3]
    assert np.argwhere(top > 1e-3).max(axis=0).tolist() == [9, 7]
    assert found.at(0) == f"z = {found.place[0]} ({found.place[0] * 5} mm)"
    assert "The most important place is z = " in a.sentence()
    assert at_scale((10, 16), [5, 0.5], 200) == (200, 32)
    assert at_scale((10, 16), [50, 0.5], 200) == (200, 25)  # never thinner than can be seen
    frame = a.to_frame()
    assert frame["z mm"].max() == 45
    assert any("Positions are 5 x 0.5 x 0.5 mm" in one for one in said_in(a))


def test_a_projection_keeps_the_sign_of_what_is_largest(make):
    values = np.zeros((1, 4, 6, 6))
    values[0, 1, 2, 3], values[0, 3, 2, 3] = 1.0, -2.0
    found = volume_of(make(values, layout="NDHW"))
    assert projected(found, 0).values[2, 3] == -2.0
    assert found.place == (3, 2, 3)


def test_slices_are_there_to_scroll_through_and_the_main_one_is_marked():
    found = slices_of(explained(spacing=[5, 0.5, 0.5])[0])
    assert [one.number for one in found] == list(range(10))
    assert [one.number for one in found if one.main] in ([4], [5])
    assert found[4].caption.startswith("slice 4 of 10, 20 mm: ")
    assert "overflow-x" in explained()._repr_html_()


def test_of_many_slices_the_one_that_holds_most_is_kept(make):
    values = np.zeros((1, 200, 4, 4))
    values[0, 137] = 1
    found = slices_of(make(values, layout="NDHW")[0])
    assert len(found) <= 48
    assert [one.number for one in found if one.main] == [137]


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 8, 1, 8), (1, 1, 1, 8), (1, 2, 2, 2)])
def test_a_volume_of_one_slice_is_drawn(make, shape):
    a = make(np.ones(shape), layout="NDHW")
    assert a.overlay(0).width > 100
    assert "volume" in a.sentence()
    assert len(slices_of(a[0])) == (shape[1] if shape[1] > 1 else 0)


def test_frames_of_a_video_are_told_in_seconds(make):
    from xplain.render.slices import slice_name

    a = make(np.ones((1, 4, 6, 6)), layout="NTHWC", coordinates=Coordinates(rate=25.0))
    assert slice_name(a[0], 3) == "frame 3, 0.12 s"
    assert a.overlay(0) is not None
    assert a.to_frame().seconds.max() == pytest.approx(0.12)
    assert a.plot() is not None
