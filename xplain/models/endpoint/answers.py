"""From what servers send to scores ``[R, K]``: strict JSON, shapes that must fit, unknown classes as NaN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError, NonFinite, UsageError, unknown

__all__ = ["LabelSpace", "finite", "score_rows", "strict_json"]


def strict_json(body: bytes, what: str) -> Any:
    """A JSON value as RFC 8259 has it: no NaN or Infinity, no name twice in an object, UTF-8.

    Raises:
        ModelError: it is not.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is not strict JSON: {error}.") from None


def score_rows(raw: Any, count: int, what: str) -> Array:
    """Scores as float64 ``[count, K]``; extents of 1 behind the class axis are dropped, one number per row is K = 1.

    Raises:
        ModelError: not numbers, ragged, or not one row per item.
        NonFinite: NaN or infinity among them.
    """
    try:
        scores = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"{what} is not a table of numbers with one row per item.") from None
    while scores.ndim > 2 and scores.shape[-1] == 1:
        scores = scores[..., 0]
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2 or len(scores) != count or scores.shape[1] == 0:
        raise ModelError(f"{what} is {list(np.shape(raw))}; {count} items were asked, so [{count}, K] is needed.")
    return finite(scores, what)


def finite(scores: Array, what: str) -> Array:
    """``scores`` if all of them are finite.

    Raises:
        NonFinite: NaN or infinity: the model broke, or this input breaks it.
    """
    if not np.isfinite(scores).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(scores))[0])
        raise NonFinite(f"{what} holds {scores[row, column]} for item {row}, class {column}; scores must be finite.")
    return scores


class LabelSpace:
    """Which class a server's answer speaks of, fixed for good: names to indices, and indices to the names first seen.

    Args:
        labels: Class names, empty where none are known.
        classes: K, or None where only the labels tell.

    Raises:
        UsageError: the number of labels is not K.
    """

    def __init__(self, labels: Sequence[str] = (), classes: int | None = None) -> None:
        if len(set(labels)) != len(labels):
            twice = next(name for name in labels if list(labels).count(name) > 1)
            raise UsageError(f"Label {twice!r} is given twice, so an answer that names it has no one meaning.")
        self.labels = tuple(labels)
        self.classes: int | None = len(labels) or None
        self._index = {name: k for k, name in enumerate(labels)}
        self._seen: dict[int, str] = {}
        self.expect(classes)

    def expect(self, classes: int | None) -> None:
        """Take K from the model, where it says it.

        Raises:
            UsageError: the number of labels is another.
        """
        if classes is None:
            return
        if self.labels and len(self.labels) != classes:
            raise UsageError(
                f"{len(self.labels)} labels were given, but the model has {classes} classes. Give one per class."
            )
        self.classes = classes

    def size(self, what: str) -> int:
        """K.

        Raises:
            UsageError: it is not known, so an answer that names some classes cannot be placed among all.
        """
        if self.classes is None:
            raise UsageError(f"{what} names classes, but it is not known which there are. Give labels= or classes=.")
        return self.classes

    def place(self, named: Any, what: str) -> int:
        """The index of a class that an answer names, by number or by name.

        Raises:
            ModelError: no such class.
        """
        size = self.size(what)
        if isinstance(named, str) and named in self._index:
            return self._index[named]
        try:
            index = int(named)
        except (TypeError, ValueError):
            known = unknown("label", str(named)[:100], self.labels)
            raise ModelError(f"{what} names a class that is not among the labels. {known}") from None
        if index != named and not isinstance(named, str):
            raise ModelError(f"{what} names class {named!r}; a whole number or a label is needed.")
        if not 0 <= index < size:
            raise ModelError(f"{what} names class {index}; the model has {size} classes, 0 to {size - 1}.")
        return index

    def pin(self, index: int, name: str, what: str) -> None:
        """Hold a name that came with an index against the labels, or against the name that came with it before.

        Raises:
            ModelError: it is another one, so the vendor's classes have changed.
        """
        known = self.labels[index] if self.labels else self._seen.setdefault(index, name)
        if name != known:
            raise ModelError(
                f"{what} calls class {index} {name[:100]!r}, known as {known!r}. The vendor's classes have changed, or "
                "the labels given are not this model's."
            )

    def decided(self, named: Sequence[Any], what: str) -> Array:
        """Decisions as scores: 1 for the class that was named, 0 for the others, float64 ``[R, K]``."""
        scores = np.zeros((len(named), self.size(what)))
        for row, one in enumerate(named):
            scores[row, self.place(one, what)] = 1.0
        return scores


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object holds a name twice")
    return made
