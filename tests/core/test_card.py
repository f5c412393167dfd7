"""Preprocessing cards: read, refused, found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xplain.core.card import PRESETS, Card, find_card, load_card
from xplain.core.errors import CardError


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_round_trip_through_toml(name):
    card = load_card(name)
    assert Card.from_toml(card.to_toml(), name) == card


def test_toml_with_labels_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\nd\x1bog\n" + "x" * 500 + "\n")
    (tmp_path / "m.card.toml").write_text('crop = 224\nresize = [256, 300]\nmean = 0.5\nlabels = "labels.txt"\n')
    card = find_card(tmp_path / "m.onnx", {})
    assert card is not None
    assert (card.crop, card.resize, card.mean) == ((224, 224), (256, 300), (0.5,))
    assert card.labels[:2] == ("cat", "dog")
    assert len(card.labels[2]) == 200
    told = card.to_toml(labels=False)  # as inspect and a result tell it: no line rather than an empty list
    assert "labels" not in told
    assert Card.from_toml(told).mean == (0.5,)


def test_the_card_beside_the_file_wins_over_metadata(tmp_path):
    assert find_card(tmp_path / "m.onnx", {}) is None
    metadata = {"xplain.card": 'mode = "L"'}
    assert find_card(tmp_path / "m.onnx", metadata).mode == "L"
    (tmp_path / "m.card.toml").write_text('mode = "BGR"')
    assert find_card(tmp_path / "m.onnx", metadata).mode == "BGR"


def test_hugging_face(tmp_path):
    raw = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 200},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [1, 2, 4],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(raw))
    card = find_card(tmp_path / "m.onnx", {})
    assert (card.resize_short, card.crop, card.resample, card.std) == (256, (224, 200), "bicubic", (1.0, 2.0, 4.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop = [1, 2, 3]", "one number or"),
        ("crop = 0", "whole number of pixels"),
        ("resize_shrot = 3", "Did you mean 'resize_short'"),
        ('mode = "CMYK"', "accepted: RGB, BGR, L"),
        ("mean = [1, 2]", "2 numbers for 3 channels"),
        ("std = [1, 0, 1]", "std holds a zero"),
        ('labels = "../secret"', "the card's own folder"),
        ('labels = "absent.txt"', "cannot be read"),
        ('scale = "much"', "scale is 'much'"),
        ("crop = [", "is not TOML"),
    ],
)
def test_wrong_cards_say_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "x.card.toml"
    path.write_text(text)
    with pytest.raises(CardError, match=message):
        load_card(path)


def test_a_card_that_is_neither_file_nor_preset():
    with pytest.raises(CardError, match="neither a file nor a preset. Presets: imagenet"):
        load_card("imagent")


@pytest.mark.parametrize(
    ("card", "finite"),
    [
        (Card(scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3), True),
        (Card(mode="L", std=(1e-30,)), True),
        (Card(std=(1.0, 1.0, 1e-44)), False),  # the third channel alone
        (Card(scale=1e12, std=(2e-27,) * 3), False),  # from a sample of 1 on
    ],
)
def test_a_card_that_makes_infinite_numbers_is_known_by_the_ends_of_its_samples(card, finite):
    every = np.repeat(np.arange(256, dtype=np.float32)[:, None], len(card.mean), axis=1)
    with np.errstate(all="ignore"):
        assert np.isfinite(card.tensor(every)).all() == finite
    assert card.keeps_finite == finite
