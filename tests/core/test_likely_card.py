"""A model without a card: the preset that its file speaks for is proposed with the reason, and none where two fit."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest

import xplain
from xplain.core.card import PRESETS
from xplain.core.errors import CardError
from xplain.core.likely_card import likely_card
from xplain.core.positions.layout import Layout


@pytest.fixture(scope="module")
def outline():
    return xplain.load(nets.cnn()).outline


def of(outline, classes=1000, channels=3, dtype="float32", **facts):
    inputs = tuple(replace(one, dtype=dtype) for one in outline.inputs)
    layout = Layout("NCHW", (channels, 16, 16)) if channels else None
    scores = replace(outline.scores, classes=classes)
    return replace(outline, inputs=inputs, layout=layout, scores=scores, facts=facts)


@pytest.mark.parametrize(
    ("told", "preset", "why"),
    [
        ({"producer": "pytorch 2.13.0"}, "imagenet", "PyTorch"),
        ({"producer": "tflite2onnx", "classes": 1001}, "imagenet-pm1", "1001 classes"),
        ({"producer": "onnx-caffe2"}, "imagenet-caffe", "onnx-caffe2"),
        ({"producer": "pytorch 2.0", "author": "Ultralytics"}, "ultralytics", "Ultralytics"),
        ({"dtype": "uint8"}, "raw", "uint8"),
        ({"dtype": "uint8", "channels": 1}, "raw-grey", "uint8"),
    ],
)
def test_what_the_file_says_speaks_for_a_preset(outline, told, preset, why):
    found, reason = likely_card(of(outline, **told))
    assert found == preset
    assert found in PRESETS
    assert why in reason


@pytest.mark.parametrize(
    "told",
    [{}, {"producer": "pytorch", "classes": 10}, {"channels": 1}, {"channels": 4, "dtype": "uint8"}, {"channels": 0}],
)
def test_nothing_is_proposed_where_nothing_speaks_for_one(outline, told):
    assert likely_card(of(outline, **told)) is None


def test_the_question_for_a_card_carries_the_proposal():
    model = xplain.load(nets.cnn())
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(CardError, match=r"raw-grey\.$"):
        xplain.explain(model, picture, "saliency")
    model.outline = of(model.outline, producer="pytorch 2.13.0")
    with pytest.raises(CardError, match=r"raw-grey\. Likely here is 'imagenet': its 1000 classes"):
        xplain.explain(model, picture, "saliency")
