"""An item that the model does not take is that item's failure; the others have the values that they have alone."""

from __future__ import annotations

import io

import nets
import numpy as np
import pytest
import torch
from PIL import Image

import xplain
from xplain.core.card import Card
from xplain.core.errors import ItemError, ModelError, PictureError, UsageError
from xplain.render import pictures
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.stream import Stream

OPTIONS = {"patch": 4, "stride": 4}


def explained(model, source, **more):
    told = []
    failed = lambda place, given, error: told.append((place, given, error))  # noqa: E731
    return list(xplain.explain_stream(model, source, "occlusion", failed=failed, **OPTIONS, **more)), told


def png_bytes(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("wrong", [(3, 17, 16), (1, 16, 16), (16, 16), (1, 3, 16, 16, 2), (3, 0, 16)])
def test_an_item_of_another_size_stops_no_other(wrong, at_once):
    model = xplain.load(nets.cnn(size=16))
    x = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    found, told = explained(model, iter([x[0], np.ones(wrong, np.float32), x[1], x[2]]), at_once=at_once)
    assert [one.names for one in found] == [("0",), ("2",), ("3",)]
    ((place, given, error),) = told
    assert (place, given.shape) == (1, wrong)
    assert isinstance(error, ItemError)
    whole = xplain.explain(model, x, "occlusion", **OPTIONS)
    assert np.array_equal(np.concatenate([one.values for one in found]), whole.values)
    with pytest.raises(UsageError, match=r"The input is \[|there is nothing to explain"):
        list(xplain.explain_stream(model, iter([x[0], np.ones(wrong, np.float32)]), "occlusion", **OPTIONS))


def test_an_item_of_words_among_numbers_is_told():
    x = np.ones((2, 3, 16, 16), np.float32)
    found, told = explained(nets.cnn(size=16), iter([x[0], object(), np.full((3, 16, 16), "cat"), x[1]]))
    assert [one.names for one in found] == [("0",), ("3",)]
    assert [(place, type(error)) for place, _, error in told] == [(1, ItemError), (2, ItemError)]


def test_a_module_of_any_size_fails_on_one_item_alone():
    """Too small for its pooling, or of other channels: torch says so itself, and the message says for which items."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    ).eval()
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    small, grey = np.ones((3, 4, 4), np.float32), np.ones((1, 16, 16), np.float32)
    found, told = explained(net, iter([x[0], small, grey, x[1]]))
    assert [one.names for one in found] == [("0",), ("3",)]
    assert [(place, type(error)) for place, _, error in told] == [(1, ModelError), (2, ModelError)]
    assert "fails on items of [3, 4, 4]: " in str(told[0][2])
    assert "Output size is too small. Check rank, channels and size." in str(told[0][2])


def test_a_text_that_is_empty_or_too_long_stops_no_other():
    model = xplain.text(lambda texts: [[text.count("good")] for text in texts], longest=4)
    told = []
    source = ["so good", "", "a b c d e", "good good"]
    stream = xplain.explain_stream(model, source, "kernel-shap", failed=lambda *why: told.append(why), target=0)
    found = [(one.values[0].tolist(), one.texts[0].text) for one in stream]
    assert [text for _, text in found] == ["so good", "good good"]
    np.testing.assert_allclose([values for values, _ in found], [[0, 1], [1, 1]], atol=1e-6)
    assert [(place, str(error)[:13]) for place, _, error in told] == [(1, "The text is e"), (2, "The text has ")]


def test_pictures_of_one_part_lie_in_one_batch_and_are_what_each_is_alone():
    """Also beside one that cannot be read: no pixel of a row is another's."""
    model = xplain.load(nets.cnn(size=16), card=Card(resize=(16, 16)))
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 256, (20 + n, 24, 3), np.uint8) for n in range(5)]
    given.insert(3, rng.integers(0, 256, (20, 24, 7), np.uint8))
    failed = []
    with Session(model, Request({})) as session:
        stream = Stream(session, iter(given), at_once=4, failed=lambda place, *_: failed.append(place))
        parts = [read.part for read in stream.parts()]
        alone = [session.read([one]).items.x for n, one in enumerate(given) if n != 3]
    assert failed == [3]
    assert [len(part) for part in parts] == [3, 2]
    assert np.array_equal(np.concatenate([part.items.x for part in parts]), np.concatenate(alone))
    assert all(part.items.x.base is not None for part in parts)  # nothing was copied to join them


def test_pictures_of_several_sizes_and_one_that_is_broken_are_read_once_in_batches_of_what_fits(monkeypatch):
    model = xplain.load(nets.cnn(size=None), card=Card())
    rng = np.random.default_rng(0)
    sizes = ((20, 24), (20, 24), (24, 20), (20, 24), (20, 24))
    given = [png_bytes(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]
    given.insert(2, b"GIF8")
    decoded, read = [], pictures.read
    monkeypatch.setattr(pictures, "read", lambda one, *more: decoded.append(one) or read(one, *more))
    failed = []
    with Session(model, Request({})) as session:
        stream = Stream(session, iter(given), at_once=8, failed=lambda place, *_: failed.append(place))
        parts = [one.part for one in stream.parts()]
        assert [one for one in decoded if isinstance(one, bytes)] == given
        alone = [session.read([one]).items for n, one in enumerate(given) if n != 2]
    assert failed == [2]
    assert [(part.place, len(part)) for part in parts] == [(0, 2), (3, 1), (4, 2)]
    assert [name for part in parts for name in part.items.names] == list("01345")
    rows = [row for part in parts for row in part.items.x]
    assert all(np.array_equal(row, one.x[0]) for row, one in zip(rows, alone, strict=True))


def test_a_broken_picture_ends_a_stream_that_nobody_listens_to():
    model = xplain.load(nets.cnn(size=16), card=Card(resize=(16, 16)))
    given = [np.zeros((20, 24, 3), np.uint8), np.zeros((20, 24, 7), np.uint8)]
    with pytest.raises(PictureError, match=r"\[20, 24, 7\]"):
        list(xplain.explain_stream(model, iter(given), "occlusion", **OPTIONS))
