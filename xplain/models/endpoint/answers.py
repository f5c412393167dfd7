"""From what servers send to scores ``[R, K]``: strict JSON, shapes that must fit, unknown classes as NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, NonFinite, UsageError, unknown
from xplain.core.keeping.plain import counted
from xplain.core.keeping.strict import strict
from xplain.core.outline import class_names
from xplain.models.endpoint.outside import MOST_CLASSES, digits, shown
from xplain.models.endpoint.secrets import hide
from xplain.models.endpoint.tensors import json_name, json_types

__all__ = ["LabelSpace", "finite", "score_rows", "strict_json"]

_SILENT = {int, float, bool, type(None)}


def strict_json(body: bytes, what: str) -> Any:
    """A JSON value as RFC 8259 has it: no NaN or Infinity, no name twice in an object, UTF-8; its texts are ``heard``.

    Raises:
        ModelError: it is not.
    """
    try:
        return _heard(strict(body))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is not strict JSON: {hide(str(error))}.") from None


def _heard(value: Any) -> Any:
    """The same with every text, names included, without secrets."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {hide(name): _heard(one) for name, one in value.items()}
    if isinstance(value, list) and not set(map(type, value)) <= _SILENT:
        return [_heard(one) for one in value]
    return value


def score_rows(raw: Any, count: int, what: str) -> Array:
    """Scores as float64 ``[count, K]``; extents of 1 behind the class axis are dropped, one number per row is K = 1.

    Raises:
        ModelError: not numbers, ragged, or not one row per item.
        NonFinite: NaN or infinity among them.
    """
    try:
        odd = (
            set() if isinstance(raw, np.ndarray) else json_types(raw) - {int, float, type(None)}
        )  # servers write NaN as null
        scores = np.asarray(raw, dtype=np.float64 if not odd else object)
    except (TypeError, ValueError, OverflowError):
        raise ModelError(f"{what} is not a table of numbers with one row per item.") from None
    if odd or scores.dtype.kind not in "biuf":
        got = json_name(odd.pop()) if odd else str(scores.dtype)
        raise ModelError(f"{what} is not a table of numbers with one row per item: {got} stands in it.")
    while scores.ndim > 2 and scores.shape[-1] == 1:
        scores = scores[..., 0]
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2 or len(scores) != count or scores.shape[1] == 0:
        raise ModelError(f"{what} is {list(scores.shape)}; for {counted(count, 'item')} [{count}, K] is needed.")
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

    Two classes may share a name, as crane and maillot do in the usual list of ImageNet; an answer then has to say the
    class by its number.

    Args:
        labels: Class names, empty where none are known.
        classes: K, or None where only the labels tell.

    Raises:
        UsageError: the number of labels is not K, or K is no number of classes.
    """

    def __init__(self, labels: Sequence[str] = (), classes: int | None = None) -> None:
        labels = self.labels = class_names(labels)
        self.classes: int | None = len(labels) or None
        self._index: dict[str, list[int]] = {}
        for k, name in enumerate(labels):
            self._index.setdefault(name, []).append(k)
        self._seen: dict[int, str] = {}
        self.expect(classes)

    def expect(self, classes: int | None) -> None:
        """Take K from the model, where it says it.

        Raises:
            UsageError: the number of labels is another, or K is no number of classes.
        """
        if classes is None:
            return
        if isinstance(classes, bool) or not isinstance(classes, int) or not 0 < classes <= MOST_CLASSES:
            raise UsageError(f"The number of classes is {shown(classes)}; accepted: 1 to {MOST_CLASSES}.")
        if self.labels and len(self.labels) != classes:
            raise UsageError(
                f"{counted(len(self.labels), 'label was', 'labels were')} given, but the model has "
                f"{counted(classes, 'class', 'classes')}. Give one per class."
            )
        if self.classes not in (None, classes):
            raise UsageError(
                option="classes", got=self.classes, accepted=f"{classes}, as many as the model has, or nothing"
            )
        self.classes = classes

    def rows(self, raw: Any, count: int, what: str) -> Array:
        """Scores of all classes, ``[count, K]``, from an answer that holds them in order; see ``score_rows``.

        Raises:
            ModelError: also where the answer has another number of classes than is known.
        """
        scores = score_rows(raw, count, what)
        if self.classes not in (None, scores.shape[1]):
            known = f"{self.classes} {'labels' if self.labels else 'classes'}"
            raise ModelError(
                f"{what} holds {counted(scores.shape[1], 'score')} per item, but {known} are known. Give the "
                "labels that belong "
                "to these scores."
            )
        return scores

    def size(self, what: str) -> int:
        """K.

        Raises:
            UsageError: it is not known, so an answer that names some classes cannot be placed among all.
        """
        if self.classes is None:
            raise UsageError(
                f"{what} names classes, but it is not known which there are. Give ",
                option("labels"),
                " or ",
                option("classes"),
                ".",
            )
        return self.classes

    def place(self, named: Any, what: str) -> int:
        """The index of a class that an answer names, by number or by name.

        Raises:
            ModelError: no such class.
        """
        size = self.size(what)
        if isinstance(named, str) and (found := self._index.get(named)):
            if len(found) > 1:
                shared = ", ".join(map(str, found[:5]))
                raise ModelError(
                    f"{what} names {shown(named)}, which is the name of "
                    f"{counted(len(found), 'class', 'classes')} ({shared}). Let the "
                    "answer say the class by its number, or give labels that differ."
                )
            return found[0]
        if isinstance(named, str):
            index = digits(named)
        elif isinstance(named, float):
            index = int(named) if named.is_integer() else None
        else:
            index = int(named) if isinstance(named, int) else None  # true is class 1 of two
        if index is None:
            if self.labels and isinstance(named, str):
                known = unknown("label", named[:100], self.labels)
                raise ModelError(f"{what} names a class that is not among the labels. {known}")
            raise ModelError(f"{what} names class {shown(named)}; a whole number or a label is needed.")
        if not 0 <= index < size:
            raise ModelError(
                f"{what} names class {shown(index)}; the model has {counted(size, 'class', 'classes')}, 0 to "
                f"{size - 1}."
            )
        return index

    def pin(self, index: int, name: str, what: str) -> None:
        """Hold a name that came with an index against the labels, or against the name that came with it before.

        Raises:
            ModelError: it is another one, so the vendor's classes have changed.
        """
        known = self.labels[index] if self.labels else self._seen.setdefault(index, name)
        if name != known:
            raise ModelError(
                f"{what} calls class {index} {shown(name)}, known as {known!r}. The vendor's classes have changed, or "
                "the labels given are not this model's."
            )

    def decided(self, named: Sequence[Any], what: str) -> Array:
        """Decisions as scores: 1 for the class that was named, 0 for the others, float64 ``[R, K]``."""
        scores = np.zeros((len(named), self.size(what)))
        for row, one in enumerate(named):
            scores[row, self.place(one, what)] = 1.0
        return scores
