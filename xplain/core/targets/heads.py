"""What kind of head a model ends in, said once: from its outputs' shapes and names, and what its graph showed.

| kind | outputs | what is proposed |
|---|---|---|
| ``classes`` | ``[N, K]`` | a class |
| ``regression`` | ``[N, 1]``, no link | nothing: the one number |
| ``embedding`` | ``[N, D]``, called so | ``similar:other.jpg`` |
| ``map`` | ``[N, C, H, W]`` of a picture | ``region:best``, ``border:2`` |
| ``points`` | the same, called heat maps | ``point:0`` |
| ``picture`` | as the item itself | ``anomaly`` |
| ``boxes`` | rows of boxes and scores, joined or apart | ``box:best``, ``box:1`` |
| ``sequence`` | ``[N, T, V]`` | ``next``, ``words:3,1,4`` |
| ``forecast`` | ``[N, H, Q]`` of a series, or called so | ``horizon:0`` |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from xplain.core.outline import Outline
from xplain.core.targets.boxes import Boxes
from xplain.core.targets.parts import Part

__all__ = ["Head", "HeadKind", "head_of", "words_in"]

HeadKind: TypeAlias = Literal[
    "classes", "regression", "embedding", "map", "points", "picture", "boxes", "sequence", "forecast", "unknown"
]

_SMALLEST = 4
"""Rows below which a tensor of rows and columns is not taken for boxes."""
_BOX = 4


@dataclass(frozen=True, slots=True)
class Head:
    """What a model ends in.

    Args:
        kind: See the table above.
        tensor: The tensor that it is about; of boxes, the scores.
        shape: Its shape, as far as it is known.
        why: One sentence on how that is known.
        proposals: Targets to write, the likeliest first.
        boxes: How boxes are read.
    """

    kind: HeadKind
    tensor: str
    shape: tuple[int | None, ...] = ()
    why: str = ""
    proposals: tuple[str, ...] = ()
    boxes: Boxes | None = field(default=None)


def words_in(name: str) -> frozenset[str]:
    """The words in a tensor's name, in small letters and without a plural's s."""
    parts = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return frozenset(part.removesuffix("s") if len(part) > 3 else part for part in parts)


_EMBEDDING = {"embedding", "embed", "feature", "descriptor", "representation", "pooled"}
_POINTS = {"heatmap", "keypoint", "heat", "joint", "landmark"}
_FORECAST = {"forecast", "horizon", "quantile"}
_PICTURE = {"reconstruction", "recon", "reconstructed", "decoded", "denoised"}
_BOXES = {"boxe", "box", "bbox", "bboxe", "dets", "loc"}
_ROWS = {"output", "prediction", "pred", "detection", "det", "yolo"}
_WORDS = {"logit", "token", "vocab", "lm"}


def head_of(outline: Outline) -> Head:
    """What a model ends in, as far as it shows."""
    found = _boxes(outline)
    if found is not None:
        tensor = found.scores.tensor
        return Head("boxes", tensor, _shape(outline, tensor), found.why, ("box:best", "box:0"), found)
    tensor = outline.scores.tensor
    shape = _shape(outline, tensor)
    names = words_in(tensor).union(*(words_in(one) for one in outline.outputs))
    if outline.scores.classes is not None or len(_wide(shape)) <= 1:
        return _flat(outline, tensor, shape, names)
    item = () if outline.explained is None else outline.explained.shape
    what = f"{tensor!r} is {_told(shape)}"
    if names & _PICTURE or (
        len(shape) == len(item) > 2 and shape[1:] == item[1:] and not names & _POINTS and _same(outline)
    ):
        return Head("picture", tensor, shape, f"{what}, as the item is", ("anomaly", f"{tensor}[0]"))
    if len(shape) == 4 and _of_pictures(outline):
        if names & _POINTS:
            return Head("points", tensor, shape, f"{what}, a heat map for each point", ("point:0", f"{tensor}[0]"))
        middle = ", ".join(str((n or 2) // 2) for n in shape[2:])
        maps = ("region:best", "border:best", f"{tensor}[0]", f"{tensor}[0, {middle}]")
        return Head("map", tensor, shape, f"{what}, a map for each class", maps)
    if len(shape) == 3:
        if names & _FORECAST:
            several = shape[2] != 1
            said = ("horizon:0,quantile:0", f"{tensor}[0, 0]") if several else ("horizon:0", f"{tensor}[0, 0]")
            return Head("forecast", tensor, shape, f"{what}: times ahead, and the numbers of each", said)
        if names & _WORDS:
            return Head("sequence", tensor, shape, f"{what}: places, and the words at each", ("next", "words:0,1"))
    place = ", ".join("0" for _ in shape[1:])
    return Head("unknown", tensor, shape, what, (f"{tensor}[{place}]", f"{tensor}[0]"))


def _flat(outline: Outline, tensor: str, shape: tuple[int | None, ...], names: frozenset[str]) -> Head:
    spec = outline.scores
    last = next((layer.op for layer in outline.layers if layer.name == tensor), "")
    if spec.link == "none" and not outline.labels and (names & _EMBEDDING or last == "LpNormalization"):
        why = f"{tensor!r} is made of length 1" if last == "LpNormalization" else f"{tensor!r} is called so"
        return Head("embedding", tensor, shape, why, ("similar:OTHER.jpg", f"{tensor}[0]"))
    if spec.link == "none" and names & _FORECAST:
        return Head("forecast", tensor, shape, f"{tensor!r} is called so", ("horizon:0",))
    if spec.classes == 1 and spec.link == "none":
        return Head("regression", tensor, shape, f"{tensor!r} is one number", ("0",))
    return Head("classes", tensor, shape, spec.found, ("0", "top3", "margin"))


def _of_pictures(outline: Outline) -> bool:
    """Whether items are pictures, or may be."""
    if outline.named is not None:
        return outline.named.letters in ("NCHW", "NHWC")
    return outline.explained is not None and len(outline.explained.shape) == 4


def _same(outline: Outline) -> bool:
    """Whether an output as large as the item is more likely it than a map of as many classes as it has channels."""
    return any(words_in(name) & _PICTURE for name in outline.outputs)


def _shape(outline: Outline, tensor: str) -> tuple[int | None, ...]:
    own = next((layer.shape for layer in outline.layers if layer.name == tensor), ())
    return own or outline.shapes.get(tensor, ())


def _wide(shape: Sequence[int | None]) -> list[int | None]:
    return [extent for extent in shape[1:] if extent != 1]


def _told(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


# ---------------------------------------------------------------------- boxes


def _boxes(outline: Outline) -> Boxes | None:
    """How boxes are read; None for a model that shows none."""
    if outline.detects is not None:
        return outline.detects
    shapes = {name: _shape(outline, name) for name in outline.outputs}
    shapes = {name: shape for name, shape in shapes.items() if len(shape) == 3}
    return _apart(outline, shapes) or _joined(outline, shapes)


def _apart(outline: Outline, shapes: Mapping[str, tuple[int | None, ...]]) -> Boxes | None:
    """Boxes ``[N, M, 4]`` beside scores ``[N, M, C]`` or ``[N, C, M]``."""
    for boxes in (name for name, shape in shapes.items() if shape[2] == _BOX and words_in(name) & _BOXES):
        rows = shapes[boxes][1]
        for name, shape in shapes.items():
            if name == boxes or rows is None or rows not in shape[1:]:
                continue
            spec = outline.scores
            tensor = name if spec.tensor in shapes or _shape(outline, spec.tensor) != shape else spec.tensor
            logits = tensor != name or words_in(name) & {"logit"}
            unit = "pred" in words_in(boxes)  # DETR and what follows it
            link: Literal["softmax", "sigmoid", "none"] = "none"
            if logits:
                link = "sigmoid" if spec.tensor == tensor and spec.link == "sigmoid" else "softmax"
            classes = shape[2] if shape[1] == rows else shape[1]
            more = 0 if classes is None or not outline.labels else max(0, classes - len(outline.labels))
            if unit and outline.labels and not more:
                link = "sigmoid"  # as many classes as labels: none is for "no object", as of RT-DETR
            why = f"{boxes!r} are {_told(shapes[boxes])} beside {name!r} {_told(shape)}"
            why += ", centre and size as of DETR" if unit else ""
            return Boxes(
                Part(boxes), Part(tensor, (), shape[1] != rows), format="cxcywh" if unit else "", link=link,
                before=0 if unit else more, behind=more if unit else 0, spare=not outline.labels and link == "softmax",
                why=why,
            )  # fmt: skip
    return None


def _joined(outline: Outline, shapes: Mapping[str, tuple[int | None, ...]]) -> Boxes | None:
    """Rows of a box, an objectness and scores in one tensor, as YOLO's: rows or columns, by which are more."""
    pictured = _of_pictures(outline)
    for name, (_, a, b) in shapes.items():
        if not pictured or a is None or b is None or not words_in(name) & _ROWS or words_in(name) & _WORDS:
            continue
        told = f"{name!r} is {_told(shapes[name])}: "
        if b == _BOX + 2 and a < 2000:
            why = told + "corners, a confidence and a class to a row, as of a detector that ends with its best rows"
            return Boxes(
                Part(name, ((None, None), (0, 4))), Part(name, ((None, None), (4, 5))),
                kinds=Part(name, ((None, None), 5)), format="xyxy", why=why,
            )  # fmt: skip
        if a > b > _BOX + 1:
            why = told + "centre and size, objectness, then classes to a row, as of YOLO v5"
            return Boxes(
                Part(name, ((None, None), (0, 4))), Part(name, ((None, None), (5, None))),
                objectness=Part(name, ((None, None), 4)), format="cxcywh", why=why,
            )  # fmt: skip
        if b > a > _BOX:
            why = told + "centre and size, then classes to a column, as of YOLO v8"
            return Boxes(Part(name, ((0, 4),), True), Part(name, ((4, None),), True), format="cxcywh", why=why)
    return None
