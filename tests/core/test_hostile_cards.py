"""Cards, lists of labels and other small files may come from anyone: bounded, read strictly, refused in words."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from xplain.core.card import PRESETS, Card, load_card
from xplain.core.errors import CardError, UsageError
from xplain.core.keeping.files import lines_of, read_text, there
from xplain.render.pictures import prepare

BAD = [
    {"scale": float("inf")},
    {"scale": float("nan")},
    {"scale": 1e300},
    {"scale": 0},
    {"scale": "0.5"},
    {"scale": True},
    {"mean": [float("inf")] * 3},
    {"mean": "0.5"},
    {"mean": [0.5, "a", 1]},
    {"mean": {"a": 1}},
    {"mean": [[0.5] * 3]},
    {"mean": [10**400] * 3},
    {"std": [float("nan")] * 3},
    {"std": [1e-400] * 3},
    {"resize": [float("inf"), 4]},
    {"resize": [4.5, 4]},
    {"resize": "44"},
    {"resize": [True, 4]},
    {"resize_short": 10**30},
    {"resize_short": float("inf")},
    {"crop": [65536, 65536]},
    {"resize": [8000, 8000]},
    {"crop": {"height": 4}},
    {"mode": 5},
    {"mode": ["RGB"]},
    {"layout": None},
    {"resample": ["bilinear"]},
    {"labels": 5},
    {"labels": {"a": 1}},
    {"labels": ["a", {}]},
    {"labels": [None]},
    {"labels": "x" * 100_000},
    {"labels": "../secret.txt"},
    {"name": 5},
    {"x" * 100_000: 1},
]


@pytest.mark.parametrize("raw", BAD, ids=lambda raw: str(raw)[:40])
def test_values_that_no_card_has(raw):
    with pytest.raises(CardError) as told:
        Card.from_dict({"mode": "RGB"} | raw, "x")
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100000,
        "scale = " + "9" * 5000,
        "scale = inf",
        "mean = [nan]",
        "crop = 1e999",
        "\x00",
        "[[[",
        "a" * 10**6,
        "mean = " + "[" * 100 + "]" * 100,
    ],
)
def test_texts_that_are_no_card(tmp_path, text):
    (tmp_path / "a.card.toml").write_text(text)
    with pytest.raises(CardError):
        load_card(tmp_path / "a.card.toml")


def test_places_that_hold_no_card(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe\0")
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(2**27)
    places = ["x" * 5000, "a\0b", tmp_path, tmp_path / "pipe.toml", tmp_path / "latin.toml", tmp_path / "large.toml"]
    for place in places:
        with pytest.raises(CardError):
            load_card(place)


HF = {"do_normalize": False, "do_center_crop": False}
UNUSABLE = [
    {"size": {"longest_edge": 800}},
    {"size": {"shortest_edge": 800, "longest_edge": 1333}},
    {"size": {"max_height": 4, "max_width": 4}},
    {"size": "224"},
    {"size": [1, 2, 3]},
    {"size": {}},
    {"size": {"shortest_edge": "224"}},
    {"size": {"height": 4}},
    {"size": {"height": float("inf"), "width": 3}},
    {"do_resize": True},
    {"size": 224, "resample": 9},
    {"size": 224, "resample": None},
    {"size": 224, "resample": [2]},
    {"size": 224, "rescale_offset": True},
    {"size": {"shortest_edge": 224}, "crop_pct": "x"},
    {"size": 224, "do_center_crop": True, "crop_size": {"height": 4}},
    {"size": 224, "do_center_crop": True, "crop_size": "x"},
    {"size": 224, "rescale_factor": "x"},
    {"size": 224, "do_normalize": True, "image_mean": "x"},
]


@pytest.mark.parametrize("raw", UNUSABLE, ids=lambda raw: str(raw)[:50])
def test_a_preprocessor_config_is_understood_or_refused(tmp_path, raw):
    """An unusable size was dropped without a word: pictures went in at their own size."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HF | raw))
    with pytest.raises(CardError):
        load_card(tmp_path / "preprocessor_config.json")


@pytest.mark.parametrize("text", ["[]", "5", '"x"', "null", "[" * 100_000, '{"size": ' + "9" * 5000 + "}", "{", ""])
def test_a_preprocessor_config_that_is_none(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(CardError):
        load_card(tmp_path / "preprocessor_config.json")


@pytest.mark.parametrize(
    ("raw", "resize_short", "resize", "crop"),
    [
        ({"size": {"shortest_edge": 256}}, 256, None, None),
        ({"size": {"height": 200, "width": 100}}, None, (200, 100), None),
        ({"size": 224}, None, (224, 224), None),
        ({"size": 256, "do_center_crop": True, "crop_size": 224}, 256, None, (224, 224)),
        ({"size": [200, 100]}, None, (200, 100), None),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 256, None, (224, 224)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, None, (384, 384), None),
        ({"do_resize": False, "size": {"longest_edge": 3}}, None, None, None),
        ({}, None, None, None),
    ],
)
def test_sizes_of_preprocessor_configs(raw, resize_short, resize, crop):
    card = Card.from_hugging_face(HF | raw)
    assert (card.resize_short, card.resize, card.crop) == (resize_short, resize, crop)


def test_a_flipped_channel_order_is_kept():
    """As MobileViT's: BGR, and no mean where none is written."""
    card = Card.from_hugging_face({"size": {"shortest_edge": 288}, "do_flip_channel_order": True})
    assert (card.mode, card.mean, card.std) == ("BGR", (0.0,), (1.0,))


def test_a_card_makes_no_picture_beyond_the_limit():
    from xplain.core.errors import PictureError

    wide = np.zeros((1, 4000, 3), np.uint8)
    with pytest.raises(PictureError, match="accepted: up to 50,000,000"):
        prepare(Card(mode="RGB", resize_short=4000), wide)


LISTED = {
    "ends with a line feed": (b"a\nb\n", ("a", "b")),
    "ends without": (b"a\nb", ("a", "b")),
    "blank lines at the end": (b"a\nb\n\n  \n", ("a", "b")),
    "a blank line inside keeps its place": (b"a\n\nb\n", ("a", "", "b")),
    "from Windows": (b"\xef\xbb\xbfa\r\nb\r\n", ("a", "b")),
    "commas": (b"crane, bird\ncat\n", ("crane, bird", "cat")),
    "other marks of a line's end": ("a\u2028x\nb\x0bc\nd\x85e\n".encode(), ("ax", "bc", "de")),
    "right to left": ("עברית\nb\n".encode(), ("עברית", "b")),
}


@pytest.mark.parametrize(("content", "labels"), LISTED.values(), ids=LISTED)
def test_a_file_of_labels_has_one_for_each_line(tmp_path, content, labels):
    (tmp_path / "labels.txt").write_bytes(content)
    (tmp_path / "m.card.toml").write_text('mode = "RGB"\nlabels = "labels.txt"\n')
    assert load_card(tmp_path / "m.card.toml").labels == labels


@pytest.mark.parametrize("content", [b"\xff\xfea\0", b"\xe9t\xe9\n", None])
def test_a_file_of_labels_that_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    (tmp_path / "m.card.toml").write_text('mode = "RGB"\nlabels = "labels.txt"\n')
    with pytest.raises(CardError, match="labels.txt' cannot be read: (it is not UTF-8 text|there is no such file)"):
        load_card(tmp_path / "m.card.toml")


def test_presets_are_cards():
    assert all(Card.from_toml(card.to_toml(), name) == card for name, card in PRESETS.items())


def test_what_stands_somewhere(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    assert [there(tmp_path / name) for name in ("file", "pipe", "", "absent")] == ["file", "other", "folder", ""]
    assert [there(name) for name in ("x" * 5000, "a\0b")] == ["", ""]


def test_texts_are_bounded(tmp_path):
    (tmp_path / "a").write_text("x" * 100)
    with pytest.raises(UsageError, match="It cannot be read: it has 100 bytes, and at most 10 are read"):
        read_text(tmp_path / "a", UsageError, "It", 10)
    assert lines_of("") == []
