"""One column of a table: its values as a model knows them, and the finite numbers that stand for them.

Methods move numbers about; a model was trained on categories, whole numbers, times, texts, and on gaps. So a column
keeps every value that it has seen, in its own type, under a number of its own, and gives back the very values: the
number's nearest float32 for a number (the next free one where two values share it), 0 and 1 for a switch, places from 1
on for everything else, ``MISSING`` for a gap. What no value stands behind, such as the middle between two, is itself in
a column of numbers and refused in any other.
"""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.models.rows import dataframes as frames

__all__ = ["MISSING", "Column", "ColumnSpec"]

MISSING = float(np.finfo(np.float32).min)
"""The number of a value that is not there."""

_EXACT = 2**24
"""Whole numbers up to here are exact in float32."""

_LARGEST = 3e37
"""Beyond it lie mixtures with ``MISSING``; larger numbers are given codes below."""

Kind = Literal["number", "moment", "category"]
_WORDS = {"number": "numbers", "moment": "times", "category": "text or categories"}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What is known of a column, for who fills it in.

    Args:
        name: What it is called.
        kind: ``number``, ``moment``, ``category``, ``switch`` (yes and no), or empty while it has no value.
        values: Its categories, in the model's order; empty for other kinds.
        typical: What it holds most often, or in the middle; None where nothing is known of that, or it is a gap.
    """

    name: str
    kind: str
    values: tuple[Any, ...] = ()
    typical: Any = None


class Column:
    """A column that learns its values as it meets them; see the module's own words.

    Args:
        name: What it is called.
        text: Whether the model takes it as text, whatever a frame holds there.
        numeric: What the model is called that takes nothing but a row of float32 numbers; else empty.
    """

    def __init__(self, name: str, text: bool = False, numeric: str = "") -> None:
        self.name = name
        self.kind: Kind = "number"
        self._text, self._numeric = text, numeric
        self._like: Any = None  # no value, of the column's type
        self._codes: dict[Hashable, float] = {}
        self._keys: dict[float, Any] = {}
        self._parts: list[Any] = []
        self._at: list[float] = []
        self._next: dict[int, int] = {}
        self._known: tuple[Array, Any] | None = None

    # ------------------------------------------------------------------ values to numbers

    def code(self, values: Any) -> Array:
        """The numbers of values, float32 ``[N]``, all finite.

        Raises:
            NonFinite: an infinite value, or a gap in a column that the model takes as text.
            UsageError: values of another type than those before, or a category that is none of the model's.
        """
        new = not self._codes
        values = self._typed(values)
        if self._numeric and self.kind != "number" and not self.switch:
            raise UsageError(
                f"Column {self.name!r} holds {_WORDS[self.kind]}, but {self._numeric} takes one row of numbers. Encode "
                "it as the model's training did, or export the model with one input per column."
            )
        gaps = frames.missing(values)
        if self._text and gaps.any():
            raise NonFinite(
                f"Column {self.name!r} is missing in row {int(gaps.argmax())}, and the model takes it as text, which "
                "knows no gaps. Fill it as the model's training did, or drop the row."
            )
        for one in frames.categories(values) if new else ():  # all that the model knows, in its order
            self._learned(one, np.zeros(len(one), bool))
        return self._learned(values, gaps)

    def _learned(self, values: Any, gaps: Array) -> Array:
        """The numbers of values of the column's own type; those that are new get one."""
        codes = np.full(len(gaps), MISSING, np.float32)
        there = np.flatnonzero(~gaps)
        keys, first, places = self._distinct(frames.take(values, there))
        fresh = [k for k, key in enumerate(keys) if key not in self._codes]
        for k in fresh:
            self._codes[keys[k]] = code = self._new(keys[k])
            self._keys[code] = keys[k]
            self._at.append(code)
        if fresh:
            self._keep(frames.take(values, there[first[fresh]]))
        if gaps.any() and MISSING not in self._keys:
            self._keys[MISSING] = None
            self._at.append(MISSING)
            self._keep(frames.take(values, np.flatnonzero(gaps)[:1]))
        codes[there] = np.array([self._codes[key] for key in keys], np.float32)[places]
        return codes

    def code_of(self, value: Any) -> float:
        """The number of one value, which may be written as text."""
        if self.kind == "number" and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise UsageError(f"Column {self.name!r} holds numbers; {value!r} is none.") from None
        return float(self.code(frames.like([value], self._like))[0])

    def apart(self) -> Column:
        """The same column with a memory of its own: what it meets from now on, this one does not learn."""
        other = copy(self)
        kept = ("_codes", "_keys", "_next", "_parts", "_at")
        vars(other).update({name: copy(value) for name, value in vars(self).items() if name in kept})
        return other

    @property
    def spec(self) -> ColumnSpec:
        """What is known of it, but for what is typical."""
        kind = "" if self._like is None else "switch" if self.switch else self.kind
        return ColumnSpec(self.name, kind, tuple(self._codes) if kind == "category" else ())

    @property
    def switch(self) -> bool:
        """Whether it holds yes and no."""
        return self._like is not None and frames.is_switch(self._like)

    @property
    def gaps(self) -> bool:
        """Whether a value was missing."""
        return MISSING in self._keys

    def _keep(self, some: Any) -> None:
        self._parts.append(some)
        self._known = None

    def _typed(self, values: Any) -> Any:
        """Values in the column's own type, which the first ones decide."""
        if self._text:
            values = frames.as_text(values)
        kind = frames.kind_of(self.name, values)
        if not self._codes:
            self.kind, self._like = kind, frames.take(values, np.zeros(0, int))
            return values
        texts = all(isinstance(key, str) for key in self._codes)
        listed = hasattr(self._like.dtype, "categories")  # which says itself what it takes
        takes_any = self.kind == "category" and (listed or (self._like.dtype == object and not texts))
        if kind != self.kind and not takes_any and not frames.missing(values).all():
            raise UsageError(
                f"Column {self.name!r} held {_WORDS[self.kind]} before, and {_WORDS[kind]} now. Give it one type."
            )
        typed = frames.as_type(values, self._like)
        lost = frames.missing(typed) & ~frames.missing(values)
        if lost.any():
            row = int(lost.argmax())
            known = list(map(str, self._codes))
            raise UsageError(
                f"Column {self.name!r} is {frames.plain(values)[row]!r} in row {row}, which is none of its categories: "
                f"{', '.join(known[:5])}{' ...' if len(known) > 5 else ''}."
            )
        return typed

    def _distinct(self, values: Any) -> tuple[list[Any], Array, Array]:
        """Distinct values as Python has them, where each is first, and which of them each value is."""
        raw = frames.plain(values)
        found: dict[Any, int] = {}
        first: list[int] = []
        places = np.empty(len(raw), np.int64)
        for k, value in enumerate(raw):
            try:
                place = found.setdefault(value, len(found))
            except TypeError:
                raise UsageError(
                    f"Column {self.name!r} holds {type(value).__name__}; accepted: numbers, texts, categories, times."
                ) from None
            if place == len(first):
                first.append(k)
            places[k] = place
        return list(found), np.array(first, np.int64), places

    def _new(self, key: Any) -> float:
        if self.kind == "category" and isinstance(key, bool):
            return float(key)
        if self.kind != "number":
            return float(len(self._codes) + 1)
        number = float(key)
        if not np.isfinite(number):
            raise NonFinite(
                f"Column {self.name!r} holds {number}. Explanations need finite values or gaps: replace it as the "
                "model's training did, or drop the row."
            )
        if self._numeric:
            if isinstance(key, int) and abs(key) > _EXACT:
                raise UsageError(
                    f"Column {self.name!r} holds whole numbers above {_EXACT:,}, which {self._numeric} cannot hold "
                    "exactly. Is it an identifier? Drop it; or scale it."
                )
            return float(np.float32(number))
        bits = int(np.float32(np.clip(number, -_LARGEST, _LARGEST) + 0.0).view(np.int32))
        way, free = [], bits
        while free in self._next:
            way.append(free)
            free = self._next[free]
        for passed in (*way, free):  # so that the next one finds its place at once
            self._next[passed] = free + 1
        return float(np.int32(free).view(np.float32))

    # ------------------------------------------------------------------ numbers to values

    def values(self, codes: Array) -> Any:
        """The values that numbers ``[R]`` stand for, in the column's own type where it can hold them.

        Raises:
            UsageError: a number that stands for nothing, in a column of other things than numbers.
        """
        known, values = self._sorted()
        place = np.minimum(np.searchsorted(known, codes), max(0, len(known) - 1))
        new = known[place] != codes if len(known) else np.ones(len(codes), bool)
        if not new.any():
            return frames.as_type(frames.take(values, place), self._like)
        strange = float(codes[new.argmax()])
        if self.kind != "number" or abs(strange) > _LARGEST:
            raise self._strange(strange)
        found = np.where(new, codes.astype(np.float64), np.nan)
        if len(known):
            found[~new] = frames.numbers_of(frames.take(values, place[~new]))
        return frames.as_type(frames.like(found, self._like), self._like)

    def _sorted(self) -> tuple[Array, Any]:
        if self._known is None:
            at = np.array(self._at, np.float32)
            order = np.argsort(at, kind="stable")
            values = frames.joined(self._parts) if self._parts else self._like
            self._known = at[order], frames.take(values, order)
        return self._known

    def _strange(self, code: float) -> UsageError:
        known = [str(key) for key in self._codes]
        what = f"{', '.join(known[:5])}{' ...' if len(known) > 5 else ''}"
        if self.kind == "number":
            return UsageError(
                f"A hidden {self.name!r} would become a mixture of a number and a gap, which means nothing. Use a "
                "method that hides whole columns: kernel-shap, exact-shapley, ablation."
            )
        return UsageError(
            f"A hidden {self.name!r} would become {code:g}, which is none of its values ({what}). Give rows instead: ",
            option("background", python="rows", shell="rows.csv"),
            " or ",
            option("baseline", python="row", shell="row.csv"),
            ", or say what it becomes: ",
            option("hidden", python="{column: value}", shell="COLUMN=VALUE"),
            ".",
        )

    # ------------------------------------------------------------------ what is typical

    def typical(self, codes: Array) -> float:
        """The number of the typical one among values: the median of numbers and times, else the most frequent.

        The median of an even count of whole numbers or times is the lower of the two in the middle, which is one.
        """
        there = codes[codes != np.float32(MISSING)]
        if not len(there):
            return MISSING
        if self.kind == "category":
            seen, counts = np.unique(there, return_counts=True)
            return float(seen[counts.argmax()])
        ordered = sorted(map(float, there), key=self._keys.__getitem__)
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        of_low, of_high = self._keys[low], self._keys[high]
        if low == high or not (isinstance(of_low, float) and isinstance(of_high, float)):
            return low
        return float(self.code(frames.like([(of_low + of_high) / 2], self._like))[0])

    def said(self, code: float) -> str:
        """The value behind a number, as a person reads it."""
        if code == MISSING:
            return "missing"
        return frames.shown(self._keys.get(float(np.float32(code)), code))
