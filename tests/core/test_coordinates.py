"""What axes measure is read from a card, held against the items, and never guessed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import xplain
from xplain.core.card import Card
from xplain.core.errors import CardError, UsageError
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.positions.coordinates import Coordinates
from xplain.core.positions.layout import Axes

SOUND = {"kind": "spectrogram", "frequency": "H", "bins": "linear", "hertz": [0, 8000], "rate": 16000, "hop": 160}


def told(**given):
    return Coordinates.from_dict(given)


def test_a_card_keeps_them_through_toml():
    card = Card.from_toml(
        'layout = "NCT"\n[coordinates]\nchannels = ["I", "µ ✓"]\nrate = 250\nunit = "mV"\n', name="ecg.card.toml"
    )
    assert card.layout == "NCT"
    assert card.coordinates == Coordinates(channels=("I", "µ ✓"), rate=250.0, unit="mV")
    assert Card.from_toml(card.to_toml(), "ecg.card.toml") == card
    sound = Card.from_dict({"coordinates": SOUND})
    assert Card.from_toml(sound.to_toml()).coordinates == sound.coordinates
    assert sound.coordinates.step == 0.01


def test_bands_may_be_named_where_they_were_counted():
    card = Card.from_toml('bands = ["blue", "green", "red", "nir"]\n[coordinates]\nrgb = ["nir", 2, "green"]\n')
    assert (card.mode, card.bands, card.coordinates.channels) == ("BANDS", 4, ("blue", "green", "red", "nir"))
    assert card.coordinates.colours(4) == (3, 2, 1)
    with pytest.raises(CardError, match="name the channels differently"):
        Card.from_dict({"bands": ["a", "b"], "coordinates": {"channels": ["a", "c"]}})


def test_frequencies_are_those_of_the_scale():
    # librosa's documentation of mel_frequencies(n_mels=40): the ends are the edges of the bank of filters
    slaney = told(**{**SOUND, "bins": "mel-slaney", "hertz": [0, 11025], "rate": 22050}).frequencies(38)
    np.testing.assert_allclose(slaney[[0, 1, 10, 11, 37]], [85.317, 170.635, 938.49, 1024.856, 10096.408], rtol=1e-4)
    htk = told(**{**SOUND, "bins": "mel-htk"}).frequencies(80)
    mels = np.log(1 + np.concatenate([[0], htk, [8000]]) / 700)  # evenly spaced, by the other way to write the formula
    np.testing.assert_allclose(np.diff(mels), mels[-1] / 81)
    np.testing.assert_allclose(told(**SOUND).frequencies(5), [0, 2000, 4000, 6000, 8000])
    octaves = told(**{**SOUND, "bins": "log", "hertz": [440, 110]}).frequencies(3)
    np.testing.assert_allclose(octaves, [440, 220, 110])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": 1}, "Unknown key in coordinates: 'colour'"),
        ({"channels": ["I", "I"]}, "'I' stands there twice"),
        ({"channels": "I,II"}, "accepted: a list of names"),
        ({"channels": [1, 2]}, "accepted: a list of names"),
        ({"rate": 0}, "rate is 0.0; accepted: a number above 0"),
        ({"rate": float("nan")}, "accepted: numbers"),
        ({"rate": True}, "accepted: numbers"),
        ({"spacing": [1, -1, 1]}, "spacing is -1.0"),
        ({"spacing": 3}, "a list of numbers"),
        ({"kind": "mel"}, "accepted: waveform, spectrogram"),
        ({"kind": "waveform"}, "leaves out the samples per second"),
        ({"kind": "spectrogram", "rate": 16000}, "leaves out frequency, bins, hertz, hop"),
        ({**SOUND, "bins": "mel"}, r"mel-htk \(torchaudio's own\) or mel-slaney"),
        ({**SOUND, "hertz": [0, 9000]}, "holds none above 8000 Hz"),
        ({**SOUND, "hertz": [50, 50]}, "two different frequencies"),
        ({**SOUND, "hertz": [0]}, r"\[lowest, highest\]"),
        ({**SOUND, "bins": "log"}, "frequencies above 0"),
        ({**SOUND, "frequency": "T"}, "accepted: H, W or C"),
        ({"frequency": "H"}, "only a spectrogram has"),
        ({"rgb": ["a", "b"]}, "three bands"),
    ],
)
def test_what_contradicts_itself_is_refused(given, said):
    with pytest.raises(CardError, match=said):
        told(**given)


@pytest.mark.parametrize(
    ("given", "axes", "item", "said"),
    [
        ({"channels": ["I", "II"]}, "NCT", (3, 50), "names 2 channels, but items are .*NCT.*: 3 channels"),
        ({"rate": 5.0}, "NCHW", (3, 8, 8), "no axis is time"),
        (SOUND, "NCT", (3, 50), "frequencies lie along H, but"),
        ({**SOUND, "frequency": "C"}, "NCHW", (3, 8, 8), "over frequencies beside one of time"),
        ({"spacing": [1, 1]}, "NCDHW", (1, 4, 8, 8), r"spacing of 2 axes, but .*: 3 axes of space. State one for each"),
        ({"rgb": ["x", "y", "z"]}, "NCHW", (5, 8, 8), "Unknown band in the card's rgb: 'x'"),
        ({"rgb": [0, 1, 5]}, "NCHW", (5, 8, 8), "Unknown band in the card's rgb: '5'"),
    ],
)
def test_what_contradicts_the_items_is_refused_before_anything_is_asked(given, axes, item, said):
    asked = []
    x = np.ones((1, *item), np.float32)

    def model(batch):
        asked.append(len(batch))
        return batch.reshape(len(batch), -1)[:, :2]

    with pytest.raises(CardError, match=said):
        xplain.explain(model, x, "occlusion", target=0, layout=axes, card={"coordinates": given})
    assert asked == []


def test_a_cards_layout_is_used_where_nothing_else_says_it_and_refused_where_the_model_says_another():
    x = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    found = xplain.explain(lambda b: b[:, :, 1].sum(1), x, "ablation", features="channels", card={"layout": "NTC"})
    assert found.layout == "NTC (stated by the preprocessing card)"
    np.testing.assert_allclose(found.values[0].sum(axis=0) / 4, [0, x[0, :, 1].sum(), 0])
    with pytest.raises(CardError, match="layout is 'NQ'; accepted: NCHW, NHWC, NHW, NCT"):
        Card.from_dict({"layout": "NQ"})
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv1d(3, 2, 3), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten()).eval()
    model = xplain.load(net, card={"layout": "NTC"})
    with pytest.raises(CardError, match="it states NTC, but .* takes NCT"):
        xplain.explain(model, np.ones((1, 3, 9), np.float32), "occlusion", target=0)


def test_pictures_are_no_spectrograms():
    model = xplain.load(lambda b: b.mean((1, 2, 3)), card={"coordinates": SOUND}, layout="NCHW")
    with pytest.raises(CardError, match="is for spectrogram, not for pictures"):
        xplain.explain(model, np.zeros((8, 8, 3), np.uint8), "occlusion")


@pytest.mark.parametrize(
    ("layout", "card", "takes"),
    [
        ("NCHW", "unit", True),
        ("NCHW", {"coordinates": SOUND}, False),
        ("NCT", {"coordinates": {"rate": 250}}, False),
        ("NCHW", None, False),
    ],
)
def test_a_card_of_series_or_sound_takes_no_pictures(layout, card, takes):
    model = xplain.load(
        lambda b: b.reshape(len(b), -1).sum(1), layout=layout, **({} if card is None else {"card": card})
    )
    assert model.outline.takes_pictures is takes


def test_items_of_several_lengths_are_told_what_to_do():
    series = [np.ones((2, 8), np.float32), np.ones((2, 9), np.float32)]
    with pytest.raises(UsageError, match="cut or pad them alike, or give each alone, with xplain.explain_stream"):
        xplain.explain(lambda b: b.sum((1, 2)), series, "occlusion", layout="NCT")


def outline(name, shape, axes):
    spec = TensorSpec(name, shape, "float32")
    return Outline(
        "net.onnx", "onnx", "", (spec,), name, None, ScoreSpec("y", 2, "logits", "softmax", ""), axes=Axes(axes)
    )


@pytest.mark.parametrize(
    ("name", "shape", "axes", "lines", "why"),
    [
        ("log_mel", (None, 1, 128, 1024), "NCHW", 'kind = "spectrogram"; frequency = "H"', "called 'log_mel', and 128"),
        ("input_mel", (None, 80, 3000), "NCT", 'frequency = "C"', "80 is a usual number of bins"),
        ("x", (None, 1, 64, None), "NCHW", 'frequency = "H"', "one channel and a free length"),
        ("x", (None, 1, 16000), "NCT", 'kind = "waveform"', "one channel of 16,000 samples"),
        ("waveform", (None, None), "NT", 'kind = "waveform"', "called 'waveform'"),
        ("x", (None, 12, 5000), "NCT", "channels = ", "series over time"),
        ("x", (None, 13, 64, 64), "NCHW", "channels = [13 names]; rgb", "13 bands"),
        ("x", (None, 1, 32, 64, 64), "NCDHW", "spacing = ", "volumes"),
        ("x", (None, 1, 128, 128), "NCHW", None, ""),
        ("x", (None, 3, 224, 224), "NCHW", None, ""),
    ],
)  # fmt: skip
def test_what_the_axes_likely_measure_is_proposed_with_a_reason(name, shape, axes, lines, why):
    from xplain.core.likely_coordinates import likely_coordinates

    found = likely_coordinates(outline(name, shape, axes))
    if lines is None:
        assert found is None
    else:
        assert found is not None
        assert lines in found[0]
        assert re.search(why, found[1])


def test_naming_what_axes_measure_pays_for_no_answer_twice(tmp_path):
    def model(batch):
        return batch.sum((1, 2))[:, None]

    x = np.arange(24, dtype=np.float32).reshape(1, 2, 12)
    how = {"patch": 2, "stride": 2, "target": 0, "cache": tmp_path}
    costs = []
    for told in ({}, {"rate": 250, "channels": ["I", "II"]}, {"rate": 500}):
        loaded = xplain.load(model, version="1", layout="NCT", card={"coordinates": told})
        costs.append(xplain.explain(loaded, x, "occlusion", **how).cost)
    assert costs[0].queries == 7
    assert [one.queries for one in costs[1:]] == [0, 0]
    assert all(one.reused >= 7 for one in costs[1:])
