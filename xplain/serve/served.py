"""A model under the name that requests call it by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.items import Items
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Model
from xplain.models.rows.columns import ColumnSpec
from xplain.models.rows.table import Table
from xplain.session import methods
from xplain.session.choosing import Choice, choose
from xplain.session.entering import entered
from xplain.session.lenses.seeing import layers_shown

__all__ = ["Served", "served_as"]

Kind: TypeAlias = Literal["pictures", "texts", "rows", "tensors"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SIDE = 224
"""Extent of a warm-up item along an axis that the model leaves open."""
_MOST_VALUES = 1000
"""Categories of a column that are told."""
_LARGEST = 2**53
"""Up to here JSON's numbers are whole."""


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
    def takes(self) -> Kind:
        """What its items are."""
        spec = self.model.outline.explained
        if isinstance(self.model, Table):
            return "rows"
        if abilities_of(self.model).read is not None or (spec is not None and spec.dtype == "str"):
            return "texts"
        return "pictures" if self.model.outline.takes_pictures else "tensors"

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
        if isinstance(self.model, Table):
            return entered(self.model.apart(), self._rows(given, kind), None)
        if kind is str and self.takes != "texts":
            raise UsageError(
                f"An instance is a text; model {self.name!r} takes no texts. Send a picture as "
                '{"b64": "..."}, or a tensor as nested lists of numbers.'
            )
        if kind is dict and self.takes == "pictures":
            raise UsageError(
                f"An instance is an object with {', '.join(map(repr, list(given[0])[:4]))}; model {self.name!r} takes "
                'pictures. Send each as {"b64": "..."}, or as nested lists of numbers.'
            )
        if kind is dict:
            raise UsageError(
                f"An instance is a row with named columns; of model {self.name!r} it is not known which column is "
                "which. Send the numbers as a list, in the model's order, or start the server with --rows FILE.csv."
            )
        if kind is np.ndarray:
            return entered(self.model, [self._as_taken(one) for one in given], None)
        return entered(self.model, list(given), None)

    def _rows(self, given: Sequence[Any], kind: type) -> Any:
        """Rows as columns, or as an array in the model's order."""
        if kind is dict:
            return _columns(given)
        if kind is np.ndarray and all(one.ndim == 1 and len(one) == len(given[0]) for one in given):
            return np.stack(given)
        assert isinstance(self.model, Table)
        raise UsageError(
            f"Model {self.name!r} takes rows; send each as {{column: value}} with "
            f"{', '.join(self.model.names) or 'its columns'}, or as a list of numbers."
        )

    def _as_taken(self, array: Array) -> Array:
        """Numbers of the type that the model's input has: JSON does not tell 1 from 1.0."""
        spec = self.model.outline.explained
        whole = spec is not None and np.dtype(spec.dtype if spec.dtype not in ("", "str") else "float32").kind in "iu"
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for the type is refused as not finite
            return array.astype(np.int64 if whole else np.float32) if array.dtype.kind in "iuf" else array

    def example(self) -> Any:
        """An item of zeros, a text or the typical row, to warm up with; None where it is not known how one looks."""
        spec = self.model.outline.explained
        if self.takes == "texts":
            return "warm up"
        if isinstance(self.model, Table):
            row = {one.name: one.typical for one in self.columns()}
            return row if any(value is not None for value in row.values()) else None
        if spec is None or len(spec.shape) < 2:
            return None
        return np.zeros([extent or _SIDE for extent in spec.shape[1:]], np.float32)

    def columns(self) -> tuple[ColumnSpec, ...]:
        """What is known of a model's columns, in values that JSON has; empty where it takes no rows."""
        if not isinstance(self.model, Table):
            return ()
        return tuple(
            replace(one, values=tuple(map(_plain, one.values[:_MOST_VALUES])), typical=_plain(one.typical))
            for one in self.model.specs
        )

    def layers(self) -> list[str]:
        """Layers whose channels can be shown as maps."""
        example = self.example()
        return layers_shown(self.model, tuple(example.shape)) if isinstance(example, np.ndarray) else []

    def usual(self, read: tuple[Model, Items] | None = None) -> Choice:
        """The method of who names none: Grad-CAM where the model answers it, else what ``xplain.explain`` chooses.

        Args:
            read: The items, and the model that takes them, where they are known.
        """
        if any(entry.name == "grad-cam" for entry in self.methods):
            return Choice("grad-cam", "the model answers it")
        example = self.example() if self.takes == "rows" and read is None else None
        read = self.read([example]) if example is not None else read
        return choose(self.model, {}) if read is None else choose(read[0], {}, read[1].x, read[1].layout)

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


def _plain(value: Any) -> Any:
    """A value as JSON has it; times as texts."""
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows of a table as its columns.

    Raises:
        UsageError: rows that are not alike, or a cell that is no value.
    """
    names = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(names) or not names:
            raise UsageError(f"Row {number} has columns {sorted(row)}; row 0 has {sorted(names)}. Give all rows alike.")
        for name, cell in row.items():
            whole = isinstance(cell, int) and abs(cell) > _LARGEST
            if whole or not isinstance(cell, (str, int, float, bool, type(None))):
                raise UsageError(
                    f"Column {name!r:.80} of row {number} is {cell!r:.80}; accepted: a number of at most 2^53, a text, "
                    "true, false, or null for a gap."
                )
    return {name: [row[name] for row in rows] for name in names}
