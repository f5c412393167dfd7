"""Vectors in one Parquet file, which is written when all are there, and what it says of them.

| column | holds |
|---|---|
| ``name`` | what the item is called: a file by its path |
| ``key`` | of its content, where that is known |
| ``predicted``, ``truth``, ``confidence`` | what is known of it |
| ``vector`` | float32, a list of D numbers |

The file's metadata hold JSON under ``xplain``: ``about``, what the vectors are, as in a folder's manifest; ``failed``,
the items without a vector, and why; and whatever else was found. A file is read as a folder of vectors is: its
manifest, a line per item, and an array, which a file without a name holds where it is larger than 64 MiB.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.keeping.files import there, whole_file
from xplain.core.keeping.mapped import room

__all__ = ["is_table", "needed_for_tables", "table_in", "write_table"]

_GROUP = 8192  # rows that are written, and read, together
_KNOWN = frozenset({"name", "key", "predicted", "truth", "confidence"})
_MOST_FAILED = 10_000  # items without a vector that are named: metadata are read whole


def is_table(path: Any) -> bool:
    """Whether a path is that of a Parquet file, by its name."""
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix == ".parquet"


def needed_for_tables() -> tuple[Any, Any]:
    """Modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        MissingDependency: they are not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingDependency("Parquet files need pyarrow: pip install 'xplain[see]'.") from None
    return pa, parquet


def write_table(
    path: str | os.PathLike[str],
    about: Mapping[str, Any],
    lines: Iterable[Mapping[str, Any]],
    vectors: Array,
    failed: Iterable[tuple[str, str]] = (),
    found: Mapping[str, Any] | None = None,
) -> Path:
    """Write vectors as one Parquet file, whole or not at all; in groups of 8,192, so memory does not grow with them.

    Args:
        path: The file.
        about: What the vectors are, as a folder's manifest says it.
        lines: What is known of each item, as the lines of a folder: ``name``, ``key``, ``row`` ...; those without a
            row are left out.
        vectors: float32 ``[N, D]``, mapped or not.
        failed: Items without a vector, and why.
        found: What else is written in the metadata.

    Raises:
        MissingDependency: pyarrow is not installed.
        OutputError: the place cannot be written.
    """
    pa, parquet = needed_for_tables()
    width = vectors.shape[1]
    columns = [("name", pa.string()), ("key", pa.string()), ("predicted", pa.string()), ("truth", pa.string())]
    columns += [("confidence", pa.float64()), ("vector", pa.list_(pa.float32(), width))]
    told = {"model": about.get("model", ""), **(found or {}), "about": {**about, "width": width}}
    told["failed"] = list(islice(failed, _MOST_FAILED))
    schema = pa.schema(columns, metadata={"xplain": json.dumps(told)})
    rest, target = (line for line in lines if line.get("row") is not None), Path(path)
    with whole_file(target) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(islice(rest, _GROUP)):
            flat = np.ascontiguousarray(vectors[[line["row"] for line in some]], np.float32).reshape(-1)
            texts = [[_text(line.get(name)) for line in some] for name in ("name", "key", "predicted", "truth")]
            scores = pa.array([line.get("confidence") for line in some], pa.float64())
            made = [*(pa.array(one, pa.string()) for one in texts), scores]
            made.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), width))
            writer.write_table(pa.Table.from_arrays(made, schema=schema))
    return target


def table_in(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Iterator[dict[str, Any]], Array]:
    """What a Parquet file of vectors holds, as ``vectors_in`` tells it of a folder.

    Raises:
        UsageError: it is no Parquet file that ``see embed`` wrote, or its vectors do not fit on the disk.
        MissingDependency: pyarrow is not installed.
    """
    if there(path) != "file":
        raise UsageError(f"There is no file {os.fspath(path)!r:.300}; 'xplain see embed' writes vectors to one.")
    with _opened(path) as file:
        told, width, count = _told(file, path)
        vectors = _filled(file, (count, width), path)

    def lines() -> Iterator[dict[str, Any]]:
        row = 0
        with _opened(path) as file:
            columns = [name for name in file.schema_arrow.names if name in _KNOWN]
            for batch in file.iter_batches(_GROUP, columns=columns, use_threads=False):
                for line in batch.to_pylist():
                    yield {**line, "name": line["name"] or "", "key": line.get("key") or "", "row": row}
                    row += 1
        for name, error in told.get("failed", ()):
            yield {"name": name, "key": "", "row": None, "error": error}

    return told["about"], lines(), vectors


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A Parquet file, open; what is wrong with it is told as an error of ours."""
    pa, parquet = needed_for_tables()
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{os.fspath(path)!r:.300} is no Parquet file that can be read: {str(error)[:200]}.") from None


def _text(value: Any) -> str | None:
    """A text that a Parquet file may hold; the odd bytes of a file's name are written out."""
    return value.encode("utf-8", "backslashreplace").decode() if value else None


def _told(file: Any, path: Any) -> tuple[dict[str, Any], int, int]:
    """What the metadata say, the width of a vector, and how many there are."""
    pa, schema = needed_for_tables()[0], file.schema_arrow
    try:
        told = json.loads((schema.metadata or {})[b"xplain"])
        kind = schema.field("vector").type
        right = isinstance(told, dict) and pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()
        right = right and schema.field("name").type == pa.string() and kind.list_size > 0
        failed = told.get("failed", [])
        right = right and isinstance(failed, list) and all(_is_pair(one) for one in failed)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        right = False
    if not right:
        raise UsageError(
            f"{os.fspath(path)!r:.300} is a Parquet file, but not of vectors as 'xplain see embed' writes them: a "
            "column 'vector' of float32 lists of one length, 'name', and what they are in its metadata."
        )
    about = told.get("about")
    if not isinstance(about, dict):  # of an older version, which said less
        about = {"model": str(told.get("model", "")), "layer": str(told.get("layer", ""))}
    return {**told, "about": about}, int(kind.list_size), int(file.metadata.num_rows)


def _is_pair(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one)


def _filled(file: Any, shape: tuple[int, int], path: Any) -> Array:
    """The vectors, where there is room for them; a file may say that it holds more than any disk does."""
    needs, free = 4 * shape[0] * shape[1], shutil.disk_usage(tempfile.gettempdir()).free
    if needs > free:
        raise UsageError(
            f"The vectors of {os.fspath(path)!r:.300} take {needs / 2**20:,.0f} MiB when they are read, and "
            f"{tempfile.gettempdir()} has {free / 2**20:,.0f} MiB. Make room, or set TMPDIR to a folder that has some."
        )
    vectors, row = room(shape, np.float32), 0
    for batch in file.iter_batches(_GROUP, columns=["vector"], use_threads=False):
        column = batch.column(0)
        flat = column.flatten()
        if column.null_count or flat.null_count or row + len(column) > shape[0]:
            raise UsageError(f"{os.fspath(path)!r:.300} has rows without a vector. Write it again with 'see embed'.")
        vectors[row : row + len(column)] = flat.to_numpy().reshape(-1, shape[1])
        row += len(column)
    if row < shape[0]:
        raise UsageError(f"{os.fspath(path)!r:.300} says {shape[0]} vectors and holds {row}. Write it again.")
    return vectors
