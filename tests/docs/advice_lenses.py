"""Advice of lenses' messages, followed: of layers, their positions, kernels and fields; see ``advice_table``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from docs.advice_models import ROWS, convolution, linear
from docs.advice_spaces import ITEMS
from docs.advice_table import Case
from onnx import helper
from PIL import Image

import xplain
from tests.nets import FLOAT, cnn, model
from xplain.core.errors import XplainError
from xplain.graph.build.outputs import also_outputs

__all__ = ["LENSES"]

N = helper.make_node


def warned(found: Any) -> Any:
    """What a result warns of, raised; the result itself where it warns of nothing.

    Raises:
        XplainError: with the warnings.
    """
    said = " ".join(str(one.text) for one in found.warnings)
    if said:
        raise XplainError(said)
    return found


def compared(count: int) -> Any:
    items = np.random.default_rng(5).random((count, 3, 8, 8)).astype(np.float32)
    return warned(xplain.see(convolution(), "compare", items, draws=3))


def ended(*nodes: Any, last: str, **weights: Any) -> Any:
    """A net of pictures 8 x 8 whose scores are a mean over what the nodes make of their axes but the first."""
    rest = [N("Flatten", [last], ["flat"]), N("MatMul", ["flat", "w"], ["y"])]
    size = weights.pop("size")
    w = np.random.default_rng(1).normal(size=(size, 3)).astype(np.float32)
    return xplain.load(
        model([*nodes, *rest], {"x": (FLOAT, ["N", 3, 8, 8])}, {"y": (FLOAT, ["N", 3])}, {"w": w, **weights})
    )


def sorted_rows() -> Any:
    """Colours sorted along the width, so that nobody knows where they were, and a convolution beside it."""
    kernel = np.random.default_rng(2).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        N("Conv", ["x", "k"], ["conv"], pads=[1, 1, 1, 1]),
        N("TopK", ["conv", "four"], ["sorted", "places"], axis=3),
        N("Relu", ["sorted"], ["fired"]),
    ]
    return ended(*nodes, last="fired", size=4 * 8 * 4, k=kernel, four=np.array([4]))


def headed() -> Any:
    """Tokens of pictures whose numbers lie on two axes, heads and width."""
    kernel = np.random.default_rng(2).normal(size=(8, 3, 2, 2)).astype(np.float32)
    nodes = [
        N("Conv", ["x", "k"], ["maps"], strides=[2, 2]),
        N("Reshape", ["maps", "rows"], ["columns"]),
        N("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        N("Relu", ["tokens"], ["fired"]),
        N("Reshape", ["fired", "heads"], ["split"]),
        N("Tanh", ["split"], ["bent"]),
    ]
    shapes = {"rows": np.array([0, 8, 16]), "heads": np.array([0, 16, 2, 4])}
    return ended(*nodes, last="bent", size=128, k=kernel, **shapes)


def embedded(net: Any, layer: str, positions: str | None = None) -> Any:
    return xplain.see(net, "embed", ITEMS, layer=layer, positions=positions)


def dissected(folder: Path, *names: str, **more: Any) -> Any:
    for k, name in enumerate(names):
        (folder / "all" / name).mkdir(parents=True, exist_ok=True)
        for n in range(3):
            picture = (ITEMS[n].transpose(1, 2, 0) * (90 + 90 * k)).astype(np.uint8)
            Image.fromarray(picture).save(folder / "all" / name / f"{n}.png")
    return xplain.see(convolution(), "dissect", str(folder / "all"), layer="1", card="unit", **more)


def free_size() -> Any:
    made = cnn()
    for dim in list(made.graph.input[0].type.tensor_type.shape.dim)[2:]:
        dim.dim_param = "any"
    del made.graph.value_info[:]
    return xplain.load(made, card={"mode": "RGB"})


def turned(**options: Any) -> Any:
    """A picture, and the same upside down and mirrored: their mean colour is one."""
    one = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return xplain.see(convolution(), "neighbours", [one, one[::-1], one[:, ::-1]], k=1, card="unit", **options)


def filters(layer: str) -> Any:
    return xplain.see(xplain.load(cnn()), "filters", layer=layer)


def kernel_layer() -> Any:
    """A layer that the message itself names.

    Raises:
        AssertionError: it names none.
    """
    try:
        filters("relu1")
    except XplainError as error:
        return filters(re.findall(r"Layers that are: '([^']+)'", str(error))[0])
    raise AssertionError("a layer of no convolution has kernels")


def also(name: str) -> Any:
    return also_outputs(cnn(), {"layer": name})


LENSES = [
    Case(
        "{} items say little of two spaces: look at the intervals, or give more.",
        lambda _: compared(9),
        [lambda _: compared(50)],
    ),
    Case(
        ": an item has several numbers of each channel there, and {}. Say what becomes of them: positions='all'",
        lambda _: embedded(sorted_rows(), "fired"),
        [lambda _: embedded(sorted_rows(), "fired", "all"), lambda _: embedded(sorted_rows(), "conv", "mean")],
    ),
    Case(
        ": a token is several axes of numbers there. Give positions='all'.",
        lambda _: embedded(headed(), "bent", "token:0"),
        [lambda _: embedded(headed(), "bent", "all")],
    ),
    Case(
        "There is one folder of pictures, or none, so no concept to tell apart. Give pictures in a f",
        lambda folder: dissected(folder / "one", "red"),
        [
            lambda folder: dissected(folder / "two", "red", "blue"),
            lambda folder: dissected(folder / "one", "red", masks={"left": np.ones((3, 8, 8), bool)}),
        ],
    ),
    Case(
        "takes items of any size, so what a unit sees depends on it. Give one item.",
        lambda _: xplain.see(free_size(), "fields"),
        [lambda _: xplain.see(free_size(), "fields", np.zeros((1, 3, 16, 16), np.float32), pictures=1)],
    ),
    Case(
        "What the units of layer {} see could not be followed. Look at another layer=",
        lambda _: xplain.see(sorted_rows(), "fields", layer="fired"),
        [lambda _: xplain.see(sorted_rows(), "fields", layer="conv")],
    ),
    Case(
        "is made by no convolution, so it has no kernels. Layers that are: {}{}. Give one of these",
        lambda _: filters("relu1"),
        [lambda _: kernel_layer()],
    ),
    Case(
        "The compiled file has no tensor {}: it was rewritten on the way. Name another layer;",
        lambda _: also("no such layer"),
        [lambda _: also("relu1")],
    ),
    Case(
        "All items are equal at {} x {} pixels, so none is nearer than another by these.",
        lambda _: turned(pixels=1),
        [lambda _: turned(pixels=0), lambda _: turned(pixels=8)],
    ),
    Case(
        "shows no layer to look at. Use relative-output-stability",
        lambda _: stability("relative-representation-stability"),
        [lambda _: stability("relative-output-stability")],
    ),
    Case(
        "which axis are its channels is not known. Give layer= another, such as a convolution.",
        lambda _: xplain.explain(sorted_rows(), ITEMS[:1], "crp", layer="fired"),
        [lambda _: xplain.explain(sorted_rows(), ITEMS[:1], "crp", layer="conv")],
    ),
]


def stability(metric: str) -> Any:
    found = xplain.explain(linear, ROWS, "occlusion", target=0)
    return xplain.measure.judge(linear, ROWS, found, metric, target=0)
