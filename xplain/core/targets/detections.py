"""Boxes of a detector as targets: one of what it finds for the untouched items, held fast as a box, or as its row.

Where parts of items are hidden, rows move: what counts is the most alike of all that is then found, as in D-RISE,

    max_j IoU(b, b_j) cos(p, p_j) o_j        o_j: the row's objectness, or its largest probability where it has none

Where gradients are asked for it is the score of the row that was found, whatever that row's box becomes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.target import Target
from xplain.core.targets.boxes import Boxes
from xplain.core.targets.formulas import Formula
from xplain.core.targets.functions import FORMATS
from xplain.core.targets.parts import Part
from xplain.core.targets.target_parser import Aim
from xplain.core.targets.wish import At, Wish, called, element, formula, need

__all__ = ["Box", "Found"]

_SAME = 0.5
"""Overlap from which two rows are the same thing, when they are counted."""
_FITS = 0.99
"""Share of rows that must be boxes for a format to be one that they can be in."""


@dataclass(frozen=True, eq=False)
class Found:
    """A detector's rows for N items.

    Args:
        boxes: ``[N, M, 4]`` in the model's own format and unit.
        corners: The same as ``xyxy``.
        shares: Probabilities ``[N, M, C]`` of the classes that have labels.
        scores: What the model gives for all classes, ``[N, M, C']``.
        confidence: ``[N, M]``.
        format: The boxes' format.
    """

    boxes: Array
    corners: Array
    shares: Array
    scores: Array
    confidence: Array
    format: str


@dataclass(frozen=True)
class Box(Wish):
    """A box that the detector finds for the untouched item.

    Args:
        of: The class, a number or a name; None for whatever is found with most confidence.
        number: Which of several things of the class, the surest first; rows that overlap by more than half are one.
        format: ``xyxy``, ``xywh`` or ``cxcywh``; empty: what the model says, or what its numbers can only be.
        count: How many, from ``number`` on: a target for each.
    """

    of: int | str | None = None
    number: int = 0
    format: str = ""
    count: int = 1

    def __post_init__(self) -> None:
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (self.number, self.count))
        if not whole or self.number < 0 or self.count < 1:
            raise UsageError(
                f"A box is number {self.number!r}, and {self.count!r} of them; counted from 0, at least 1."
            )

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """Boxes and scores.

        Raises:
            UsageError: the model has none, or the format is none.
        """
        if self.format not in ("", *FORMATS):
            raise UsageError(option="format", got=self.format, accepted=", ".join(FORMATS))
        head = need(outline, ("boxes",), "box")
        assert head.boxes is not None
        return head.boxes.tensors

    def aims(self, at: At) -> list[Aim]:
        """A target for each box that is wanted."""
        assert at.head.boxes is not None
        way = settled(at.head.boxes, at)
        found = rows_of(way, at, self.format)
        picked = [self._picked(way, found, at, n) for n in range(len(at))]
        most = min(map(len, picked))
        if most <= self.number and self.count == 1:
            n = int(np.argmin([len(one) for one in picked]))
            raise UsageError(
                f"In item {n} number {self.number + 1} was asked for, and boxes that do not overlap are "
                f"{len(picked[n])}. What is there: ",
                option("target", "box:best"),
                ".",
            )
        last = min(most, self.number + self.count)
        return [Aim(self._target(way, found, [one[k] for one in picked], at)) for k in range(self.number, last)]

    def _picked(self, way: Boxes, found: Found, at: At, n: int) -> list[tuple[int, int]]:
        """Rows with their classes, the surest first, each another thing."""
        shares = found.shares[n] * (found.confidence[n][:, None] if way.objectness is not None else 1.0)
        kinds = _kinds(way, at)
        if self.of is None:
            classes = shares.argmax(axis=1) if kinds is None else kinds[n]
            sure = shares.max(axis=1)
        else:
            count = at_classes(way, found) if kinds is None else max(len(at.outline.labels), int(kinds.max()) + 1)
            k = at.outline.label_index(self.of, count)
            classes = np.full(len(shares), k)
            sure = shares[:, k] if kinds is None else np.where(kinds[n] == k, shares[:, 0], -1.0)
        chosen: list[tuple[int, int]] = []
        for row in np.argsort(-sure, kind="stable"):
            if sure[row] < 0 or len(chosen) >= self.number + self.count:
                break
            if all(_overlap(found.corners[n, row], found.corners[n, other]) <= _SAME for other, _ in chosen):
                chosen.append((int(row), int(classes[row])))
        if not chosen:
            raise UsageError(
                f"Nothing of class {self.of!r} is found in item {n}. Explain what is: ",
                option("target", "box:best"),
                ".",
            )
        return chosen

    def _target(self, way: Boxes, found: Found, rows: list[tuple[int, int]], at: At) -> Target:
        outline = at.outline
        names = []
        for n, (row, k) in enumerate(rows):
            share = found.shares[n, row, 0 if way.kinds is not None else k]
            sure = float(share * (found.confidence[n, row] if way.objectness is not None else 1.0))
            corners = ", ".join(f"{x:.4g}" for x in found.corners[n, row])
            label = outline.label_name(k) if k < len(outline.labels) else f"class {k}"
            names.append(f"{label} {sure:.2f} in box [{corners}]")
        if at.swept:
            return called(_row(way, at, rows), names)
        boxes = np.stack([found.boxes[n, row] for n, (row, _) in enumerate(rows)])
        if way.kinds is not None:
            kinds = np.array([float(k) for _, k in rows])
            parts = [way.boxes, way.scores, way.kinds]
            return formula("kept", parts, [boxes, kinds], words=(found.format,), names=tuple(names))
        wanted = np.stack([_shares(found.scores[n, row], way.link) for n, (row, _) in enumerate(rows)])
        objects = [way.objectness] if way.objectness is not None else []
        words = (found.format, way.link, str(way.before), str(way.behind))
        parts = [way.boxes, way.scores, *objects]
        return formula("detected", parts, [boxes, wanted], words=words, names=tuple(names))


def settled(way: Boxes, at: At) -> Boxes:
    """Which class stands for nothing, where no labels say: the first or the last, if most rows are it."""
    if not way.spare:
        return way
    best = way.scores.read(np.asarray(at.values[way.scores.tensor]), np).argmax(axis=2)
    last = way.scores.read(np.asarray(at.values[way.scores.tensor]), np).shape[2] - 1
    return replace(way, before=int((best == 0).mean() > 0.5), behind=int((best == last).mean() > 0.5), spare=False)


def at_classes(way: Boxes, found: Found) -> int:
    """How many classes a row has scores of."""
    return int(found.shares.shape[2])


def rows_of(way: Boxes, at: At, stated: str = "") -> Found:
    """A detector's rows, with boxes as corners and scores as probabilities.

    Args:
        way: How they are read.
        at: Their values.
        stated: The format, where a person says it.

    Raises:
        UsageError: nothing says which format the boxes are in.
    """
    boxes = way.boxes.read(np.asarray(at.values[way.boxes.tensor], np.float64), np)
    scores = way.scores.read(np.asarray(at.values[way.scores.tensor], np.float64), np)
    form = stated or way.format or _format(boxes)
    shares = _shares(scores, way.link)[..., way.before : scores.shape[2] - way.behind]
    confidence = shares.max(axis=2)
    if way.objectness is not None:
        confidence = way.objectness.read(np.asarray(at.values[way.objectness.tensor], np.float64), np)
    return Found(boxes, _corners(boxes, form), shares, scores, confidence, form)


def _kinds(way: Boxes, at: At) -> Array | None:
    if way.kinds is None:
        return None
    kinds = way.kinds.read(np.asarray(at.values[way.kinds.tensor], np.float64), np)
    return np.asarray(np.rint(kinds), dtype=np.int64)


def _format(boxes: Array) -> str:
    """The one format that the numbers can be in: nearly all rows have a size, and lie on one picture.

    Raises:
        UsageError: several fit equally.
    """
    fit = []
    for form in FORMATS:
        corners = _corners(boxes, form).reshape(-1, 4)
        sized = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        extent = max(1.0, float(np.quantile(boxes[..., :2], 0.99)) * 1.25)
        inside = (corners.min(axis=1) > -0.25 * extent) & (corners.max(axis=1) < 1.25 * extent)
        if (sized & inside).mean() >= _FITS:
            fit.append(form)
    if len(fit) == 1:
        return fit[0]
    raise UsageError(
        f"Nothing says what the four numbers of a box are, and {' and '.join(fit or FORMATS)} fit equally. State it: ",
        option("target", f"box:best,format={(fit or FORMATS)[0]}"),
        ".",
    )


def _corners(boxes: Array, form: str) -> Array:
    if form == "xyxy":
        return boxes
    first, size = boxes[..., :2], boxes[..., 2:]
    low = first if form == "xywh" else first - size / 2
    return np.concatenate([low, low + size], axis=-1)


def _shares(scores: Array, link: str) -> Array:
    if link == "softmax":
        grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
    return np.asarray(1.0 / (1.0 + np.exp(-scores))) if link == "sigmoid" else scores


def _overlap(a: Array, b: Array) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0.0) * max(high, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return float(both / union) if union > 0 else 0.0


def _row(way: Boxes, at: At, rows: list[tuple[int, int]]) -> Target:
    """The score of the rows that were found: a logit, or the logit of a probability; with an objectness, log(o p)."""

    def places(part: Part, column: int | None) -> list[tuple[int, ...]]:
        return [_place(part, at.values[part.tensor].shape, row, None if column is None else column) for row, _ in rows]

    scores = way.scores
    index = []
    for row, k in rows:
        column = 0 if way.kinds is not None else k + way.before
        index.append(_place(scores, at.values[scores.tensor].shape, row, column))
    score = element(scores.tensor, index)
    if way.objectness is not None:
        sure = element(way.objectness.tensor, places(way.objectness, None))
        return _function("log", score) + _function("log", sure)
    return score if way.link != "none" else _function("logit", score)


def _function(name: str, target: Target) -> Target:
    return Target(((1.0, Formula(name, (target.terms,))),))


def _place(part: Part, shape: tuple[int, ...], row: int, column: int | None) -> tuple[int, ...]:
    """Where a row's column stands in the tensor itself."""
    at = [row] if column is None else [column, row] if part.turned else [row, column]
    found: list[int] = []
    cuts: list[Any] = [*part.place, *[(None, None)] * (len(shape) - 1 - len(part.place))]
    for cut, extent in zip(cuts, shape[1:], strict=True):
        if isinstance(cut, int):
            found.append(cut)
            continue
        first = cut[0] or 0
        found.append(at.pop(0) + (first if first >= 0 else extent + first))
    return tuple(found)
