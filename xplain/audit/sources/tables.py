"""Tables: CSV files that name pictures, and Parquet files that name or hold them, with labels and metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.canonical import needed
from xplain.audit.sources.columns import Sheet, free_name
from xplain.audit.sources.entries import MOST_BYTES, Content, Entry, file_content
from xplain.core.declaring.wording import option
from xplain.core.errors import ItemError, PictureError, UsageError
from xplain.core.keeping.files import there

__all__ = ["CsvTable", "ParquetTable", "item_column", "read_csv"]

_HEADS = ("file", "filename", "name", "path", "picture", "image", "item")


def item_column(names: Sequence[str], wanted: str | None, where: str) -> str:
    """The column that names the items: the one that is wanted, else the only one that is called like one.

    Raises:
        UsageError: there is none, or several are called so.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        raise UsageError(
            f"{where} has no column {wanted!r}", option="item_column", got=wanted, accepted=", ".join(names)
        )
    found = [name for name in names if name.strip().lower() in _HEADS]
    if len(found) == 1:
        return found[0]
    why = f"has several that may: {', '.join(found)}" if found else f"has {', '.join(names)[:200]}"
    raise UsageError(
        f"It is not known which column of {where} names the items: it {why}.",
        option="item_column",
        advice=("Say which with ", option("item_column", (found or list(names))[0]), ".", *(() if found else _OTHERS)),
    )


_OTHERS = (" Are its rows themselves the items? Give ", option("rows", True), ", or ", option("texts", "COLUMN"), ".")


def read_csv(path: Path) -> Any:
    """A CSV file as a ``pyarrow.Table`` of texts, None where a cell is empty; a ``Sheet`` says what its columns hold.

    Raises:
        UsageError: it is no table.
    """
    pa, csv = needed("pyarrow"), needed("pyarrow.csv")
    if there(path) != "file":
        raise UsageError(f"There is no file {str(path)!r:.300}.")
    parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    try:
        with path.open("rb") as file:
            head = csv.open_csv(file, parse_options=parse).schema
        if len(set(head.names)) != len(head.names):
            raise UsageError(f"{path} has two columns of one name: {', '.join(head.names)[:200]}.")
        table = csv.read_csv(
            path,
            parse_options=parse,
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in head.names}, null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is no table: {str(error)[:200]}.") from None
    return table


class CsvTable:
    """A table whose rows name files, relative to its folder, in its order.

    Args:
        path: The table, with a head.
        item: The column that names files; None for the only one that is called like one.
        label: The column of labels; None for one called ``label``, if there is one.
        root: What names are relative to; None for the table's folder.
    """

    kind = "csv"
    placed = False
    unique = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        item: str | None = None,
        label: str | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named
        self.root = self.path.parent if root is None else Path(os.path.abspath(root))  # noqa: PTH100
        self._sheet = self._read()
        names = self._sheet.names
        self.item = item_column(names, item, str(path))
        self.label = _named(names, label, "label", str(path))
        self._split = "split" if "split" in names else None
        used = {self.item, self.label, self._split}
        self._more, self._left = self._sheet.columns([name for name in names if name not in used])

    def _read(self) -> Sheet:
        return Sheet(read_csv(self.path), loose=True)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Its other columns."""
        return {free_name(name): str(column.type) for name, column in self._more.items()}

    @property
    def told(self) -> tuple[str, ...]:
        """Columns that cannot be kept."""
        return (f"Columns of lists or records were left out: {', '.join(self._left)[:200]}.",) if self._left else ()

    def entries(self) -> Iterator[Entry]:
        """A row after another.

        Raises:
            UsageError: a row names nothing.
        """
        names = [self.item, *filter(None, (self.label, self._split))]
        columns = [self._sheet.texts(name) for name in names]
        more = list(self._more.values())
        step = 4096
        for start in range(0, self._sheet.rows, step):
            rows = [column.slice(start, step).to_pylist() for column in columns]
            told = [column.slice(start, step).to_pylist() for column in more]
            for k, name in enumerate(rows[0]):
                yield self._entry(start + k, name, [one[k] for one in rows[1:]], tuple(one[k] for one in told))

    def _entry(self, row: int, name: str | None, said: list[Any], more: tuple[Any, ...]) -> Entry:
        if name is None or not name.strip():
            raise UsageError(f"Row {row + 1} of {self.path} names no item in column {self.item!r}.")
        label = said.pop(0) if self.label else None
        split = said.pop(0) if self._split else None
        return Entry(self._relative(name.strip()), 0, row, -1, label, split, more)

    def _relative(self, name: str) -> str:
        whole = os.path.normpath(self.root / name)
        return Path(os.path.relpath(whole, self.root)).as_posix()

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """The content of the file that a row names."""
        return file_content(self.root, name)

    def recipe(self) -> dict[str, Any]:
        """The table, and which columns are meant."""
        told = {"path": str(self.path), "root": str(self.root), "item": self.item, "label": self.label}
        return {"kind": self.kind, **told}


class ParquetTable(CsvTable):
    """A Parquet file whose rows name files, as a CSV table's do, or hold them.

    Rows that hold them have a column of bytes, of ``{bytes, path}`` as Hugging Face writes them, or of lists of
    numbers, which are tensors of one axis. It is then read by rows, and its items are called by their paths or numbers.
    """

    kind = "parquet"

    def __init__(
        self,
        path: str | os.PathLike[str],
        item: str | None = None,
        label: str | None = None,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(path, item, label, root)
        held = [one.name for one in self._schema if _holds(one.type) and one.name in self._more]
        self._left += held  # whose rows' names stand in their place
        self._more = {name: column for name, column in self._more.items() if name not in held}
        self.placed = _holds(self._schema.field(self.item).type)
        if self.placed:
            self._rows = ParquetRows(self.path, self.item)

    def _read(self) -> Sheet:
        """All columns that name or describe; those that hold items stay on the disk."""
        pa, parquet = needed("pyarrow"), needed("pyarrow.parquet")
        try:
            with parquet.ParquetFile(self.path) as file:
                self._schema = file.schema_arrow
                plain = [one.name for one in self._schema if not _holds(one.type)]
                table = file.read(columns=plain)
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(f"{self.path} is no Parquet file: {str(error)[:200]}.") from None
        for one in self._schema:
            if _holds(one.type):  # its place among the names, so that it can be the one that is meant
                table = table.append_column(one.name, pa.array(map(_row_name, range(table.num_rows)), pa.string()))
        return Sheet(table, loose=False)

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """What a row holds, or the content of the file that it names."""
        return self._rows.content(at) if self.placed else super().content(name, file, at, size)

    def recipe(self) -> dict[str, Any]:
        """The table, which columns are meant, and whether its rows hold the items."""
        return {**super().recipe(), "placed": self.placed}


class ParquetRows:
    """The items that a Parquet file's rows hold, read a row group at a time."""

    def __init__(self, path: str | os.PathLike[str], item: str) -> None:
        self.path, self.item = Path(path), item
        try:
            with needed("pyarrow.parquet").ParquetFile(self.path) as file:
                facts = file.metadata
                sizes = [facts.row_group(k).num_rows for k in range(file.num_row_groups)]
        except (needed("pyarrow").ArrowInvalid, OSError) as error:
            raise UsageError(f"{self.path} is no Parquet file: {str(error)[:200]}.") from None
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._kept: tuple[int, Any] = (-1, None)

    def content(self, row: int) -> Content:
        """What a row holds.

        Raises:
            PictureError, ItemError: nothing that is an item.
        """
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        value = self._group(group)[row - int(self._starts[group])].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if value is None:
            raise PictureError("The row holds nothing.")
        if isinstance(value, bytes):
            if len(value) > MOST_BYTES:
                raise PictureError(f"It has {len(value):,} bytes; accepted: up to {MOST_BYTES:,}.")
            return value
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise ItemError("The row holds a list with gaps.")
        return array.astype(np.float32) if array.dtype == np.float64 else array

    def _group(self, number: int) -> Any:
        """The items of one row group: neighbours are read once. A reader of its own, for threads share none."""
        kept = self._kept
        if kept[0] != number:
            try:
                with needed("pyarrow.parquet").ParquetFile(self.path) as file:
                    column = file.read_row_group(number, columns=[self.item])[self.item].combine_chunks()
            except (needed("pyarrow").ArrowInvalid, OSError) as error:
                raise PictureError(f"The table cannot be read: {str(error)[:100]}.") from None
            kept = self._kept = (number, column)  # one name for both: no thread sees one's number with another's rows
        return kept[1]


class ReadRows:
    """A table's items, for reading alone: what ``ParquetTable`` is once its rows are listed."""

    kind = "parquet"
    placed = True
    unique = False
    told: tuple[str, ...] = ()

    def __init__(self, path: str, item: str) -> None:
        self._rows, self._said = ParquetRows(path, item), {"path": path, "item": item}

    @property
    def metadata(self) -> Mapping[str, str]:
        """None: they stand in the audit's items."""
        return {}

    def entries(self) -> Iterator[Entry]:
        """None: they were listed."""
        return iter(())

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """What a row holds."""
        return self._rows.content(at)

    def recipe(self) -> dict[str, Any]:
        """The table."""
        return {"kind": self.kind, **self._said, "placed": True}


def _holds(kind: Any) -> bool:
    """Whether values of this type are items themselves."""
    types = needed("pyarrow.types")
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if lists:
        return bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _row_name(row: int) -> str:
    return f"{row:09d}"


def _named(names: Sequence[str], wanted: str | None, usual: str, where: str) -> str | None:
    if wanted is None:
        return usual if usual in names else None
    if wanted in names:
        return wanted
    raise UsageError(f"{where} has no column {wanted!r}", option="labels", got=wanted, accepted=", ".join(names))
