"""The columns of an audit's tables, said once: what each holds, its type, and whether it may be missing.

The tables are pyarrow's, which is imported when one is made: everything here is plain data until then.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xplain.audit.canonical import needed

__all__ = [
    "ITEMS",
    "METRICS",
    "RECORDS",
    "Column",
    "empty",
    "parquet_bytes",
    "read_parquet",
    "schema_of",
    "table_of",
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Args:
        name: Its name.
        kind: Arrow's name of its type: ``int64``, ``float``, ``string`` ...
        says: What it holds, with its unit.
        missing: Whether a value may be missing.
    """

    name: str
    kind: str
    says: str
    missing: bool = False


_GEOMETRY = (
    Column("scale", "float", "largest |value| of the map; the stored map is divided by it", True),
    Column("total", "float", "sum of the map, in the value's unit", True),
    Column("positive", "float", "share of the map's |mass| that is positive, 0..1", True),
    Column("gini", "float", "Gini coefficient of |map| as it is kept: 0 spread evenly, towards 1 at one place", True),
    Column("complexity", "float", "entropy of |map| as it is kept, as shares, in nats", True),
    Column("peak_y", "float", "where the largest |value| lies, 0 top to 1 bottom; missing for series", True),
    Column("peak_x", "float", "the same, 0 left (of a series the start) to 1 right (the end)", True),
    Column("border", "float", "share of |mass| in the outer eighth, of a series in its first and last, 0..1", True),
    Column("corner0", "float", "share of |mass| in the top left quarter; like the others missing for series", True),
    Column("corner1", "float", "share of |mass| in the top right quarter", True),
    Column("corner2", "float", "share of |mass| in the bottom left quarter", True),
    Column("corner3", "float", "share of |mass| in the bottom right quarter", True),
    Column("error_mean", "float", "mean standard error over the map; missing where the method states none", True),
)

RECORDS = (
    Column("item", "int64", "the item's number in items.parquet"),
    Column("lane", "string", "the lane's name: model, method and target rule"),
    Column("status", "string", "ok or error"),
    Column("error", "string", "why there is no explanation; missing where there is one", True),
    Column("sha256", "string", "digest of the item's content as planned; empty where it could not be read then"),
    Column("name", "string", "the item's name, relative to the data's root"),
    Column("label", "string", "its label as the data states it", True),
    Column("label_class", "int32", "the class that the label names; missing where the model does not know it", True),
    Column("seed", "uint64", "what the item's random draws begin with"),
    Column("predicted", "int32", "class with the largest score", True),
    Column("predicted_name", "string", "its name, or its number as text", True),
    Column("score", "float", "its score", True),
    Column("second", "int32", "class with the second largest score; missing where there is one class", True),
    Column("second_name", "string", "its name", True),
    Column("margin", "float", "score less that of the second", True),
    Column("entropy", "float", "entropy of the probabilities in nats; missing where scores are no such thing", True),
    Column("correct", "bool", "whether predicted is label_class; missing where that is", True),
    Column("target", "int32", "the class that is explained; missing where the target is no class", True),
    Column("target_name", "string", "what is explained, in words", True),
    Column("value", "float", "the target's value", True),
    *_GEOMETRY,
)
"""One row per item and lane. An error row keeps item, lane, status, error, sha256, name, label, label_class, seed."""

METRICS = (
    Column("item", "int64", "the item's number in items.parquet"),
    Column("lane", "string", "the lane's name"),
    Column("metric", "string", "the metric's name"),
    Column("value", "double", "what the explanation scores", True),
    Column("random", "double", "what a random map scores on the same item", True),
    Column("centre", "double", "what a map of the centre scores", True),
    Column("edge", "double", "what a map of the edges scores", True),
    Column("gradient", "double", "what the picture's own gradient scores", True),
)
"""One row per item, lane and metric, for the items that were sampled."""

ITEMS = (
    Column("number", "int64", "0, 1, 2 ... in the order of the source's names"),
    Column("name", "string", "relative to the data's root, unique"),
    Column("bytes", "int64", "size of the content; -1 where it could not be read when it was planned"),
    Column("sha256", "string", "digest of the content; empty where it could not be read"),
    Column("label", "string", "label as the data states it", True),
    Column("split", "string", "such as train or test", True),
)
"""One row per item; columns of metadata stand behind, under the names that the data gives them."""


def schema_of(columns: Iterable[Column], metadata: Mapping[str, str] | None = None) -> Any:
    """The ``pyarrow.Schema`` of columns, and of further ones that may be missing, by name and Arrow's type."""
    pa = needed("pyarrow")
    fields = [pa.field(one.name, pa.type_for_alias(one.kind), nullable=one.missing) for one in columns]
    more = [pa.field(name, pa.type_for_alias(kind)) for name, kind in (metadata or {}).items()]
    return pa.schema([*fields, *more])


def table_of(columns: Sequence[Column], values: Mapping[str, Any]) -> Any:
    """A ``pyarrow.Table`` from one sequence or array per column; what ``values`` does not name is missing throughout.

    Raises:
        ValueError: a name is no column's, lengths differ, or a value is missing that must not be.
    """
    pa = needed("pyarrow")
    schema = schema_of(columns)
    strange = set(values) - set(schema.names)
    lengths = {len(one) for one in values.values()}
    if strange or len(lengths) != 1:
        raise ValueError(f"columns {sorted(strange)} are not known, or lengths differ: {sorted(lengths)}")
    rows = lengths.pop()
    made = [_array(values[f.name], f.type) if f.name in values else pa.nulls(rows, f.type) for f in schema]
    lacking = [f.name for f, one in zip(schema, made, strict=True) if one.null_count and not f.nullable]
    if lacking:
        raise ValueError(f"values are missing in {lacking}")
    return pa.Table.from_arrays(made, schema=schema)


def _array(values: Any, kind: Any) -> Any:
    """Values as a column; of what is one already, the type alone is settled."""
    pa = needed("pyarrow")
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind, from_pandas=True)


def empty(columns: Sequence[Column]) -> Any:
    """A table without rows."""
    return schema_of(columns).empty_table()


def parquet_bytes(table: Any) -> bytes:
    """A table as a Parquet file: zstd, one row group, the same bytes for the same table."""
    buffer = io.BytesIO()
    table = table.combine_chunks()  # pages would follow the pieces that a table was put together from
    needed("pyarrow.parquet").write_table(table, buffer, compression="zstd", row_group_size=max(1, table.num_rows))
    return buffer.getvalue()


def read_parquet(source: bytes | Path, columns: Sequence[str] | None = None) -> Any:
    """The table that a part or a file holds, or some of its columns.

    Read in this thread: ``read_table`` goes through pyarrow's scanner, whose threads may let go of what Python owns
    while the interpreter ends, and then the process aborts behind its last line (seen with pyarrow 26).
    """
    given = needed("pyarrow").BufferReader(source) if isinstance(source, bytes) else source
    with needed("pyarrow.parquet").ParquetFile(given) as file:
        return file.read(columns=None if columns is None else list(columns), use_threads=False)
