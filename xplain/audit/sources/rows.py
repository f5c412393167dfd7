"""Rows of a table, and texts, as items: kept in the audit's folder as Parquet, so that any can be read at any time.

A row's content is the JSON of the columns that the models take, a text's its UTF-8 bytes: their digests name them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.canonical import canonical, needed
from xplain.audit.sources.columns import EMPTY, Sheet, free_name
from xplain.audit.sources.entries import Content, Entry
from xplain.audit.sources.tables import read_csv
from xplain.core.declaring.wording import option
from xplain.core.errors import ItemError, UsageError
from xplain.core.keeping.files import there, whole_file

__all__ = ["ROWS", "KeptRows", "RowsOf", "plain_rows", "rows_of_items", "sheet_of", "text_column"]

ROWS = "rows.parquet"
"""The file in an audit's folder that holds rows or texts."""
_GROUP = 4096
_HEADS = ("text", "texts", "sentence", "review", "comment", "content", "message")


def sheet_of(given: Any, called: str = "items") -> Sheet:
    """A table of plain columns as it came: a file, a frame, columns by name, rows as mappings, or texts.

    Raises:
        UsageError: it is none of these.
    """
    pa = needed("pyarrow")
    if isinstance(given, (str, os.PathLike)):
        return _in_file(Path(given), called)
    try:
        if hasattr(given, "iloc"):  # a DataFrame, without importing pandas
            return Sheet(pa.Table.from_pandas(given, preserve_index=False), loose=False)
        if isinstance(given, Mapping):
            columns = {str(name): pa.array(_listed(values)) for name, values in given.items()}
            return Sheet(pa.table(columns), loose=False)
        listed = list(given) if isinstance(given, Iterable) and not isinstance(given, bytes) else None
        if listed and all(isinstance(one, Mapping) for one in listed):
            return Sheet(pa.Table.from_pylist([dict(one) for one in listed]), loose=False)
        if listed and all(isinstance(one, str) for one in listed):
            return Sheet(pa.table({"text": pa.array(listed, pa.string())}), loose=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise UsageError(f"The rows are no table: {str(error)[:200]}.", option=called) from None
    raise UsageError(
        option=called,
        got=given,
        accepted="a table (.csv, .tsv, .parquet), a DataFrame, columns by name, rows, or texts",
    )


def _in_file(path: Path, called: str) -> Sheet:
    ending = path.suffix.lower()
    if there(path) != "file":
        raise UsageError(f"There is no file {str(path)!r:.300}.", option=called, got=str(path))
    if ending in (".csv", ".tsv"):
        return Sheet(read_csv(path), loose=True)
    if ending not in (".parquet", ".pq"):
        raise UsageError(option=called, got=str(path), accepted="a table: .csv, .tsv or .parquet")
    try:
        with needed("pyarrow.parquet").ParquetFile(path) as file:
            return Sheet(file.read(use_threads=False), loose=False)
    except (needed("pyarrow").ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} is no Parquet file: {str(error)[:200]}.") from None


def _listed(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) and values.dtype != object else list(values)


def plain_rows(table: Any) -> list[dict[str, Any]]:
    """Rows as mappings of plain values: None for what is missing, whole numbers beside gaps as numbers with a point."""
    types = needed("pyarrow.types")
    pointed = {f.name for f in table.schema if types.is_floating(f.type)}
    rows = table.to_pylist()
    for row in rows:
        for name in pointed:
            value = row[name]
            row[name] = None if value is None or value != value else value
    return rows  # type: ignore[no-any-return]


def text_column(names: Sequence[str], wanted: str | None) -> str:
    """The column that holds texts: the one that is wanted, else the only one that is called like one.

    Raises:
        UsageError: there is none, or several are called so.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        raise UsageError(f"The items have no column {wanted!r}", option="texts", got=wanted, accepted=", ".join(names))
    found = [name for name in names if name.strip().lower() in _HEADS]
    if len(found) == 1 or len(names) == 1:
        return (found or list(names))[0]
    raise UsageError(
        f"It is not known which column holds the texts: the table has {', '.join(names)[:300]}.",
        option="texts",
        advice=("Say which with ", option("texts", (found or list(names))[0]), "."),
    )


def rows_of_items(items: Any, kind: str, item_column: str | None, label: str | None) -> RowsOf:
    """The rows, or texts, that a person names.

    Args:
        items: A table as a file, a frame, columns by name, rows as mappings, or texts.
        kind: ``rows``, ``texts`` or ``series``.
        item_column: Which column names the rows.
        label: Which column holds labels; None for one called ``label``.

    Raises:
        UsageError: it is no table, is empty, or lacks a column.
    """
    sheet = sheet_of(items)
    names = sheet.names
    if not sheet.rows or not names:
        raise UsageError("There is nothing to audit: the table has no rows.", option="items")
    for what, wanted in (("labels", label), ("item_column", item_column)):
        if wanted is not None and wanted not in names:
            raise UsageError(f"The items have no column {wanted!r}", option=what, got=wanted, accepted=", ".join(names))
    roles = {"label": label or "label", "split": "split", "name": "" if item_column is None else item_column}
    return RowsOf(kind, sheet, {role: name for role, name in roles.items() if name in names})


class RowsOf:
    """A table whose rows are items, while an audit is planned.

    Args:
        kind: ``rows``, ``texts`` or ``series``.
        sheet: The table.
        roles: Names of the columns that hold the label, the split and an item's name, under these words.
    """

    placed = True
    unique = False

    def __init__(self, kind: str, sheet: Sheet, roles: Mapping[str, str]) -> None:
        self.kind, self.sheet, self._roles = kind, sheet, dict(roles)
        self._kept: KeptRows | None = None
        self._more, self._left = sheet.columns([name for name in sheet.names if name not in self._roles.values()])

    def keep(self, columns: Sequence[str], path: Path) -> None:
        """Write what items are made of; after that they can be read.

        Raises:
            UsageError: a model's column is empty, or holds neither numbers, texts nor truth values.
        """
        texts = self.kind == "texts"
        made = {name: self.sheet.texts(name) if texts else self._of_model(name) for name in columns}
        with whole_file(path) as file:
            needed("pyarrow.parquet").write_table(
                needed("pyarrow").table(made), file, compression="zstd", row_group_size=_GROUP
            )
        if texts:
            self.leave(columns)
        self._kept = KeptRows(path, self.kind)

    def leave(self, columns: Sequence[str]) -> None:
        """Some columns are what items hold, and no metadata."""
        self._more = {name: column for name, column in self._more.items() if name not in columns}
        self._left = [name for name in self._left if name not in columns]

    def _of_model(self, name: str) -> Any:
        pa, types = needed("pyarrow"), needed("pyarrow.types")
        column = self.sheet.column(name)
        if column is None:
            raise UsageError(
                f"Column {name!r} holds {self.sheet.table[name].type}; accepted in a model's columns: numbers, texts, "
                "truth values."
            )
        if str(column.type) == EMPTY:
            raise UsageError(
                f"Column {name!r}, which the model takes, is empty: no row has a value, so it is not known whether it "
                "holds numbers or texts. Give the rows as Parquet or as a DataFrame, which say it, or fill the column."
            )
        return column.cast(pa.float64()) if types.is_integer(column.type) and column.null_count else column

    @property
    def names(self) -> list[str]:
        """Columns that are no label, split or name."""
        return [name for name in self.sheet.names if name not in self._roles.values()]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The other columns, and those of a model of rows too: groups are compared by them."""
        return {free_name(name): str(column.type) for name, column in self._more.items()}

    @property
    def told(self) -> tuple[str, ...]:
        """Columns that cannot be kept."""
        return (f"Columns of lists or records were left out: {', '.join(self._left)[:200]}.",) if self._left else ()

    def entries(self) -> Iterator[Entry]:
        """A row after another."""
        texts = {role: self.sheet.texts(name) for role, name in self._roles.items()}
        for start in range(0, self.sheet.rows, _GROUP):
            told = {role: column.slice(start, _GROUP).to_pylist() for role, column in texts.items()}
            more = [column.slice(start, _GROUP).to_pylist() for column in self._more.values()]
            for k in range(min(_GROUP, self.sheet.rows - start)):
                row = start + k
                name, label, split = (told[role][k] if role in told else None for role in ("name", "label", "split"))
                yield Entry(name or f"{row:09d}", 0, row, -1, label, split, tuple(one[k] for one in more))

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """A row's content."""
        assert self._kept is not None
        return self._kept.content(name, file, at, size)

    def recipe(self) -> dict[str, Any]:
        """Its kind: the rows lie in the audit's own folder."""
        return {"kind": self.kind}


class KeptRows:
    """The rows or texts that an audit's folder holds, read a group at a time.

    Args:
        path: The file.
        kind: ``rows`` or ``texts``.
    """

    placed = True
    unique = False
    told: tuple[str, ...] = ()

    def __init__(self, path: Path, kind: str) -> None:
        self.kind, self._path = kind, path
        try:
            with needed("pyarrow.parquet").ParquetFile(path) as file:
                facts = file.metadata
                sizes = [facts.row_group(k).num_rows for k in range(file.num_row_groups)]
        except (needed("pyarrow").ArrowInvalid, OSError) as error:
            raise UsageError(f"{path} cannot be read: {str(error)[:200]}. Take it from a copy.") from None
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._last: tuple[int, Any] = (-1, None)

    @property
    def metadata(self) -> Mapping[str, str]:
        """None: they stand in the audit's items."""
        return {}

    def entries(self) -> Iterator[Entry]:
        """None: they were listed."""
        return iter(())

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """The JSON of a row's columns, or the bytes of a text.

        Raises:
            ItemError: there is none, or it cannot be read any more.
        """
        group = int(np.searchsorted(self._starts, at, side="right")) - 1
        (row,) = plain_rows(self._group(group).slice(at - int(self._starts[group]), 1))
        if self.kind == "rows":
            try:
                return canonical(row)
            except ValueError:
                raise ItemError("A value of the row is infinite.") from None
        (text,) = row.values()
        if text is None:
            raise ItemError("The row holds no text.")
        return str(text).encode()

    def recipe(self) -> dict[str, Any]:
        """Its kind."""
        return {"kind": self.kind}

    def _group(self, number: int) -> Any:
        """One row group: neighbours are read once. A reader of its own, for threads share none."""
        last = self._last
        if last[0] != number:
            try:
                with needed("pyarrow.parquet").ParquetFile(self._path) as file:
                    table = file.read_row_group(number, use_threads=False).combine_chunks()
            except (needed("pyarrow").ArrowInvalid, OSError) as error:
                raise ItemError(f"The rows cannot be read: {str(error)[:100]}.") from None
            last = self._last = (number, table)
        return last[1]
