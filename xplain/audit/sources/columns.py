"""What a column of a table becomes, by one rule whatever the table and whatever the column is for.

| the table | a column is |
|---|---|
| CSV, which holds texts alone | whole numbers, numbers or truth values where all that is there is such; else texts |
| Parquet, a frame, columns by name | what the table says it is: digits in a column of texts stay texts |
| either | its values where it is of categories; texts where it is of times or decimals |
| either | *empty* where nothing says what it holds: a CSV column without a value, a column of Arrow's type ``null`` |
| either | none, where it is of lists, records or bytes |

Labels, splits and names are no such columns: they are texts, as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xplain.audit.canonical import needed
from xplain.audit.stores.schema import ITEMS

__all__ = ["EMPTY", "Sheet", "free_name", "typed"]

EMPTY = "null"
"""Arrow's type of a column of which nothing says what it holds."""
_RESERVED = frozenset(one.name for one in ITEMS)
_MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-")


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A table as it came.

    Args:
        table: A ``pyarrow.Table``.
        loose: Whether its columns are texts of which it must be found out what they hold, as a CSV file's are.
    """

    table: Any
    loose: bool

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return list(self.table.column_names)

    @property
    def rows(self) -> int:
        """How many it has."""
        return int(self.table.num_rows)

    def column(self, name: str) -> Any | None:
        """A column as the rule above has it; None for lists, records and bytes."""
        pa, types = needed("pyarrow"), needed("pyarrow.types")
        column = self.table[name]
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if self.loose and types.is_string(column.type):
            return typed(column)
        if types.is_temporal(column.type) or types.is_decimal(column.type):
            return column.cast(pa.string())
        plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
        return column if any(one(column.type) for one in (*plain, types.is_null)) else None

    def columns(self, names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Several columns by name, and the names of those that are none."""
        found = {name: self.column(name) for name in names}
        return {name: one for name, one in found.items() if one is not None}, [n for n in found if found[n] is None]

    def texts(self, name: str) -> Any:
        """A column as texts, as they stand: a label ``1.0`` or ``True`` of a CSV file is that text."""
        return self.table[name].cast(needed("pyarrow").string())


def typed(column: Any) -> Any:
    """A column of texts as whole numbers, numbers or truth values where all that is not missing is such; or empty.

    ``007`` is no number, for it would lose its zeros.
    """
    pa, pc = needed("pyarrow"), needed("pyarrow.compute")
    marked = pc.is_in(pc.utf8_trim_whitespace(column), value_set=pa.array(_MISSING))
    bare = pc.if_else(marked, pa.scalar(None, pa.string()), column)
    if bare.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    if pc.any(pc.match_substring_regex(bare, "^[-+]?0[0-9]")).as_py():
        return column
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return pc.cast(bare, kind)
        except pa.ArrowInvalid:
            continue
    return column


def free_name(name: str) -> str:
    """A column's name that is none of the items' own."""
    while name in _RESERVED:
        name += "_"
    return name
