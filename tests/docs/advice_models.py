"""What is asked where advice is followed: models, items, caches and pictures that get one message each."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from made import attribution
from onnx import ModelProto, TensorProto, helper, numpy_helper

import xplain
from xplain.core.edits import Ranked, Untouched, Windows
from xplain.core.positions.layout import Layout
from xplain.core.query import Score

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)).astype(np.float32)
ROWS = RNG.normal(size=(5, 4)).astype(np.float32)
SERIES = RNG.normal(size=(1, 1, 8)).astype(np.float32)
PICTURES = RNG.random((2, 3, 8, 8)).astype(np.float32)
SIZES = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
LABELS = {"labels": ["a", "b", "a"]}
FLAT = Layout("NCHW", (4, 1, 1))
FLOAT, INT64, N = TensorProto.FLOAT, TensorProto.INT64, helper.make_node


def linear(rows: Any) -> Any:
    return np.asarray(rows, np.float32).reshape(len(rows), -1)[:, :4] @ W


def brightness(batch: Any) -> Any:
    mean = np.asarray(batch).reshape(len(batch), -1).mean(1)
    return np.stack([mean, -mean], 1)


def masked(rows: Any) -> Any:
    """The last class is masked for some rows only."""
    return np.where([[0, 0, 1]], np.inf, linear(rows))


def squares(rows: Any) -> Any:
    """Not additive: every score is a product of columns."""
    x = np.asarray(rows, np.float32)
    return np.stack([x[:, 0] * x[:, 1] * x[:, 2], x[:, 3] * x[:, 1]], 1)


def graph(*nodes: Any, out: tuple[int, Sequence[Any]] = (FLOAT, ["n", 3]), **weights: Any) -> ModelProto:
    """A graph from ``x [n, 4]`` to ``y``, ``x @ w`` where no nodes are given."""
    made = helper.make_graph(
        list(nodes) or [N("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", *out)],
        [numpy_helper.from_array(array, name) for name, array in {"w": W, **weights}.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def deep() -> ModelProto:
    """A net with two layers to name, ``h`` and ``z``."""
    return graph(N("Mul", ["x", "x"], ["h"]), N("MatMul", ["h", "w"], ["z"]), N("Tanh", ["z"], ["y"]))


def deciding() -> ModelProto:
    """A model that gives a label alone."""
    nodes = N("MatMul", ["x", "w"], ["z"]), N("ArgMax", ["z"], ["y"], axis=1, keepdims=0)
    return graph(*nodes, out=(INT64, ["n"]))


def unfolding() -> ModelProto:
    """A constant that unfolds to 4 MB."""
    nodes = N("ConstantOfShape", ["s"], ["big"]), N("ReduceMax", ["big"], ["top"], keepdims=0)
    return graph(*nodes, N("MatMul", ["x", "w"], ["z"]), N("Add", ["z", "top"], ["y"]), s=np.array([1000, 1000]))


def convolution(*head: Any) -> Any:
    import torch

    torch.manual_seed(0)
    tail = head or (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3))
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), *tail).eval()


def curved() -> Any:
    """A net whose head is no average of maps."""
    import torch

    return convolution(torch.nn.Flatten(), torch.nn.Linear(256, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))


def past() -> Any:
    """A net with a way past its layer ``1``."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.skip, self.end = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.end(self.body(x).tanh() + self.skip(x).tanh())

    torch.manual_seed(0)
    return Net().eval()


def from_there_on(layer: str) -> Any:
    """What a net's scores are from a layer on."""
    model = xplain.load(past())
    model.answer(Score(ROWS, Untouched(), xplain.label(0)))
    return model.answer(Score(np.ones((1, 4), np.float32), Untouched(), xplain.label(0), at=layer))


def saved(folder: Path, **options: Any) -> Path:
    onnx.save(graph(), folder / "m.onnx", save_as_external_data=True, size_threshold=0, **options)
    return folder / "m.onnx"


def occlusion(model: Any = linear, x: Any = ROWS, **options: Any) -> Any:
    return xplain.explain(model, x, "occlusion", **options)


def frame(**columns: Any) -> dict[str, Any]:
    return {name: np.asarray(values) for name, values in columns.items()}


def database(folder: Path, *words: str) -> Path:
    """A cache that was meddled with."""
    folder.mkdir(exist_ok=True)
    place = folder / "c"
    occlusion(xplain.load(linear, version="1"), target=0, cache=place)
    (file,) = place.glob("*.sqlite") if any(place.glob("*.sqlite")) else place.iterdir()
    with sqlite3.connect(file) as lines:
        for word in words:
            lines.execute(word)
    return place


def cached(place: Path) -> Any:
    return occlusion(xplain.load(linear, version="1"), target=0, cache=place)


def broken(folder: Path) -> Any:
    """A cache whose file is a folder."""
    (file,) = database(folder / "made").iterdir()
    (folder / "c" / file.name).mkdir(parents=True)
    return cached(folder / "c")


def hidden(layout: Layout | None) -> Any:
    x, patch = PICTURES[:1, :, :5], Windows(np.int32([[0, 0, 2, 2]]), np.zeros((1, 1, 1, 1), np.float32))
    return xplain.load(brightness).answer(Score(x, patch, xplain.label(0), layout=layout))


def table(rows: Any) -> Any:
    return np.stack([np.asarray(rows[name], np.float64) for name in "abcd"], 1) @ W


def columns() -> dict[str, list[float]]:
    return {name: [1.0, 2.0] for name in "abcd"}


def seen_table() -> Any:
    """A table whose columns are known to hold numbers."""
    return xplain.table(table, columns=columns())


def words(texts: Any) -> Any:
    return np.stack([[text.count("good"), text.count("bad")] for text in texts]).astype(np.float32)


TEXT = ["a good film. a bad end."]


def ranked() -> Ranked:
    return Ranked(np.zeros((1, 1), np.int32), np.array([0, 1]), np.zeros((1, 1, 1, 1), np.float32))


def unit(word: str) -> Any:
    return attribution(PICTURES[:1, 0], unit=word)


def picture(folder: Path) -> Path:
    from PIL import Image

    place = folder / "one.png"
    Image.fromarray((PICTURES[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(place)
    return place
