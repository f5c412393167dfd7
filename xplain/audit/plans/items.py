"""``items.parquet``: number, name, digest, label and metadata of every item; written once, read by row groups."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.canonical import file_sha256, needed, sha256_of
from xplain.audit.plans.labels import Joined
from xplain.audit.sources import Content, Entry, Source
from xplain.audit.sources.columns import EMPTY
from xplain.audit.sources.entries import SUFFIXES
from xplain.audit.stores.schema import ITEMS, Column, read_parquet, schema_of
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.keeping.files import there, whole_file

__all__ = [
    "GROUP",
    "PLACES",
    "ItemTable",
    "Listed",
    "columns_apart",
    "content_sha256",
    "whole",
    "write_items",
]

GROUP = 16384
"""Items of a row group: what is held at a time."""

PLACES = (
    Column("file", "int32", "in which of the source's files the item lies"),
    Column("at", "int64", "row or offset in it"),
    Column("size", "int64", "bytes from there; -1 where that is not known"),
)

_MOST_LABELS = 100_000


@dataclass(frozen=True, slots=True)
class Listed:
    """What was written.

    Args:
        sha256: Of ``items.parquet``.
        count: How many items.
        labels: Label to the number of items that have it.
        unreadable: Items whose content could not be read.
        empty: Items without a byte.
        told: Sentences on what was left out.
    """

    sha256: str
    count: int
    labels: Mapping[str, int]
    unreadable: int
    empty: int
    told: tuple[str, ...]


def content_sha256(content: Content) -> tuple[int, str]:
    """Size and sha256 of an item's content; an array's are of its type, shape and values."""
    if isinstance(content, np.ndarray):
        values = np.ascontiguousarray(content, content.dtype.newbyteorder("<"))
        head = f"{values.dtype.str} {list(values.shape)} ".encode()
        return values.nbytes, sha256_of(head + values.tobytes())
    return len(content), sha256_of(content)


def write_items(source: Source, beside: Joined, items: Path, places: Path, threads: int = 4) -> Listed:
    """List, read and hash every item once, and write ``items.parquet``, with memory for one row group.

    Args:
        source: The items.
        beside: Labels and metadata from elsewhere.
        items: ``items.parquet``.
        places: Where each item lies in the source's files; written only for sources that need it.
        threads: Files that are hashed at once.

    Raises:
        UsageError: there are no items, or two of one name.
        OutputError: the files cannot be written.
    """
    columns = {**source.metadata, **(beside.columns or {})}
    if len(columns) != len(source.metadata) + len(beside.columns or {}):
        twice = set(source.metadata) & set(beside.columns or {})
        raise UsageError(f"Two tables have metadata of one name: {', '.join(sorted(twice))}.", option="metadata")
    parquet = needed("pyarrow.parquet")
    count, labels, unreadable, empty = 0, Counter[str](), 0, 0
    with whole_file(items) as file, whole_file(places) as lying:
        schema, where = schema_of(ITEMS, columns), schema_of(PLACES)
        with (
            parquet.ParquetWriter(file, schema, compression="zstd") as writer,
            parquet.ParquetWriter(lying, where, compression="zstd") as second,
        ):
            for group in _grouped(_hashed(source, threads)):
                rows = [_row(count + k, one, beside) for k, one in enumerate(group)]
                writer.write_table(_table(rows, schema), row_group_size=GROUP)
                second.write_table(_table([[e.file, e.at, e.size] for e, _, _ in group], where), row_group_size=GROUP)
                count += len(rows)
                unreadable += sum(size < 0 for _, size, _ in group)
                empty += sum(size == 0 for _, size, _ in group)
                labels.update(row[4] for row in rows if row[4] is not None)
                if len(labels) > _MOST_LABELS:
                    raise UsageError(f"The labels have more than {_MOST_LABELS:,} values: no labels of classes.")
        if not count:
            told = " ".join(source.told) or "It is empty."
            raise UsageError(
                f"There is nothing to audit: {_called(source)} holds no item. {told} Names of items end in "
                f"{', '.join(getattr(source, 'endings', SUFFIXES))}.",
                option="items",
            )
    if not source.placed:
        places.unlink()
    if not source.unique:
        _refuse_twins(items)
    return Listed(
        file_sha256(items),
        count,
        dict(sorted(labels.items())),
        unreadable,
        empty,
        (*source.told, *_empty(items, columns)),
    )


def _empty(items: Path, metadata: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each column of metadata in which no item has a value."""
    with needed("pyarrow.parquet").ParquetFile(items) as file:
        facts, schema = file.metadata, file.schema_arrow
        groups = [facts.row_group(k) for k in range(facts.num_row_groups)]
        found = []
        for name in metadata:
            place = schema.get_field_index(name)
            told = [group.column(place).statistics for group in groups]
            gaps = [one.null_count if one is not None and one.has_null_count else -1 for one in told]
            if str(schema.field(place).type) == EMPTY or gaps == [group.num_rows for group in groups]:
                found.append(f"Column {name!r} is empty: no item has a value there, so nothing is compared by it.")
    return tuple(found)


def columns_apart(was: Path, now: Path) -> str:
    """How the columns of two tables of items differ, in words; empty where they do not, or one is not there."""
    parquet = needed("pyarrow.parquet")
    if there(was) != "file" or there(now) != "file":
        return ""
    before, after = ({one.name: str(one.type) for one in parquet.read_schema(path)} for path in (was, now))
    said = [f"column {name!r} was {before[name]} and is {after[name]}" for name in before if name in after
            and before[name] != after[name]]  # fmt: skip
    said += [f"column {name!r} is gone" for name in before if name not in after]
    said += [f"column {name!r} is new" for name in after if name not in before]
    return "; ".join(said[:_MOST_TOLD]) + (f"; and {len(said) - _MOST_TOLD} more" if len(said) > _MOST_TOLD else "")


_MOST_TOLD = 6


def _called(source: Source) -> str:
    """A source as a person named it: its kind, and where it lies."""
    told = source.recipe()
    place = [str(told[name]) for name in ("root", "pattern", "path", "name") if told.get(name)]
    place += [str(one) for one in told.get("paths", ())][:1]
    return f"{source.kind} {'/'.join(place)!r:.300}" if place else source.kind


def _hashed(source: Source, threads: int) -> Iterator[tuple[Entry, int, str]]:
    """Entries with size and digest, in order; a few are read ahead, for hashing and disks wait on one another."""

    def one(entry: Entry) -> tuple[Entry, int, str]:
        try:
            entry.name.encode()
            return (entry, *content_sha256(source.content(entry.name, entry.file, entry.at, entry.size)))
        except (XplainError, UnicodeEncodeError):
            return entry, -1, ""

    waiting: deque[Future[tuple[Entry, int, str]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for entry in source.entries():
            waiting.append(pool.submit(one, entry))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _grouped(found: Iterator[tuple[Entry, int, str]]) -> Iterator[list[tuple[Entry, int, str]]]:
    group: list[tuple[Entry, int, str]] = []
    for one in found:
        group.append(one)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def _row(number: int, found: tuple[Entry, int, str], beside: Joined) -> list[Any]:
    entry, size, sha256 = found
    name = entry.name.encode("utf-8", "backslashreplace").decode()
    label = entry.label if beside.label is None else beside.label(number, entry.name)
    return [number, name, size, sha256, label, entry.split, *entry.more, *beside.more(entry.name)]


def _table(rows: Sequence[Sequence[Any]], schema: Any) -> Any:
    pa = needed("pyarrow")
    columns = zip(*rows, strict=True)
    made = [pa.array(list(one), field.type, from_pandas=True) for one, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(made, schema=schema)


def _refuse_twins(items: Path) -> None:
    """Names are what items are known by in a table and a report."""
    pc = needed("pyarrow.compute")
    names = read_parquet(items, ["name"])["name"]
    if pc.count_distinct(names).as_py() == len(names):
        return
    counts = pc.value_counts(names)
    twice = [one["values"] for one in counts.filter(pc.greater(counts.field("counts"), 1)).slice(0, 3).to_pylist()]
    items.unlink()
    raise UsageError(
        f"Items are known by their names, and some stand twice, such as {', '.join(map(repr, twice))[:300]}. Give each "
        "once.",
        option="items",
    )


def whole(items: Iterable[Any]) -> Array:
    """Numbers of items as int64 ``[N]``.

    Raises:
        UsageError: one is no whole number.
    """
    given = items if isinstance(items, np.ndarray) or not isinstance(items, Iterable) else list(items)
    try:
        found = np.asarray(given)
    except ValueError:  # lists of several lengths
        found = np.asarray(None)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise UsageError(option="items", got=given, accepted="whole numbers of items, in a list")
    return found.astype(np.int64)


class ItemTable:
    """``items.parquet``, read where it is needed.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        parquet = needed("pyarrow.parquet")
        try:
            with parquet.ParquetFile(self.path) as file:
                facts = file.metadata
                self.count = facts.num_rows
                self.names = file.schema_arrow.names
                sizes = [facts.row_group(k).num_rows for k in range(file.num_row_groups)]
        except (needed("pyarrow").ArrowInvalid, OSError) as error:
            raise UsageError(f"{self.path} cannot be read: {str(error)[:200]}. Take it from a copy.") from None
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._kept: dict[tuple[int, tuple[str, ...]], Any] = {}

    def __len__(self) -> int:
        return int(self.count)

    def rows(self, numbers: Sequence[int] | range, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """Columns of some items, in the order asked: ``{name: values}``; reads the row groups that they lie in."""
        wanted = whole(numbers)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self.count):
            raise UsageError(
                f"Items are numbered 0 to {self.count - 1}", option="items", got=[int(n) for n in wanted[:8]]
            )
        names = tuple(self.names if columns is None else columns)
        made: dict[str, list[Any]] = {name: [None] * len(wanted) for name in names}
        groups = np.searchsorted(self._starts, wanted, side="right") - 1
        for group in np.unique(groups):
            places = np.flatnonzero(groups == group)
            table = self._group(int(group), names).take(wanted[places] - self._starts[group])
            for name in names:
                for place, value in zip(places, table[name].to_pylist(), strict=True):
                    made[name][place] = value
        return made

    def _group(self, number: int, names: tuple[str, ...]) -> Any:
        key = (number, names)
        kept = self._kept.get(key)
        if kept is None:
            with needed("pyarrow.parquet").ParquetFile(self.path) as file:
                kept = file.read_row_group(number, columns=list(names))
            self._kept = {key: kept}  # the last one alone: shards lie in order
        return kept
