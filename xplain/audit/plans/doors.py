"""Items that models read by a door of their own: rows of a table, and texts. What is stated of them, and what is kept.

    xplain.audit.plan("churn.onnx", "rows.csv", rows=True, labels="column:churned", out="audit")
    xplain.audit.plan("sentiment.onnx", "reviews.csv", texts="review", labels="column:stars", out="audit")

The plan holds it all: the columns in the model's order, reference rows that say what is typical of each, or how a text
is cut into features and how many it may have. So whoever runs the plan reads every item alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from xplain.audit.sources import Content
from xplain.core.declaring.wording import way
from xplain.core.errors import ItemError, UsageError, unknown
from xplain.core.query import Model
from xplain.session.readers import columns_known, door_of, rows_reader, split_of, texts_reader

__all__ = ["REFERENCE", "Door", "asked_door", "columns_of", "given_of", "reading", "reference_of"]

REFERENCE = 100
"""Reference rows of a table, drawn by the plan's seed: they stand in the plan."""
_LONGEST = 512
_ROWS = ("columns", "background", "hidden", "scores")
_TEXTS = ("column", "split", "mask", "tokenizer", "longest")


@dataclass(frozen=True, slots=True)
class Door:
    """What is stated of items that are no pictures or tensors.

    Args:
        kind: Rows of a table, or texts.
        columns: The columns that the models take, in their order; empty for what the models or the table say.
        background: A table of typical rows, or its file; None to draw reference rows from the items.
        column: The column that holds texts; None for the only one that is called like one.
        longest: Features that a text may have.
        facts: What decides bits besides, as plain values for the plan: ``hidden``, or ``split`` and ``mask``.
        options: Further options of ``xplain.table`` or ``xplain.text``: ``scores``, ``tokenizer``.
    """

    kind: Literal["rows", "texts"]
    columns: tuple[str, ...] = ()
    background: Any = None
    column: str | None = None
    longest: int = _LONGEST
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def asked_door(rows: Any, texts: Any, sources: Sequence[Any]) -> Door | None:
    """What a plan's ``rows`` and ``texts`` state; where neither does, what the models read that were given loaded.

    Raises:
        UsageError: both, a word that is not known, or models of several kinds.
    """
    kinds = {door_of(one) for one in sources} - {""}
    if (rows not in (None, False) and texts not in (None, False)) or len(kinds) > 1:
        raise UsageError("Items are rows of a table or texts, not both. Plan an audit for each.")
    if rows not in (None, False) or (kinds == {"rows"} and texts in (None, False)):
        return _rows({} if rows in (None, False, True) else rows)
    if texts not in (None, False) or kinds == {"texts"}:
        known = next((found for one in sources if (found := split_of(one)) is not None), "words")
        given = {} if texts in (None, False, True) else {"column": texts} if isinstance(texts, str) else texts
        return _texts(given, known)
    return None


def _rows(given: Any) -> Door:
    told = _known("rows", given, _ROWS)
    columns = told.get("columns", ())
    columns = tuple(one.strip() for one in columns.split(",")) if isinstance(columns, str) else tuple(columns)
    hidden = told.get("hidden") or {}
    if not isinstance(hidden, Mapping):
        raise UsageError(option="rows", got=given, accepted="hidden: what a hidden column becomes, by column")
    more = {"scores": told["scores"]} if told.get("scores") else {}
    return Door("rows", columns, told.get("background"), facts={"hidden": dict(hidden)}, options=more)


def _texts(given: Any, usual: str) -> Door:
    told = _known("texts", given, _TEXTS)
    longest = told.get("longest", _LONGEST)
    if isinstance(longest, bool) or not isinstance(longest, int) or not 1 <= longest <= 1 << 20:
        raise UsageError(option="texts", got=longest, accepted="longest: a whole number of features, at least 1")
    split = told.get("split", usual)
    if not isinstance(split, str):
        raise UsageError(
            "How texts are cut stands in the plan, and a function cannot be written down there", option="texts",
            got=split, accepted="split: words, marks, sentences, characters, tokens or ids",
        )  # fmt: skip
    more = {"tokenizer": os.fspath(told["tokenizer"])} if told.get("tokenizer") else {}
    facts = {"split": split, "mask": told.get("mask")}
    return Door("texts", column=told.get("column"), longest=longest, facts=facts, options=more)


def _known(name: str, given: Any, words: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(option=name, got=given, accepted=f"True, or a mapping of {', '.join(words)}")
    for word in given:
        if word not in words:
            raise unknown(f"word in {name}:", str(word), words)
    return given


def columns_of(door: Door, sources: Sequence[tuple[Any, Mapping[str, Any]]], there: Sequence[str]) -> tuple[str, ...]:
    """The columns that models take, in their order: as stated, as they name them, or all that a table has.

    Args:
        door: What is stated.
        sources: The models, with options of ``xplain.table``.
        there: Columns of the table that are no label, split or name.

    Raises:
        UsageError: a column is not there, or it is not known which are meant.
    """
    found = door.columns
    if not found:
        known = [columns_known(source, {**door.options, **options}) for source, options in sources]
        found = tuple(dict.fromkeys(name for names, _ in known for name in names))
        widths = {width for names, width in known if not names}
        if widths and not found:
            if widths != {len(there)}:
                takes = ", ".join("any number" if one is None else str(one) for one in sorted(widths, key=str))
                raise UsageError(
                    f"It is not known which columns the model takes: it takes {takes}, and the table has {len(there)} "
                    f"besides labels and names: {', '.join(there)[:300]}.",
                    option="rows",
                    advice=(
                        "Say which, in the model's order: ",
                        way("columns", python="rows={'columns': [...]}", shell="--columns A,B"),
                        ".",
                    ),
                )
            found = tuple(there)
    for name in found:
        if name not in there:
            raise unknown("column of the items", name, there, option="rows")
    return found


def given_of(content: Content, kind: str) -> Any:
    """A row as a mapping, or a text, of an item's content.

    Raises:
        ItemError: it is none.
    """
    if not isinstance(content, bytes):
        raise ItemError("It is an array; planned are rows of a table or texts.")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ItemError("It is no text in UTF-8.") from None
    if kind == "texts":
        return text
    return dict(json.loads(text))


def reference_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Reference rows as plain values by column; without those that lack a text, which a model may not take."""
    texts = [name for name in columns if any(isinstance(row[name], str) for row in rows)]
    rows = [row for row in rows if all(row[name] is not None for name in texts)] or rows
    rows = [*rows, *rows] if len(rows) == 1 else rows  # of one alone nothing is called typical
    return {name: [row[name] for row in rows] for name in columns}


def drawn_rows(count: int, seed: int) -> list[int]:
    """Numbers of reference rows, ascending."""
    if count <= REFERENCE:
        return list(range(count))
    return sorted(int(n) for n in np.random.default_rng([seed, 100]).choice(count, REFERENCE, replace=False))


def reading(source: Any, door: Mapping[str, Any], options: Mapping[str, Any]) -> Model:
    """A model opened as a plan states it.

    Args:
        source: The model, as ``xplain.load`` takes it, or loaded.
        door: What the plan says of its items.
        options: Options of ``xplain.table`` or ``xplain.text``.
    """
    if door["kind"] == "rows":
        return rows_reader(source, {name: door["reference"][name] for name in door["columns"]}, door["hidden"], options)
    return texts_reader(source, door, options)


def background_rows(given: Any, columns: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Reference rows from a table of typical ones: its rows, or those that the seed draws of many.

    Raises:
        UsageError: it is no table, has no rows, or lacks a column.
    """
    from xplain.audit.canonical import needed
    from xplain.audit.sources.rows import plain_rows, sheet_of

    sheet = sheet_of(given, "background")
    for name in columns:
        if name not in sheet.names:
            raise unknown("column of the background", name, sheet.names, option="rows")
    if not sheet.rows:
        raise UsageError("The background has no rows. Give typical ones, or leave it out.", option="rows")
    found, strange = sheet.columns(columns)
    if strange:
        raise UsageError(
            f"Column {strange[0]!r} of the background holds {sheet.table[strange[0]].type}; accepted: numbers, texts, "
            "truth values.", option="rows",
        )  # fmt: skip
    return plain_rows(needed("pyarrow").table(found).take(drawn_rows(sheet.rows, seed)))
