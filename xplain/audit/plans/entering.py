"""Rows and texts on their way into a plan: their source, and the models that read them as the plan states it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xplain.audit.plans.doors import Door, background_rows, columns_of, drawn_rows, given_of, reading, reference_of
from xplain.audit.plans.models import Given
from xplain.audit.shards.reading import Data
from xplain.audit.sources import ROWS, Source
from xplain.audit.sources.folder import Folder
from xplain.audit.sources.hub import PREFIX, Datasets
from xplain.audit.sources.rows import rows_of_items, text_column
from xplain.audit.sources.series import patterns_of, series_of
from xplain.core.errors import UsageError, XplainError
from xplain.core.keeping.files import there
from xplain.session.entering import entered

__all__ = ["entered_items", "entered_series", "through"]

_TEXT_FILES = (".txt",)


def entered_items(
    items: Any,
    door: Door,
    folder: Path,
    given: Sequence[Given],
    item_column: str | None = None,
    label_column: str | None = None,
) -> tuple[Source, Door]:
    """The source of rows or texts, kept in the audit's folder, and the door with the columns that are meant.

    Texts may also be files that end in ``.txt`` below a folder, or a column of a dataset of Hugging Face.

    Raises:
        UsageError: they are no rows or texts, or it is not known which columns are meant.
    """
    named = os.fspath(items) if isinstance(items, (str, os.PathLike)) else ""
    if door.kind == "texts" and named and there(named) == "folder":
        return Folder(named, _TEXT_FILES), door
    if named.startswith(PREFIX):
        if door.kind == "rows" or door.column is None:
            raise UsageError(
                "Of a dataset of Hugging Face texts are taken, of a column that is named; rows from a .parquet file of "
                "it.", option="items", got=named,
            )  # fmt: skip
        return Datasets(named, door.column, label_column), door
    source = rows_of_items(items, door.kind, item_column, label_column)
    if door.kind == "texts":
        source.keep([text_column(source.names, door.column)], folder / ROWS)
        return source, door
    columns = columns_of(door, [(one.source, one.options) for one in given], source.names)
    source.keep(columns, folder / ROWS)
    return source, replace(door, columns=columns)


def entered_series(
    items: Any,
    series: Any,
    door: Door | None,
    folder: Path,
    given: Given,
    item_column: str | None = None,
    label_column: str | None = None,
) -> Source:
    """The source of series that are columns of a table, kept in the audit's folder as the first model takes them.

    Raises:
        UsageError: rows or texts are asked for too, or the columns do not make a series of the model's.
    """
    if door is not None:
        raise UsageError(f"Items are series or {door.kind}, not both. Plan an audit for each.", option="series")
    patterns = patterns_of(series)
    return series_of(rows_of_items(items, "series", item_column, label_column), patterns, given.axes(), folder)


def through(given: Sequence[Given], door: Door, data: Data, seed: int) -> list[Given]:
    """The models, each with how it reads the items: what the plan says of it.

    Raises:
        UsageError: no row can be read, or no text.
    """
    facts: dict[str, Any] = {"kind": door.kind, **door.facts}
    if door.kind == "rows":
        facts |= {"columns": list(door.columns), "reference": _reference(door, data, seed)}
    made = [replace(one, door=facts, options={**door.options, **one.options}) for one in given]
    if door.kind == "texts":
        facts |= {"longest": door.longest}
        most = max(_longest(one, facts, data, door.longest) for one in made)
        made = [replace(one, door={**facts, "features": most}) for one in made]
    return made


def _reference(door: Door, data: Data, seed: int) -> dict[str, list[Any]]:
    """Reference rows: typical ones that were given, else some of the items, which the seed draws."""
    if door.background is not None:
        return reference_of(background_rows(door.background, door.columns, seed), door.columns)
    rows = []
    for item in data.planned(drawn_rows(len(data), seed)):
        content = data.content(item)
        if not isinstance(content, str):
            rows.append(given_of(content, "rows"))
    if not rows:
        raise UsageError("No row of the table can be read.", option="items")
    return reference_of(rows, door.columns)


def _longest(one: Given, facts: dict[str, Any], data: Data, most: int) -> int:
    """Features of the longest text that a model takes, up to the most that are."""
    model = reading(one.source, facts, one.options)
    found = 1
    for start in range(0, len(data), 4096):
        for item in data.planned(range(start, min(start + 4096, len(data)))):
            content = data.content(item)
            if isinstance(content, str):
                continue
            try:
                wide = int(entered(model, [given_of(content, "texts")], None)[1].x.shape[1])
            except XplainError:  # an item that becomes an error row
                continue
            found = max(found, wide) if wide <= most else found
    return found
