"""The files that a page's reader has: a model, pictures, rows, texts, as small as they can be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.test_rows import people, tokens
from cli.tiny import write_model, write_picture
from doors.test_tokens import tokenizer
from onnx import helper, numpy_helper
from PIL import Image

__all__ = ["people", "place", "tokenizer", "tokens"]  # fixtures


def _table(request: pytest.FixtureRequest, folder: Path) -> None:
    (request.getfixturevalue("people") / "people.onnx").rename(folder / "churn.onnx")


def _text(request: pytest.FixtureRequest, folder: Path) -> None:
    model, _, words = request.getfixturevalue("tokens")
    model.rename(folder / "sentiment.onnx")
    shutil.copy(words, folder / "tokenizer.json")


def _vision(_: pytest.FixtureRequest, folder: Path) -> None:
    (folder / "labels.txt").write_text("tabby\ndog\nother\n")
    model = write_model(folder / "model.onnx", card=False)
    _with_a_convolution(model)
    model.with_suffix(".card.toml").write_text('resize = [16, 16]\nlabels = ["tabby", "dog", "other"]\n')
    for below, name in (("photos", "a.png"), ("labelled/tabby", "b.png"), (".", "cat.jpg"), (".", "dog.jpg")):
        (folder / below).mkdir(parents=True, exist_ok=True)
        write_picture(folder / below / name, bright=name != "dog.jpg")
    _with_a_corner(folder / "dog.jpg")


def _with_a_corner(picture: Path) -> None:
    """A dark picture stays dark where the model looks, and has two colours: a style of one has no statistics."""
    with Image.open(picture) as drawn:
        pixels = np.array(drawn)
    pixels[-3:, :3] = 160
    Image.fromarray(pixels).save(picture)


def _with_a_convolution(model: Path) -> None:
    """The tiny model answers the same, but its picture passes a convolution and a rectifier first, as in a real one."""
    proto = onnx.load(model)
    identity = numpy_helper.from_array(np.eye(3, dtype=np.float32)[:, :, None, None], "kernel")
    proto.graph.initializer.append(identity)
    proto.graph.node[0].input[0] = "features"
    proto.graph.node.insert(0, helper.make_node("Relu", ["filtered"], ["features"]))
    proto.graph.node.insert(0, helper.make_node("Conv", ["picture", "kernel"], ["filtered"]))
    onnx.save(proto, model)


_FILES = {
    ("churn.onnx", "rows.csv"): _table,
    ("sentiment.onnx", "tokenizer.json"): _text,
    ("model.onnx", "photos", "labelled", "cat.jpg", "dog.jpg", "labels.txt"): _vision,
}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes the reader's folder, with those of the files that a text speaks of, and goes there."""

    def made(text: str) -> Path:
        for names, make in _FILES.items():
            if any(name in text for name in names):
                make(request, tmp_path)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return made
