"""Targets in words on the command line: what a file ends in is told, and each word explains it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.targets import heads

CARD = 'mode = "RGB"\nscale = 0.01\nlabels = ["cat", "dog", "owl"]\n'


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("yolo_v8", "segmenter", "embedder"):
        (tmp_path / f"{name}.onnx").write_bytes(heads.HEADS[name]().SerializeToString())
        text = CARD if name != "embedder" else CARD.splitlines()[0] + "\nscale = 0.01\n"
        (tmp_path / f"{name}.card.toml").write_text(text, encoding="utf-8")
    for name, bright in (("pic", {"a5": (1, 2.0), "a10": (2, 1.5)}), ("other", {"a4": (1, 2.0), "a1": (0, 1.5)})):
        x = heads.picture(**bright)[0].transpose(1, 2, 0) * 100
        Image.fromarray(x.astype(np.uint8)).save(tmp_path / f"{name}.png")
    Image.fromarray((heads.picture(a5=(1, 2.0))[0, 1] * 100).astype(np.uint8)).save(tmp_path / "mask.png")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "target", "told"),
    [
        ("yolo_v8", "box:owl", "owl 0.82 in box [8, 8, 12, 12]"),
        ("segmenter", "region:dog", "dog in its region of 16 places"),
        ("segmenter", "border:mask.png@dog", "dog in its border of 28 places"),
        ("embedder", "similar:other.png", "similarity to other.png"),
    ],
)
def test_each_word_explains_a_picture(xplain, place, model, target, told):
    done = xplain("explain", "--json", f"{model}.onnx", "pic.png", "-m", "saliency", "--target", target, "--out", "out")
    assert done.code == 0, done.err
    (item,) = done.document["pictures"]
    assert item["explanations"][0]["target"] == told
    assert item["predictions"] == []


def test_a_file_without_classes_says_what_to_write(xplain, place):
    done = xplain("explain", "segmenter.onnx", "pic.png", "--out", "out")
    assert done.code != 0
    assert "--target region:best" in done.err
    seen = xplain("inspect", "--json", "yolo_v8.onnx").document["head"]
    assert seen["kind"] == "boxes"
    assert seen["targets"] == ["box:best", "box:0"]


def test_a_plan_counts_the_look_that_a_word_needs(xplain, place):
    done = xplain("explain", "--json", "yolo_v8.onnx", "pic.png", "-m", "occlusion", "--patch", 4, "--stride", 4,
               "--target", "box:dog", "--dry-run")  # fmt: skip
    assert done.code == 0, done.err
    assert done.document["queries"] == 18  # 16 windows, the look, the value
