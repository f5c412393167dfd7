"""The advice of messages about several inputs, followed; see ``docs.advice_targets``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from docs.advice_targets import followed

import xplain
from tests.targets.heads import FLOAT, HEADS, made, node, picture

__all__ = ["JOINT"]

X = picture(a5=(1, 2.0)) + 0.1
BOTH = ["left", "right"]
IDS = np.array([[1, 2, 3, 0]])


def pair(method: str = "saliency", times: float = 2.0, **options: Any) -> Any:
    model = xplain.joint(HEADS["siamese"]().SerializeToString(), BOTH)
    return xplain.explain(model, (X, X * times), method, **options)


def captioned(second: Any) -> Any:
    file = HEADS["picture_and_text"]().SerializeToString()
    model = xplain.joint(file, ["pixel_values", "input_ids"], card="unit")
    return xplain.explain(model, (np.full((16, 16, 3), 99, np.uint8), second), "saliency")


def numbers(count: int, **options: Any) -> Any:
    """Two rows of numbers, of free size where ``count`` is 0."""
    nodes = [node("Add", "a b", "sum"), node("ReduceSum", "sum", "scores", keepdims=1)]
    inputs = tuple((name, FLOAT, ["N", count or "free"]) for name in "ab")
    file = made(nodes, [("scores", FLOAT, ["N", 1])], inputs=inputs).SerializeToString()
    return xplain.joint(file, ["a", "b"], **options)


def compiled(**options: Any) -> Any:
    file = HEADS["siamese"]().SerializeToString()
    model = xplain.load(file, **options) if options else xplain.joint(file, BOTH)
    return xplain.compile(model, "saliency", target=0)


def module(kind: str, **options: Any) -> Any:
    import torch

    class Both(torch.nn.Module):
        def forward(self, picture: Any, other: Any) -> Any:
            return picture.flatten(1)[:, :4] + (other[:, None] if other.ndim == 1 else other).float()

    other = {"words": IDS, "flat": np.ones(1, np.float32), "none": IDS[:0], "rows": np.ones((1, 4), np.float32)}[kind]
    names = ["picture", "other"]
    return xplain.joint(Both().eval(), names, **{"example": (X, other), **options})


TABLE: dict[str, tuple[Callable[[], Any], tuple[Callable[[], Any], ...]]] = {
    "takes pictures; leave card": (lambda: numbers(3, card="unit"), (lambda: numbers(3),)),
    "Use one that hides features of all of them": (
        lambda: pair("rise"),
        (lambda: pair("kernel-shap"), lambda: pair("lime"), lambda: pair("ablation"), lambda: pair("ig")),
    ),
    "cut one input, and an item is a row of {}. Use": (
        lambda: pair("kernel-shap", features="grid:4"),
        (lambda: pair("kernel-shap", features="inputs:cells=4"),),
    ),
    "holds NaN or infinity. Explanations need finite inputs: mend them.": (
        lambda: pair("saliency", times=np.nan),
        (lambda: pair("saliency"),),
    ),
    "columns are named: {}. Give as many as it takes.": (
        lambda: numbers(3, columns={"a": ["age", "rooms"]}),
        (lambda: numbers(3, columns={"a": ["age", "rooms", "size"]}),),
    ),
    "of no fixed size behind the batch, which joining needs": (
        lambda: numbers(0),
        (lambda: numbers(0, example={"a": np.ones((1, 3)), "b": np.ones((1, 3))}),),
    ),
    "does not say what its inputs are like. Give items of each": (
        lambda: module("rows", example=None),
        (lambda: module("rows"),),
    ),
    "give at least one item, [1, ...].": (lambda: module("none"), (lambda: module("rows"),)),
    "a number per item; give it an axis: [N, 1].": (lambda: module("flat"), (lambda: module("rows"),)),
    "no pictures; give an array.": (
        lambda: captioned(np.zeros((4, 4, 3), np.uint8)),
        (lambda: captioned(IDS),),
    ),
    "is explained on several inputs at once, which is not compiled": (
        compiled,
        (lambda: compiled(input="left", fixed={"right": X}),),
    ),
}


JOINT = {fragment: partial(followed, wrong, right) for fragment, (wrong, right) in TABLE.items()}
