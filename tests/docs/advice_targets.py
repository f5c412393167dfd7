"""The advice of messages about targets, followed: a piece of a message, the call that gets it, what it advises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import xplain
from tests.targets.heads import FLOAT, HEADS, const, made, node, picture
from xplain.targets import Region, Similar, input, iou, output, similarity  # noqa: A004

__all__ = ["TARGETS", "followed"]

X = picture(a5=(1, 2.0), a10=(2, 1.5))
LOADED: dict[str, Any] = {}


def net(name: str) -> Any:
    if name not in LOADED:
        options = {"layout": "NTC"} if name == "forecaster" else {}
        LOADED[name] = xplain.load(HEADS[name]().SerializeToString(), **options)
    return LOADED[name]


def ask(name: str, target: Any, x: Any = X, method: str = "saliency") -> Any:
    return xplain.explain_many(net(name), x, method, target=target)


def labels(link: str) -> Any:
    nodes = [node("GlobalAveragePool", "x", "m"), node("Flatten", "m", "z")]
    nodes.append(node(link, "z", "scores") if link else node("Identity", "z", "scores"))
    return xplain.load(made(nodes, [("scores", FLOAT, ["N", 3])]).SerializeToString())


def above(link: str, least: str) -> Any:
    return xplain.explain_many(labels(link), X, "saliency", target=least)


def one_box(target: str) -> Any:
    """Boxes that are boxes in any format."""
    nodes = [
        node("GlobalAveragePool", "x", "m"),
        node("Reshape", "m by", "scores"),
        node("Mul", "scores none", "nothing"),
        node("Pad", "nothing pads", "zeros"),
        node("Add", "zeros box", "boxes"),
    ]
    constants = {
        "by": np.array([-1, 1, 3]),
        "none": np.float32(0),
        "pads": np.array([0, 0, 0, 0, 0, 1]),
        "box": np.array([[[0.4, 0.4, 0.5, 0.5]]], np.float32),
    }
    outputs = [("boxes", FLOAT, ["N", 1, 4]), ("scores", FLOAT, ["N", 1, 3])]
    model = made(nodes, outputs, [const(name, value) for name, value in constants.items()])
    return xplain.explain(xplain.load(model.SerializeToString(), output="scores"), X, "saliency", target=target)


def pair(*items: Any) -> Any:
    model = xplain.joint(HEADS["siamese"]().SerializeToString(), ["left", "right"])
    return xplain.explain(model, items[0] if len(items) == 1 else items, "saliency")


def own() -> Any:
    return np.asarray(xplain.predict(net("embedder"), X))[0]


def function_of_maps(target: Any) -> Any:
    return xplain.explain(lambda x: np.asarray(x)[:, :, :2, :2], X, "occlusion", target=target, patch=4, stride=4)


SERIES = np.ones((1, 12, 2), np.float32)
TABLE: dict[str, tuple[Callable[[], Any], tuple[Callable[[], Any], ...]]] = {
    "does not say how its scores become probabilities, so none is known to be above": (
        lambda: above("", "above:0.5"),
        (lambda: above("", "top3"), lambda: above("", "1")),
    ),
    "No label is above {}; the best is": (
        lambda: above("Sigmoid", "above:0.99"),
        (lambda: above("Sigmoid", "above:0.45"),),
    ),
    "Nothing says what the four numbers of a box are": (
        lambda: one_box("box:best"),
        (lambda: one_box("box:best,format=xyxy"),),
    ),
    "was asked for, and boxes that do not overlap are": (
        lambda: ask("end_to_end", "box:1#2"),
        (lambda: ask("end_to_end", "box:best"),),
    ),
    "is found in item {}. Explain what is": (
        lambda: ask("end_to_end", "box:0", picture(**{f"a{k}": (1, 1.0) for k in range(16)})),
        (lambda: ask("end_to_end", "box:best"),),
    ),
    "but what it is laid over is": (
        lambda: ask("segmenter", output("mask")[1].mean(where=np.ones((5, 5)))),
        (lambda: ask("segmenter", output("mask")[1].mean(where=np.ones((16, 16)))),),
    ),
    "so it has no region there; predicted are": (
        lambda: ask("segmenter", "region:1", picture(a5=(0, 1.0))),
        (lambda: ask("segmenter", "mask[1]"), lambda: ask("segmenter", "region:best")),
    ),
    "The mask says nowhere: all of it is 0": (
        lambda: ask("segmenter", Region(1, np.zeros((16, 16)))),
        (lambda: ask("segmenter", Region(1, np.eye(16))),),
    ),
    "The reference is all 0, which has no direction": (
        lambda: ask("embedder", Similar(np.zeros(6))),
        (lambda: ask("embedder", Similar(np.ones(6))),),
    ),
    "is compared with itself: its similarity cannot be larger": (
        lambda: ask("embedder", Similar(own())),
        (lambda: xplain.explain(net("embedder"), X, "occlusion", target=Similar(own()), patch=4, stride=4),),
    ),
    "words are given for {} places; give one for each at most": (
        lambda: ask("captioner", "words:0,1,2,3"),
        (lambda: ask("captioner", "words:0,1,2"),),
    ),
    "numbers; say which: ": (
        lambda: ask("forecaster", "horizon:2", SERIES),
        (lambda: ask("forecaster", "horizon:2,quantile:1", SERIES),),
    ),
    "has no classes, so it decides nothing by itself": (
        lambda: xplain.explain(net("segmenter"), X, "sufficient", target="mask[1]", features="grid:2"),
        (lambda: xplain.explain(net("segmenter"), X, "sufficient", target="mask[1]", features="grid:2", above=0.5),),
    ),
    "The mask is {}, but the maps of": (
        lambda: ask("segmenter", Region(1, np.ones((5, 5)))),
        (lambda: ask("segmenter", Region(1, np.ones((16, 16)))),),
    ),
    "numbers. Give one of that shape, or another item": (
        lambda: ask("embedder", Similar(np.ones(5))),
        (lambda: ask("embedder", Similar(np.ones(6))),),
    ),
    "{} is {}; give a whole number.": (lambda: ask("captioner", "horizon:soon"), (lambda: ask("captioner", "next:1"),)),
    "closest ones; give at least 1.": (
        lambda: above("Softmax", "finer:1,closest=0"),
        (lambda: above("Softmax", "finer:1,closest=1"),),
    ),
    "closest classes' mean a share of {} is taken off": (
        lambda: above("Softmax", "finer:1,share=-1"),
        (lambda: above("Softmax", "finer:1,share=0"), lambda: above("Softmax", "finer:1,share=1")),
    ),
    "Boxes are counted from 1, the surest first": (
        lambda: ask("yolo_v8", "box:best#0"),
        (lambda: ask("yolo_v8", "box:best#1"),),
    ),
    "boxes are none; give at least 1.": (lambda: ask("yolo_v8", "boxes:0"), (lambda: ask("yolo_v8", "boxes:1"),)),
    "{} is {}; give a number.": (lambda: above("Softmax", "above:half"), (lambda: above("Softmax", "above:0.1"),)),
    "A reference is all 0, which has no direction": (
        lambda: similarity(output("embedding"), np.zeros(6)),
        (lambda: similarity(output("embedding"), np.ones(6)),),
    ),
    "A box is {}; give four numbers.": (
        lambda: iou(output("boxes")[0], [1, 2], "xyxy"),
        (lambda: iou(output("boxes")[0], [1, 2, 3, 4], "xyxy"),),
    ),
    "A mask holds negative numbers": (
        lambda: output("mask")[0].mean(where=-np.ones(3)),
        (lambda: output("mask")[0].mean(where=[0, 1, 0.5]),),
    ),
    "A mask is one number": (lambda: input().mean(where=1), (lambda: input().mean(where=[1]),)),
    "A mask says nowhere: all of it is 0": (
        lambda: output("mask")[0].mean(where=np.zeros(3)),
        (lambda: output("mask")[0].mean(where=[0, 1]),),
    ),
    "{} is {}; give an array of numbers.": (
        lambda: output("mask")[0].mean(where="road"),
        (lambda: output("mask")[0].mean(where=np.ones(3)),),
    ),
    "; give as many of each.": (lambda: pair(X, np.concatenate([X, X])), (lambda: pair(X, X + 0.1),)),
    "Items lack input {}; give all of": (lambda: pair({"left": X}), (lambda: pair({"left": X, "right": X + 0.1}),)),
    "Give them as a tuple in this order, or by name.": (lambda: pair(X), (lambda: pair(X, X + 0.1),)),
    "this target is chosen by what else it gives. Name a class, or a place": (
        lambda: xplain.explain(lambda x: np.asarray(x).mean((2, 3)), X, "occlusion", target="similar:x.png"),
        (lambda: function_of_maps("scores[0]"),),
    ),
}


def followed(wrong: Callable[[], Any], right: tuple[Callable[[], Any], ...], told: Any, _folder: Path) -> None:
    """A call gets the message, and the others do what it advises."""
    told(wrong)
    for call in right:
        call()


TARGETS = {fragment: partial(followed, wrong, right) for fragment, (wrong, right) in TABLE.items()}
