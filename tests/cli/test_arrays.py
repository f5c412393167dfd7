"""Series, spectrograms and volumes as .npy files: explained, drawn with their axes, and listed on the page."""

from __future__ import annotations

import re
import wave

import numpy as np
import onnx
import pytest
from nets import FLOAT
from nets import model as nets_model
from onnx import helper

from xplain.core.errors import ItemError

CARD = """
[coordinates]
channels = ["I", "II", "V1"]
rate = 250
unit = "mV"
"""


@pytest.fixture
def ecg(tmp_path):
    """A 1-D convolutional net that reads the second channel, and an item with a bump on it from 0.8 to 1.2 s."""
    kernel = np.zeros((2, 3, 25), np.float32)
    kernel[0, 1] = 1 / 25
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["filtered"], pads=[12, 12]),
        helper.make_node("Relu", ["filtered"], ["found"]),
        helper.make_node("GlobalAveragePool", ["found"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    weights = {"kernel": kernel, "bias": np.array([-0.3, 0.01], np.float32)}
    made = nets_model(nodes, {"x": (FLOAT, ["N", 3, 500])}, {"y": (FLOAT, ["N", 2])}, weights)
    onnx.save(made, tmp_path / "ecg.onnx")
    (tmp_path / "ecg.card.toml").write_text(CARD, encoding="utf-8")
    x = np.random.default_rng(0).normal(0, 0.05, (3, 500)).astype(np.float32)
    x[1, 200:300] += 1
    np.save(tmp_path / "beat.npy", x)
    return tmp_path


def test_a_series_is_explained_and_told_in_seconds(xplain, ecg):
    out = ecg / "out"
    words = ("explain", ecg / "ecg.onnx", ecg / "beat.npy", "-m", "occlusion,gradient-x-input", "--target", "0")
    ran = xplain(*words, "--features", "segments:50,apart=true", "--channels", "true", "--out", out, "--json")
    assert ran.code == 0, ran.err
    (item,) = ran.document["items"]
    assert item["item"].endswith("beat.npy")
    files = [one["files"] for one in item["explanations"]]
    page = (out / "index.html").read_text()
    assert "ecg.onnx: 1 item<" in page
    for one in files:
        assert (out / one["png"]).is_file()
        import xplain as package

        a = package.Attribution.load(out / one["npz"])
        assert a.names == ("beat.npy",)
        assert a.coordinates.channels == ("I", "II", "V1")
        assert a.signals.shape == (1, 3, 500)
        assert re.search(r"lies on channel II between 0\.[789]\d* and 1\.\d+ s: \d+%", a.sentence())
        assert a.sentence().partition("lies on ")[2].partition(".")[0] in page
    assert page.count("data:image/webp") >= 4  # two small drawings, two figures
    assert "script-src" not in page


def test_a_file_may_hold_several_items_and_a_bad_one_stops_no_other(xplain, ecg):
    x = np.load(ecg / "beat.npy")
    np.save(ecg / "two.npy", np.stack([x, -x]))
    (ecg / "bad.npy").write_bytes(b"no array")
    np.save(ecg / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(ecg / "short.npy", x[:, :100])
    words = ("explain", ecg / "ecg.onnx", *(ecg / f"{name}.npy" for name in ("bad", "two", "objects", "short", "beat")))
    ran = xplain(*words, "-m", "occlusion", "--patch", "50", "--out", ecg / "out", "--json", "--shared-scale")
    assert ran.code == 4, ran.err
    assert [one["item"].rpartition("/")[2] for one in ran.document["items"]] == ["two-0.npy", "two-1.npy", "beat.npy"]
    failed = {one["item"].rpartition("/")[2]: one["error"]["message"] for one in ran.document["failures"]}
    assert set(failed) == {"bad.npy", "objects.npy", "short.npy"}
    assert "it is no .npy file. Save one with numpy.save" in failed["bad.npy"]
    assert "it holds Python objects, which could run code" in failed["objects.npy"]
    assert "takes items of [3, 500]" in failed["short.npy"]
    dry = xplain(*words, "-m", "occlusion", "--patch", "50", "--dry-run")
    assert dry.out.startswith("4 items would take 80 model evaluations")  # what short.npy holds is not read


def test_a_header_of_negative_extents_and_an_archive_under_another_name_are_told(xplain, ecg):
    """numpy answers one with an error of its own kind, the other with what is no array."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 500), }".ljust(117) + b"\n"
    (ecg / "negative.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(80))
    with (ecg / "archive.npy").open("wb") as file:
        np.savez(file, x=np.zeros((3, 500), np.float32))
    ran = xplain("explain", ecg / "ecg.onnx", ecg / "negative.npy", ecg / "archive.npy", "--out", ecg / "out", "--json")
    assert ran.code == 2, ran.err
    failed = {one["item"].rpartition("/")[2]: one["error"]["message"] for one in ran.document["failures"]}
    assert "its header or its end is damaged" in failed["negative.npy"]
    assert "it is no .npy file" in failed["archive.npy"]


def test_arrays_and_pictures_are_not_mixed(xplain, ecg):
    (ecg / "cat.png").write_bytes(b"")
    ran = xplain("explain", ecg / "ecg.onnx", ecg / "beat.npy", ecg / "cat.png", "--out", ecg / "out")
    assert "The items mix arrays (.npy, .wav) and pictures (cat.png)" in ran.err


def test_a_card_that_contradicts_the_model_is_refused(xplain, ecg):
    (ecg / "ecg.card.toml").write_text('[coordinates]\nchannels = ["I", "II"]\n')
    ran = xplain("explain", ecg / "ecg.onnx", ecg / "beat.npy", "--out", ecg / "out")
    assert ran.code == 2
    assert "names 2 channels" in ran.err


def test_inspect_proposes_what_the_axes_measure(xplain, ecg):
    assert "coordinates" not in xplain("inspect", ecg / "ecg.onnx").out.replace("[coordinates]", "")
    (ecg / "ecg.card.toml").unlink()
    ran = xplain("inspect", ecg / "ecg.onnx")
    assert "not stated, so drawings count positions; likely in a card: channels = " in ran.out
    assert xplain("inspect", ecg / "ecg.onnx", "--json").document["coordinates proposed"]["why"].endswith("over time")


def sound(path, samples, rate=8000, width=2):
    """A WAV file of samples ``[T]`` or ``[T, C]`` in -1 to 1."""
    whole = np.rint(np.asarray(samples) * (2.0 ** (8 * width - 1) - 1)).astype("<i4")
    if width == 1:
        content = (whole + 128).astype(np.uint8).tobytes()
    else:
        content = whole.reshape(-1)[:, None].view(np.uint8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if whole.ndim == 1 else whole.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sound_is_read_as_numbers_between_minus_one_and_one(tmp_path, width):
    from xplain.core.card import Card
    from xplain.core.outline import Outline, ScoreSpec, TensorSpec
    from xplain.core.positions.layout import Axes
    from xplain.session.array_files import read_wave

    card = Card.from_dict({"coordinates": {"kind": "waveform", "rate": 8000}})
    score = ScoreSpec("y", 2, "logits", "softmax", "")
    spec = TensorSpec("x", (None, None, None), "float32")
    wanted = np.array([[0.0, 1.0], [-1.0, 0.5], [0.25, -0.75]])
    sound(tmp_path / "two.wav", wanted, width=width)
    for axes in ("NCT", "NTC"):
        model = Outline("net", "onnx", "", (spec,), "x", None, score, card=card, axes=Axes(axes))
        found = read_wave(tmp_path / "two.wav", model)
        np.testing.assert_allclose(found if axes == "NTC" else found.T, wanted, atol=2.0 ** (2 - 8 * width))


def test_sound_is_explained_at_the_rate_that_the_card_states(xplain, tmp_path):
    nodes = [helper.make_node("Mul", ["x", "window"], ["part"]), helper.make_node("Abs", ["part"], ["loud"])]
    nodes += [helper.make_node("GlobalAveragePool", ["loud"], ["mean"]), helper.make_node("Flatten", ["mean"], ["y"])]
    window = ((np.arange(800) >= 400) & (np.arange(800) < 600)).astype(np.float32)[None, None]
    made = nets_model(nodes, {"x": (FLOAT, ["N", 1, 800])}, {"y": (FLOAT, ["N", 1])}, {"window": window})
    onnx.save(made, tmp_path / "net.onnx")
    sound(tmp_path / "beep.wav", 0.5 * np.sin(np.arange(800)))
    sound(tmp_path / "fast.wav", np.zeros(800), rate=16000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    words = ("explain", tmp_path / "net.onnx", tmp_path / "beep.wav", "-m", "occlusion", "--patch", "100")
    words = (*words, "--layout", "NCT", "--out", tmp_path / "out", "--json")
    none = xplain(*words)
    assert none.code != 0
    assert "no card says how many samples per second" in none.err + none.out
    (tmp_path / "net.card.toml").write_text('[coordinates]\nkind = "waveform"\nrate = 8000\n')
    ran = xplain(*words, tmp_path / "fast.wav", tmp_path / "bad.wav")
    assert ran.code == 4, ran.err
    failed = {one["item"].rpartition("/")[2]: one["error"]["message"] for one in ran.document["failures"]}
    assert "has 16,000 samples per second, and the card states 8,000. Resample" in failed["fast.wav"]
    assert "accepted: WAV of whole numbers" in failed["bad.wav"]
    import xplain as package

    (one,) = ran.document["items"][0]["explanations"]
    a = package.Attribution.load(tmp_path / "out" / one["files"]["npz"])
    assert int(a.values[0].argmax()) // 100 in (4, 5)
    assert re.search(r"between 0\.0[456]\d* and 0\.0[67]", a.sentence())


# ---------------------------------------------------------------------- xplain see


def test_lenses_look_at_arrays_in_files_by_their_names_and_folders(xplain, ecg):
    rng = np.random.default_rng(2)
    for name, channel in (("first", 0), ("second", 1)):
        (ecg / "beats" / name).mkdir(parents=True)
        for n in range(4):
            x = rng.normal(0, 0.05, (3, 500)).astype(np.float32)
            x[channel, 50 * n : 50 * n + 100] += 1
            np.save(ecg / "beats" / name / f"{n}.npy", x)
    (ecg / "beats" / "second" / "bad.npy").write_bytes(b"no array")
    ran = xplain("see", "patches", ecg / "ecg.onnx", ecg / "beats", "--layer", "found", "--units", "0,", "--k", "2",
                 "--out", ecg / "patches", "--json")  # fmt: skip
    assert ran.code == 4, ran.err
    (failure,) = ran.document["failures"]
    assert "it is no .npy file" in failure["error"]["message"]
    import xplain as package

    found = package.results.load(ecg / "patches" / "patches.npz")
    assert set(found.names) <= {f"{n}.npy" for n in range(4)}
    assert found.facts["class"][0] == "second"
    y0, x0, y1, x1 = found.boxes[0]
    assert (y1 - y0, x1 - x0) == (1, 25)
    near = package.see(str(ecg / "ecg.onnx"), "neighbours", str(ecg / "beats"), layer="pooled", labelled=True, k=2)
    assert near.truth == ("first",) * 4 + ("second",) * 4
    assert near.names[5] == "second/1.npy"
    kept = package.see(str(ecg / "ecg.onnx"), "embed", str(ecg / "beats"), layer="pooled", vectors=str(ecg / "kept"))
    again = package.see(str(ecg / "ecg.onnx"), "embed", str(ecg / "beats"), layer="pooled", vectors=str(ecg / "kept"))
    np.testing.assert_array_equal(again.vectors, kept.vectors)
    assert len(np.load(ecg / "kept" / "vectors.npy")) == 8


def test_the_rows_of_one_array_are_items_with_numbers(xplain, ecg):
    x = np.load(ecg / "beat.npy")
    np.save(ecg / "rows.npy", np.stack([x, -x, 2 * x]))
    ran = xplain("see", "activations", ecg / "ecg.onnx", ecg / "rows.npy", "--layer", "found", "--pictures", "3",
                 "--out", ecg / "maps", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    import xplain as package

    found = package.results.load(ecg / "maps" / "activations.npz")
    assert list(dict.fromkeys(found.names)) == ["rows-0.npy", "rows-1.npy", "rows-2.npy"]
    assert found.look == "line"
    mixed = xplain("see", "activations", ecg / "ecg.onnx", ecg / "rows.npy", ecg / "cat.png", "--out", ecg / "no")
    assert mixed.code != 0


def test_an_array_of_nothing_and_one_of_complex_numbers_fail_alone(xplain, ecg):
    x = np.load(ecg / "beat.npy")
    np.save(ecg / "none.npy", np.zeros((0, 3, 500), np.float32))
    np.save(ecg / "waves.npy", x.astype(np.complex64))
    items = [ecg / name for name in ("none.npy", "beat.npy", "waves.npy")]
    ran = xplain(
        "explain", ecg / "ecg.onnx", *items, "-m", "occlusion", "--target", "0", "--out", ecg / "out", "--json"
    )
    assert ran.code == 4, ran.err
    assert [one["item"].rpartition("/")[2] for one in ran.document["items"]] == ["beat.npy"]
    none, waves = (one["error"]["message"] for one in ran.document["failures"])
    assert "none.npy is [0, 3, 500]: there is nothing to explain" in none
    assert "complex64; models take real numbers. Give its magnitude" in waves
    alone = xplain("explain", ecg / "ecg.onnx", ecg / "none.npy", "--out", ecg / "no")
    assert alone.code not in (0, 4)
    assert "there is nothing to explain" in alone.err
    seen = xplain("see", "activations", ecg / "ecg.onnx", ecg / "none.npy", "--layer", "found", "--out", ecg / "not")
    assert seen.code not in (0, 4)
    assert "there is nothing to explain" in seen.err
    import xplain as package

    model = package.load(ecg / "ecg.onnx")
    with pytest.raises(ItemError, match=r"Item 1 is \[0, 3, 500\]: there is nothing to explain. Leave it out"):
        package.explain(model, [x, np.load(ecg / "none.npy")], "occlusion")
