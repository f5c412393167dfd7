"""What stands below the pictures of a strip or a table can be read, and tells one from another."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from PIL import Image

import xplain
from xplain.render import canvas


@pytest.fixture
def drawn(monkeypatch):
    said: list[str] = []
    plain = canvas.words
    monkeypatch.setattr(canvas, "words", lambda lines, *rest: said.extend(lines) or plain(lines, *rest))
    return said


def photographs(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"item-{n}.png")
    return str(folder)


CARD = {"mode": "RGB", "resize": [16, 16]}


def test_neighbours_are_named_without_the_folder_of_all_and_distances_have_no_exponent(tmp_path, drawn):
    given = photographs(tmp_path / "photographs", 9)
    found = xplain.see(nets.cnn(size=16), "neighbours", given, k=2, card=CARD)
    found.strips()
    assert "item-3.png" in drawn
    assert found.pixel_distance.min() >= 1000  # which three figures alone would write with an exponent
    assert f"{found.pixel_distance[0, 0]:.0f}" in drawn
    assert not any("e+" in line for line in drawn)


def test_items_that_are_not_seen_alike_do_not_read_one(tmp_path, drawn):
    found = xplain.see(nets.cnn(size=16), "compare", photographs(tmp_path / "photographs", 9), card=CARD, draws=5)
    close = np.linspace(0.9971, 0.9998, len(found.agreement))
    replace(found, agreement=close).matrix()
    assert "1.00" not in drawn
    assert "0.9998" in drawn
    assert "item-0.png" in drawn or len(found.different) < 9
    assert not any(line.startswith("photographs/") for line in drawn)


def test_of_channels_with_one_largest_value_those_that_are_active_in_more_places_come_first():
    x = np.zeros((1, 3, 16, 16), np.float32)
    x[0, 0, 0, 0] = x[0, 1] = x[0, 2, :8] = 1
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)]
    net = torch.nn.Sequential(torch.nn.ReLU6(), *head).eval()
    found = xplain.see(net, "activations", x, layer="0", k=2, sort="largest")
    assert [unit.partition("[")[2] for unit in found.units] == ["1]", "2]"]


def test_what_cannot_be_read_and_units_that_never_fire_are_counted(tmp_path):
    given = photographs(tmp_path / "photographs", 2)
    for name in ("x", "y"):
        (tmp_path / "photographs" / f"{name}.png").write_bytes(b"no picture")
    found = xplain.see(nets.cnn(size=16), "embed", given, card=CARD)
    assert any("x.png and 1 more could not be read and are left out: " in text for text in found.said)
    (tmp_path / "photographs" / "y.png").unlink()
    found = xplain.see(nets.cnn(size=16), "embed", given, card=CARD)
    assert any("x.png could not be read and is left out: " in text for text in found.said)
