"""A model under the name that requests call it by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.items import Items
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Model
from xplain.session import methods
from xplain.session.entering import entered
from xplain.session.lenses.seeing import layers_shown

__all__ = ["Served", "served_as"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SIDE = 224
"""Extent of a warm-up item along an axis that the model leaves open."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A loaded model, and what may be asked of it.

    Args:
        name: What requests call it: letters, digits, ``_`` and ``-``. A dot stands between it and a method, as in
            ``mobilenet.grad-cam``.
        model: The model.
        methods: What it can answer.
    """

    name: str
    model: Model
    methods: tuple[Method, ...]

    @property
    def takes_texts(self) -> bool:
        """Whether its items are texts."""
        spec = self.model.outline.explained
        return abilities_of(self.model).read is not None or (spec is not None and spec.dtype == "str")

    def method(self, name: str) -> Method:
        """The method of this name.

        Raises:
            UnknownName: this model answers none of this name; the message names the nearest.
        """
        plain = name.replace("_", "-").lower()
        for entry in self.methods:
            if plain in (entry.name, *entry.aliases):
                return entry
        raise unknown(f"method of model {self.name!r}:", name, [entry.name for entry in self.methods])

    def read(self, given: Sequence[Any]) -> tuple[Model, Items]:
        """What came over the wire as the model's items; nothing here is ever taken for the name of a file.

        Args:
            given: Per item the bytes of a picture, an array in the model's own layout, a text, or a row of a table as
                ``{column: value}``; all of one kind.

        Raises:
            XplainError: they are not what the model takes.
        """
        if not given:
            raise UsageError("There is nothing to explain: the list of instances is empty.")
        kinds = {type(one) for one in given}
        if len(kinds) > 1:
            raise UsageError("The instances are of several kinds; give all as pictures, tensors, texts or rows.")
        kind = kinds.pop()
        if kind is str and not self.takes_texts:
            raise UsageError(
                f"An instance is a text; model {self.name!r} takes no texts. Send a picture as "
                '{"b64": "..."}, or a tensor as nested lists of numbers.'
            )
        if kind is dict:
            return entered(self.model, _columns(given), None)
        if kind is np.ndarray:
            return entered(self.model, [self._as_taken(one) for one in given], None)
        return entered(self.model, list(given), None)

    def _as_taken(self, array: Array) -> Array:
        """Numbers of the type that the model's input has: JSON does not tell 1 from 1.0."""
        spec = self.model.outline.explained
        whole = spec is not None and np.dtype(spec.dtype if spec.dtype not in ("", "str") else "float32").kind in "iu"
        return array.astype(np.int64 if whole else np.float32) if array.dtype.kind in "iuf" else array

    def example(self) -> Any:
        """An item of zeros, or a text, to warm up with; None where it is not known what an item looks like."""
        spec = self.model.outline.explained
        if self.takes_texts:
            return "warm up"
        if spec is None or len(spec.shape) < 2:
            return None
        return np.zeros([extent or _SIDE for extent in spec.shape[1:]], np.float32)

    def layers(self) -> list[str]:
        """Layers whose channels can be shown as maps."""
        example = self.example()
        return [] if example is None or isinstance(example, str) else layers_shown(self.model, tuple(example.shape))

    @property
    def version(self) -> str:
        """The first letters of the model's digest; ``1`` for one that has none."""
        return self.model.outline.digest[:12] or "1"

    def key(self, *more: Any) -> str:
        """What tells one question to this model from another."""
        return fingerprint(self.name, *more)


def served_as(name: str, model: Model) -> Served:
    """A loaded model under a name.

    Raises:
        UsageError: the name cannot stand in an address.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"A model cannot be served as {name!r}; accepted: 1 to 64 letters, digits, '_' and '-'. "
            "Name it: NAME=FILE.onnx."
        )
    return Served(name, model, tuple(entry for entry in methods() if entry.needs <= model.answers))


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows of a table as its columns."""
    names = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(names) or not names:
            raise UsageError(f"Row {number} has columns {sorted(row)}; row 0 has {sorted(names)}. Give all rows alike.")
    return {name: [row[name] for row in rows] for name in names}
