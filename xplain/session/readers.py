"""Models that read items by a door of their own, as a plan states them: rows of a table, and texts.

A reader that reads items in many processes, one group after another, must give an item the same numbers each time. So
what a table's columns are, and what is typical of them, is told to it in advance: by reference rows, never by whichever
rows it happens to meet first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of, is_model
from xplain.core.declaring.wording import way
from xplain.core.errors import UsageError
from xplain.core.items import Passage
from xplain.core.query import Model
from xplain.models.rows.encoder import Encoder
from xplain.models.rows.table import Table
from xplain.models.rows.text import Text
from xplain.models.rows.words import split_with
from xplain.models.table import table
from xplain.models.text import text

__all__ = ["columns_known", "door_of", "frame", "rows_reader", "split_of", "splitter", "texts_reader"]


def door_of(source: Any) -> str:
    """What a loaded model reads: ``rows``, ``texts``, or nothing but pictures and tensors (empty)."""
    able = abilities_of(source)
    return "" if able.read is None else "texts" if able.codes is None else "rows"


def columns_known(source: Any, options: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """The columns that a model names by itself, empty for none, and how many it takes, None where that is not known.

    Raises:
        XplainError: it cannot be loaded as a model of rows.
    """
    made = source if door_of(source) == "rows" else table(source, **options)
    layout = made.outline.layout
    return made.names, layout.item[0] if layout is not None and len(layout.item) == 1 else None


def split_of(source: Any) -> str | None:
    """How a loaded model of texts cuts them, by name; None for a function of one's own, and for other models."""
    return source.split if isinstance(source, Text) and isinstance(source.split, str) else None


def frame(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Columns of plain values as arrays: numbers as such, NaN where one is missing, anything else as it is."""
    return {name: _array(list(values)) for name, values in columns.items()}


def _array(values: list[Any]) -> Any:
    there = [one for one in values if one is not None]
    if there and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in there):
        gaps = len(there) < len(values) or any(isinstance(one, float) for one in there)
        return np.array([np.nan if one is None else one for one in values], np.float64 if gaps else np.int64)
    if there and len(there) == len(values) and all(isinstance(one, bool) for one in there):
        return np.array(values, bool)
    return np.array(values, object)


def rows_reader(
    source: Any, reference: Mapping[str, Sequence[Any]], hidden: Mapping[str, Any], options: Mapping[str, Any]
) -> Model:
    """A model of rows that knows its columns, their types and what is typical from reference rows.

    Args:
        source: What ``xplain.table`` takes, or what it has returned: that is told the reference rows too.
        reference: Plain values by column, in the model's order.
        hidden: What a hidden column becomes, where it is not what is typical.
        options: Options of ``xplain.table``.
    """
    known = frame(reference)
    if door_of(source) == "rows" and isinstance(source, Table):
        source.learn(known)
        return source
    return table(source, columns=known, hidden=dict(hidden), **options)


def texts_reader(source: Any, door: Mapping[str, Any], options: Mapping[str, Any]) -> Model:
    """A model of texts.

    Args:
        source: What ``xplain.text`` takes, or what it has returned.
        door: ``split`` and ``mask``, as ``xplain.text`` takes them, and ``longest``.
        options: Its other options, the tokenizer among them.

    Raises:
        UsageError: a model of rows.
    """
    if is_model(source) and door_of(source):
        if door_of(source) != "texts":
            raise UsageError("The items are texts, and a model of rows of a table was given. Give one of texts.")
        if isinstance(source, Text) and source.split != door["split"]:
            raise UsageError(
                f"The model was opened to cut texts into {source.split!r}, and the texts of this plan are cut into "
                f"{door['split']}. Open it so, or state ",
                way("split", python=f"texts={{'split': {source.split!r}}}", shell=f"--split {source.split}"),
                ".",
            )
        return source  # type: ignore[no-any-return]
    split = door["split"]
    more = {} if split == "ids" else {"mask": door["mask"], "longest": door["longest"]}
    return text(source, split=split, **more, **options)


def splitter(split: str, tokenizer: str | None = None) -> Callable[[str], Passage]:
    """Where the features of a text lie, as a model of texts that was opened so has them; no model is opened.

    Args:
        split: As ``xplain.text`` takes it, by name.
        tokenizer: The tokenizer's file, for ``tokens`` and ``ids``.
    """
    if split not in ("tokens", "ids"):
        return lambda given: Passage(given, split_with(split, given))
    if tokenizer is None:
        raise UsageError(f"Features are {split}, and it is not known where their tokenizer lies.", option="tokenizer")
    encoder = Encoder(tokenizer)
    if split == "tokens":
        return lambda given: Passage(given, tuple(encoder.spans(given)))
    return lambda given: encoder.passage(given, encoder.encoded([given])[0])
