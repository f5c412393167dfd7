"""Several inputs explained at once: two pictures, a picture and a text, a picture and columns.

    model = xplain.joint("pair.onnx", ["left", "right"])
    a = xplain.explain(model, (left, right), "integrated-gradients")
    a = xplain.explain(model, (left, right), "kernel-shap", features=model.players(cells=4))
    maps = model.maps(a)                 # {"left": Attribution, "right": Attribution}

Items are laid side by side in one row, so perturbation has one set of players over all inputs, and gradients one path
and one sweep: values of different inputs are in the same unit, and add up together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.items import Items
from xplain.core.outline import Outline
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query
from xplain.graph.intake.joined import Segment, joined
from xplain.graph.intake.load import read
from xplain.models.onnx.file import OnnxFile
from xplain.models.onnx.open import open_onnx
from xplain.models.options import OnnxOptions

__all__ = ["Joint", "joint"]

_CHANNELS = 4
"""Channels at most of what is taken for a picture with its channels in front."""


class Joint:
    """A model of several inputs that are explained at once.

    Args:
        inner: The same model, which takes them as one row.
        segments: What the row holds.
    """

    def __init__(self, inner: OnnxFile, segments: tuple[Segment, ...]) -> None:
        self._inner, self.segments = inner, segments
        self.answers = inner.answers

    @property
    def outline(self) -> Outline:
        """What is known of the model."""
        return self._inner.outline

    @property
    def abilities(self) -> Abilities:
        """As the inner one's, and it reads items of several inputs."""
        return replace(self._inner.abilities, read=self._read, compiles=None, forecast=None)

    def answer(self, query: Query) -> Answer:
        """The answer to one question about rows."""
        return self._inner.answer(query)

    def _read(self, given: Any) -> tuple[Joint, Items]:
        """Items as ``(left, right)`` or ``{"left": ..., "right": ...}``, each ``[N, *input]`` or one without the batch.

        Raises:
            UsageError: an input is missing, or does not fit.
        """
        if isinstance(given, Mapping):
            if strange := [name for name in given if name not in self.names]:
                raise unknown("input", str(strange[0])[:80], list(self.names))
            missing = [one.name for one in self.segments if one.name not in given]
            if missing:
                raise UsageError(f"Items lack input {missing[0]!r}; give all of {', '.join(map(repr, self.names))}.")
            parts = [given[name] for name in self.names]
        elif isinstance(given, (tuple, list)) and len(given) == len(self.segments):
            parts = list(given)
        else:
            raise UsageError(
                f"Items of {self.outline.source} are {len(self.segments)} arrays, {', '.join(map(repr, self.names))}; "
                f"got {type(given).__name__}. Give them as a tuple in this order, or by name."
            )
        rows = [_row(one, part) for one, part in zip(self.segments, parts, strict=True)]
        counts = {len(row) for row in rows}
        if len(counts) > 1:
            raise UsageError(f"Inputs have {' and '.join(map(str, sorted(counts)))} items; give as many of each.")
        if counts == {0}:
            raise UsageError("There is nothing to explain: the inputs have no items.")
        x = np.ascontiguousarray(np.concatenate(rows, axis=1))
        return self, Items(x, tuple(map(str, range(len(x)))), layout=Layout("NS", (x.shape[1],), "inputs in a row"))

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs, in order."""
        return tuple(one.name for one in self.segments)

    def players(self, cells: int = 4) -> Array:
        """One set of players over all inputs, for the option ``features``: int32 ``[P]``.

        Args:
            cells: Cells per axis of a picture, or pieces of a series. A token, or a column, is a player by itself.
        """
        labels, first = [], 0
        for one in self.segments:
            own = _players(one, cells)
            labels.append(own + first)
            first += int(own.max()) + 1
        return np.concatenate(labels).astype(np.int32)

    def maps(self, attribution: Any) -> dict[str, Any]:
        """One result per input of a result of rows, each with a map of its own; channels and embeddings are collapsed.

        Gradients and relevance are summed over channels; where players were switched, all channels of a position show
        its player's value, and it is taken once.
        """
        players = "feature_values" in attribution.each or "feature_values" in attribution.facts
        found = {}
        for one in self.segments:
            found[one.name] = replace(
                attribution,
                values=_map(one, attribution.values, players),
                error=None if attribution.error is None else _map(one, attribution.error, True),
                rows=None,
                columns=None,
            )
        return found


def joint(source: Any, inputs: Sequence[str], **options: Any) -> Joint:
    """A model of several inputs that are explained at once.

    Args:
        source: An ONNX file: a path, its bytes, or a ``ModelProto``.
        inputs: Names of the inputs, in the order in which items give them.
        options: As of ``xplain.load``; ``fixed`` holds the inputs that are not named.

    Raises:
        UsageError: fewer than two inputs, or one that cannot be joined.
        ModelError: the model cannot be loaded.
    """
    if isinstance(inputs, str) or len(inputs) < 2 or len(set(inputs)) < len(inputs):
        raise UsageError(option="inputs", got=inputs, accepted="the names of at least two inputs, each once")
    loaded = read(source)
    model, segments = joined(loaded.model, loaded.source, list(inputs))
    how = OnnxOptions(**{"layout": "NS", **options})
    inner = open_onnx(model.SerializeToString(), how)
    inner.outline = replace(inner.outline, source=loaded.source)
    return Joint(inner, segments)


def _row(one: Segment, given: Any) -> Array:
    """Items of one input as rows, ``[N, size]``."""
    part = np.asarray(given)
    if part.shape[1:] != one.extents and part.shape == one.extents:
        part = part[None]
    if part.shape[1:] != one.extents or part.dtype.kind not in "fiub":
        raise UsageError(
            f"Input {one.name!r} is {list(part.shape)} {part.dtype}; accepted: [N, {', '.join(map(str, one.extents))}]."
        )
    if one.table is not None:
        if part.dtype.kind == "f" or (part < -len(one.table)).any() or (part >= len(one.table)).any():
            raise UsageError(f"Input {one.name!r} takes whole numbers from 0 to {len(one.table) - 1}.")
        part = one.table[part]
    return np.ascontiguousarray(part.reshape(len(part), prod(part.shape[1:])), dtype=np.float32)


def _pictured(one: Segment) -> bool:
    return one.table is None and len(one.shape) == 3 and one.shape[0] <= _CHANNELS


def _positions(one: Segment) -> tuple[tuple[int, ...], int | None]:
    """The shape of a map of one input, and the axis behind the batch that it collapses."""
    if one.table is not None:
        return one.extents, len(one.shape)
    if _pictured(one):
        return one.shape[1:], 1
    return one.shape, None


def _map(one: Segment, values: Array, repeated: bool) -> Array:
    own = values[:, one.start : one.stop].reshape(len(values), *one.shape)
    _, axis = _positions(one)
    if axis is None:
        return np.ascontiguousarray(own)
    return np.ascontiguousarray(own.mean(axis=axis) if repeated else own.sum(axis=axis))


def _players(one: Segment, cells: int) -> Array:
    """Players of one input, numbered from 0, ``[size]``."""
    places, _ = _positions(one)
    if _pictured(one):
        rows, columns = (np.minimum(np.arange(n) * cells // n, cells - 1) for n in places)
        labels = rows[:, None] * cells + columns
        labels = np.unique(labels, return_inverse=True)[1].reshape(places)
        return np.broadcast_to(labels, one.shape).reshape(-1)
    size = int(np.prod(places))
    if one.table is not None:
        return np.repeat(np.arange(size), int(np.prod(one.shape)) // size)
    return np.arange(size)
