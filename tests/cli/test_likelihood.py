"""Cards are judged by how probable they make the labels; what pictures cannot tell is said."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xplain.cli.likelihood import Comparison, compared, label_log_probabilities, other_cards, same_numbers
from xplain.core.card import PRESETS, Card
from xplain.testing import constant


@pytest.mark.parametrize(
    ("difference", "error", "pictures", "verdict"),
    [
        (1.0, 0.2, 10, "better"),
        (1.0, 0.4, 10, "unclear"),
        (-1.0, 0.2, 10, "worse"),
        (-0.05, 0.01, 10, "worse"),
        (0.05, 0.01, 10, "alike"),  # surer of what it is right about
        (0.0, 0.0, 10, "alike"),
        (9.0, 0.1, 4, "unclear"),
        (9.0, math.inf, 1, "unclear"),
    ],
)
def test_when_cards_are_told_apart(difference, error, pictures, verdict):
    assert Comparison(difference, error, pictures).verdict == verdict


def test_a_comparison_is_paired():
    own, other = np.log([0.9, 0.5, 0.1]), np.log([0.9, 0.6, 0.3])
    apart = other - own
    one = compared(own, other)
    assert one.difference == pytest.approx(apart.mean())
    assert one.error == pytest.approx(apart.std(ddof=1) / math.sqrt(3))
    assert Comparison(0.5, 0.5, 10).needed == 90  # then three errors are the difference


@pytest.mark.parametrize(
    ("kind", "link", "scores", "expected"),
    [
        ("logits", "softmax", [1.0, 3.0], 3 - math.log(math.e + math.e**3)),
        ("logits", "sigmoid", [1.0, 3.0], -math.log1p(math.exp(-3))),
        ("probabilities", "none", [0.25, 0.75], math.log(0.75)),
        ("log-probabilities", "none", [-2.0, -0.5], -0.5),
        ("probabilities", "none", [1.0, 0.0], -20.0),
    ],
)
def test_the_log_probability_of_a_label(kind, link, scores, expected):
    outline = constant().outline
    outline = replace(outline, scores=replace(outline.scores, kind=kind, link=link))
    got = label_log_probabilities(np.array([scores]), np.array([1]), outline)
    assert got[0] == pytest.approx(expected)


def test_other_cards_are_different_and_exchange_channels():
    cards = other_cards(PRESETS["imagenet"])
    assert {"this card, channels exchanged", "imagenet-pm1", "imagenet-pm1, BGR", "imagenet-caffe", "unit"} <= set(
        cards
    )
    exchanged = cards["this card, channels exchanged"]
    assert exchanged.mode == "BGR"
    assert exchanged.mean == PRESETS["imagenet"].mean[::-1]  # each number stays with its colour
    assert all(one.crop == (224, 224) for one in cards.values())
    every = [PRESETS["imagenet"], *cards.values()]
    assert not any(same_numbers(a, b) for k, a in enumerate(every) for b in every[:k])
    assert {"raw-grey", "mnist", "grey-pm1"} <= set(other_cards(Card(mode="L")))


def _pictures(folder, rng):
    """Pictures that are red or blue, and dull: what tells them is the order of channels alone."""
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir(parents=True)
        for n in range(8):
            pixels = rng.integers(90, 110, (16, 16, 3)).astype(np.uint8)
            pixels[:, :, channel] += 20
            Image.fromarray(pixels).save(folder / label / f"{n}.png")


def test_channels_that_are_exchanged_are_a_finding(xplain, tmp_path):
    import nets
    import onnx
    from onnx import helper

    weight = np.zeros((3, 3), np.float32)
    weight[0, 0], weight[2, 1] = 60.0, 60.0  # red less, blue more
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["logits"]),
    ]
    model = nets.model(nodes, {"x": (nets.FLOAT, ["N", 3, 16, 16])}, {"logits": (nets.FLOAT, ["N", 3])}, {"w": weight})
    onnx.save(model, tmp_path / "net.onnx")
    _pictures(tmp_path / "pictures", np.random.default_rng(0))
    text = 'mode = "{}"\nresize = [16, 16]\nlabels = ["red", "blue", "other"]\n'
    for mode in ("RGB", "BGR"):
        (tmp_path / f"{mode}.toml").write_text(text.format(mode))
    words = ("check", tmp_path / "net.onnx", "--labelled", tmp_path / "pictures", "--card")
    ran = xplain(*words, tmp_path / "BGR.toml")
    assert ran.code == 1
    assert 'the card is probably wrong. Put into it: mode = "RGB"' in ran.out
    right = xplain(*words, tmp_path / "RGB.toml", "--json").document
    assert not right["findings"]
    exchanged = next(one for one in right["others"] if one["card_name"] == "this card, channels exchanged")
    assert exchanged["verdict"] == "worse"
    few = tmp_path / "few"
    for label in ("red", "blue"):
        (few / label).mkdir(parents=True)
        (few / label / "0.png").write_bytes((tmp_path / "pictures" / label / "0.png").read_bytes())
    told = xplain("check", tmp_path / "net.onnx", "--labelled", few, "--card", tmp_path / "RGB.toml")
    assert "No finding, but 2 pictures are too few to tell this card from" in told.out
    assert "Told apart: a mean difference" in told.out
