"""The last layer of weights of a model: what enters it, and its weights, found by asking it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.analyses.influence import Head, Link
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.query import Answer, Peek, Query, Score, View
from xplain.core.target import SCORES, every_score
from xplain.core.target import label as score_of
from xplain.explainers.cam.layers import MapLayer
from xplain.explainers.gradient.starts import passes_through
from xplain.explainers.see.positions import Read, vector_reader

__all__ = ["LastLayer", "last_layer"]

_BYTES = 64 * 2**20
"""Values of the layer that one question holds."""
_WIDEST = 2**14
"""Numbers of a vector up to which the weights behind it are asked for, one after another."""
_APART = 0.02
"""Of the scores' range: how far they may be from a linear function, as those of integer files are."""


@dataclass(frozen=True, slots=True, eq=False)
class LastLayer:
    """What the scores are a linear function of.

    Args:
        read: How items become its vectors.
        head: Its weights.
        apart: How far the scores of the items that were looked at are from ``W h + b``, of their range.
    """

    read: Read
    head: Head
    apart: float


def last_layer(view: View, layer: str, positions: str | None) -> Generator[Query, Answer, LastLayer]:
    """The last layer of weights, by what it answers to nothing and to each number alone.

    ``b = f(0)``, ``W[:, j] = (f(s e_j) - b) / s``, f the model from the layer on, and then held against the scores of
    the items of a view.

    Args:
        view: Some items.
        layer: What enters it: a name, or ``auto`` for the one that there is.
        positions: As for ``vector_reader``.

    Cost:
        D + 1 evaluations of what lies behind the layer, and one of each item.

    Raises:
        UsageError: there is no such layer or no one, the scores are no classes', or no linear function of it.
    """
    link = _link(view.outline)
    read = vector_reader(view, layer, positions)
    passes_through(replace(view, target=score_of(0)), read.layer)
    answer = yield Peek(view.x, (read.layer, SCORES))
    raw, scores = np.asarray(answer[read.layer], np.float32), np.asarray(answer[SCORES], np.float64)
    scores = scores.reshape(len(scores), -1)
    vectors = read.vectors(raw)
    width = vectors.shape[1]
    if width > _WIDEST:
        raise UsageError(
            f"Layer {read.layer!r} gives vectors of {width:,} numbers; the weights behind at most {_WIDEST:,} are "
            "asked for. Take the mean over positions, ",
            option("positions", "mean"),
            ", where the scores are a function of it, or name another layer: ",
            option("layer"),
            ".",
            option="layer",
        )
    scale = float(np.abs(vectors).max()) or 1.0
    place, few = _place(read, raw, width), max(1, _BYTES // max(raw[0].nbytes, 1))
    found = []
    for first in range(0, width + 1, few):
        numbers = np.arange(first, min(first + few, width + 1)) - 1
        rows = np.where(place[None] == numbers[:, None], np.float32(scale), np.float32(0))
        rows = np.where(numbers[:, None] < 0, np.float32(0), rows).reshape(-1, *raw.shape[1:])
        told: Any = yield Score(np.ascontiguousarray(rows), Untouched(), every_score, at=read.layer)
        found.append(np.asarray(told, np.float64).reshape(len(rows), -1))
    answers = np.concatenate(found)
    bias = answers[0]
    head = Head((answers[1:] - bias).T / scale, bias, link)
    span = float(scores.max() - scores.min()) or 1.0
    apart = float(np.abs(head.scores(vectors) - scores).max()) / span
    if not apart <= _APART:
        raise UsageError(
            f"The scores are no linear function of layer {read.layer!r}: they are up to {apart:.2g} of their range "
            "away from one. Influence by the last layer needs what enters the last layer of weights: name it by ",
            option("layer"),
            ".",
            option="layer",
            got=layer,
        )
    return LastLayer(read, head, apart)


def _place(read: Read, raw: Array, width: int) -> Array:
    """The number of a vector that each element of the layer belongs to, int64 ``[elements]``; -2 for none."""
    count = raw[0].size
    if read.token is not None:
        axis, index = read.token
        mine = np.full(raw.shape[1:], -2)
        at: list[Any] = [slice(None)] * (raw.ndim - 1)
        at[axis - 1] = index
        mine[tuple(at)] = np.arange(width).reshape(mine[tuple(at)].shape)
        return mine.ravel()
    if read.grid is not None and read.positions in ("mean", "max"):
        where = np.asarray(MapLayer(read.layer, read.grid).maps(np.arange(count).reshape(1, *raw.shape[1:])))[0]
        mine = np.full(count, -2)
        mine[where.reshape(len(where), -1)] = np.arange(len(where))[:, None]
        return mine
    return np.arange(count)


def _link(outline: Outline) -> Link:
    """What makes probabilities of the scores, and with it the loss."""
    spec = outline.scores
    if spec.classes is None or spec.classes < 2:
        raise UsageError(
            "Influence is on the loss of a label, and this model does not answer the scores of two classes or more."
        )
    return "sigmoid" if spec.link == "sigmoid" else "softmax"
