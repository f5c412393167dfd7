"""Tables as people hold them, a ``DataFrame``, columns or rows, as named columns of one type each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError

__all__ = ["columns_of", "is_frame", "names_of", "numbers", "row_names", "shown"]

_EXACT = 2**24  # whole numbers up to here are exact in float32


def is_frame(source: Any) -> bool:
    """Whether this is a ``DataFrame``, without importing pandas."""
    return hasattr(source, "columns") and hasattr(source, "dtypes")


def names_of(columns: Any) -> tuple[str, ...]:
    """The names of columns, given as names or as a frame.

    Raises:
        UsageError: a name that is there twice.
    """
    names = tuple(str(name) for name in (columns.columns if is_frame(columns) else columns))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"The table has more than one column called {twice[0]!r}; rename one of them.")
    return names


def columns_of(source: Any) -> dict[str, Array]:
    """Columns by name, from a frame, a mapping of columns, or rows as mappings.

    Raises:
        UsageError: none of these, or columns and rows that do not fit together.
    """
    if is_frame(source):
        return {name: _array(source.iloc[:, k]) for k, name in enumerate(names_of(source))}
    if isinstance(source, Mapping):
        found = {str(name): _array(values) for name, values in source.items()}
        if len({len(values) for values in found.values()}) > 1:
            raise UsageError("The columns have different lengths; each row needs a value in each.")
        return found
    if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
        names = list(source[0])
        for number, row in enumerate(source):
            if list(row) != names:
                raise UsageError(f"Row {number} has the columns {list(row)}, row 0 has {names}.")
        return {str(name): _array([row[name] for row in source]) for name in names}
    raise UsageError(
        f"The items are {type(source).__name__}; accepted: a DataFrame, a mapping of columns, or a list of mappings."
    )


def _array(values: Any) -> Array:
    array = np.asarray(values)
    return array if array.dtype.kind in "fiub" else np.asarray(values, dtype=object)


def numbers(name: str, values: Array) -> Array:
    """A column of numbers as float32.

    Raises:
        NonFinite: a missing or infinite value.
        UsageError: whole numbers that float32 cannot hold exactly.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise NonFinite(
            f"Column {name!r} is {values[row]} in row {row}. Explanations need finite values: fill it as the model's "
            "training did, or drop the row."
        )
    if values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max(initial=0) > _EXACT:
        raise UsageError(
            f"Column {name!r} holds whole numbers above {_EXACT:,}, which items cannot hold exactly. Is it an "
            "identifier? Drop it; or scale it."
        )
    return values.astype(np.float32)


def shown(value: Any) -> str:
    """A value as a person reads it."""
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def row_names(source: Any, count: int) -> Sequence[Any]:
    """What the rows are called: a frame's index, else their numbers."""
    return list(source.index) if is_frame(source) else range(count)
