"""Tables as people hold them, a ``DataFrame``, columns or rows, as named columns that keep their own types.

A column is a pandas ``Series`` where pandas is loaded (categories, whole numbers with gaps, times, texts stay what they
are), else a numpy array. pandas is never imported here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = [
    "as_array",
    "as_text",
    "as_type",
    "categories",
    "columns_of",
    "is_frame",
    "is_rows",
    "is_switch",
    "joined",
    "kind_of",
    "like",
]
__all__ += ["missing", "names_of", "numbers_of", "plain", "row_names", "shown", "take"]


def is_frame(source: Any) -> bool:
    """Whether this is a ``DataFrame``, without importing pandas."""
    return hasattr(source, "columns") and hasattr(source, "dtypes") and hasattr(source, "iloc")


def is_rows(source: Any) -> bool:
    """Whether this is what ``columns_of`` reads: a frame, one row of one, columns by name, or rows as mappings."""
    listed = isinstance(source, Sequence) and not isinstance(source, str) and len(source) > 0
    return (
        is_frame(source)
        or _is_series(source)
        or isinstance(source, Mapping)
        or (listed and all(isinstance(row, Mapping) for row in source))
    )


def names_of(columns: Any) -> tuple[str, ...]:
    """The names of columns, given as names, as a mapping of columns, or as a frame.

    Raises:
        UsageError: a name that is there twice.
    """
    names = tuple(str(name) for name in (columns.columns if is_frame(columns) else columns))
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise UsageError(f"The table has more than one column called {twice[0]!r}; rename one of them.")
    return names


def columns_of(source: Any) -> dict[str, Any]:
    """Columns by name, each in its own type: from a frame, one row of a frame, columns by name, or rows as mappings.

    Raises:
        UsageError: none of these, or columns and rows that do not fit together.
    """
    if _is_series(source):  # one row of a frame: its cells are of different types
        source = source.to_frame().T.infer_objects()
    if is_frame(source):
        return {name: source.iloc[:, k].reset_index(drop=True) for k, name in enumerate(names_of(source))}
    if isinstance(source, Mapping):
        single = all(isinstance(value, str) or not isinstance(value, Iterable) for value in source.values())
        found = {str(name): _column([value] if single else value) for name, value in source.items()}
        if len({len(values) for values in found.values()}) > 1:
            raise UsageError("The columns have different lengths; each row needs a value in each.")
        return found
    if is_rows(source):
        names = list(source[0])
        for number, row in enumerate(source):
            if list(row) != names:
                raise UsageError(f"Row {number} has the columns {list(row)}, row 0 has {names}.")
        return {str(name): _column([row[name] for row in source]) for name in names}
    raise UsageError(
        f"The items are {type(source).__name__}; accepted: a DataFrame, a mapping of columns, or a list of mappings."
    )


def row_names(source: Any, count: int) -> Sequence[Any]:
    """What the rows are called: a frame's index, else their numbers."""
    if _is_series(source):
        return [0 if source.name is None else source.name]
    return list(source.index) if is_frame(source) else range(count)


def _pandas() -> Any:
    return sys.modules.get("pandas")


def _is_series(values: Any) -> bool:
    pandas = _pandas()
    return pandas is not None and isinstance(values, pandas.Series)


def _column(values: Any) -> Any:
    if _is_series(values):
        return values.reset_index(drop=True)
    pandas = _pandas()
    if pandas is not None:
        return pandas.Series(values if isinstance(values, np.ndarray) else list(values))
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values))
    return array if array.dtype.kind in "fiubMm" else np.asarray(values, dtype=object)


# ------------------------------------------------------------------ columns, whichever they are


def plain(values: Any) -> list[Any]:
    """The values as Python has them."""
    return list(values.tolist())


def missing(values: Any) -> Array:
    """Which values are not there, bool ``[N]``."""
    if _is_series(values):
        return np.asarray(values.isna(), bool)
    if values.dtype.kind == "O":
        return np.array([value is None or value != value for value in values], bool)
    gaps = np.isnat(values) if values.dtype.kind in "Mm" else np.isnan(values) if values.dtype.kind == "f" else None
    return np.zeros(len(values), bool) if gaps is None else np.asarray(gaps)


def take(values: Any, places: Array) -> Any:
    """The values at these places."""
    return values.take(places).reset_index(drop=True) if _is_series(values) else values[places]


def joined(parts: Sequence[Any]) -> Any:
    """Columns of one type, one after another."""
    if len(parts) == 1:
        return parts[0]
    return _pandas().concat(parts, ignore_index=True) if _is_series(parts[0]) else np.concatenate(parts)


def like(values: Any, other: Any) -> Any:
    """New values as the same kind of column as another."""
    return _pandas().Series(values) if _is_series(other) else np.asarray(values)


def numbers_of(values: Any) -> Array:
    """The values as float64, NaN where one is not there."""
    if _is_series(values):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(values, np.float64)


def as_type(values: Any, other: Any) -> Any:
    """The values in another column's type where that type can hold every one of them, else as they are.

    In a column of categories, a value that is none of them becomes a gap.
    """
    pandas = _pandas()
    if values.dtype == other.dtype:
        return values
    if pandas is not None and isinstance(other.dtype, pandas.CategoricalDtype):
        return values.where(values.isin(other.dtype.categories)).astype(other.dtype)
    if getattr(values.dtype, "kind", "") == getattr(other.dtype, "kind", "") == "f":
        return values.astype(other.dtype)  # of fewer digits, as the model would make it
    try:
        with np.errstate(invalid="ignore"):  # a gap is no whole number, which is seen below
            cast = values.astype(other.dtype)
        same = _same(cast, values)
    except (TypeError, ValueError, OverflowError):
        return values
    return cast if same else values


def _same(one: Any, other: Any) -> bool:
    gaps = missing(one)
    if not np.array_equal(gaps, missing(other)):
        return False
    kept = np.flatnonzero(~gaps)
    return plain(take(one, kept)) == plain(take(other, kept))


def as_array(values: Any) -> Array:
    """The values as numpy has them: numbers, NaN for those that are not there, or objects."""
    if not _is_series(values):
        return np.asarray(values)
    if kind_of("", values) == "number":
        return numbers_of(values) if missing(values).any() else np.asarray(plain(values))
    return np.array(plain(values), dtype=bool if is_switch(values) and not missing(values).any() else object)


def as_text(values: Any) -> Any:
    """The values as text; what is not there stays so."""
    gaps = missing(values)
    told = np.array([None if gap else str(value) for value, gap in zip(plain(values), gaps, strict=True)], object)
    return _pandas().Series(told, dtype=object) if _is_series(values) else told


def categories(values: Any) -> Iterator[Any]:
    """All the values that the column's type lists, each list as a column of that type: categories, or both switches."""
    pandas = _pandas()
    if pandas is not None and isinstance(values.dtype, pandas.CategoricalDtype):
        yield pandas.Series(values.cat.categories).astype(values.dtype)
    elif values.dtype != object and is_switch(values):
        yield like(np.array([False, True]), values).astype(values.dtype)


def is_switch(values: Any) -> bool:
    """Whether the column's type is that of yes and no."""
    pandas = _pandas()
    return bool(pandas.api.types.is_bool_dtype(values.dtype)) if _is_series(values) else values.dtype.kind == "b"


def kind_of(name: str, values: Any) -> Literal["number", "moment", "category"]:
    """What a column holds: numbers; moments, which have an order; or categories, which have none.

    Raises:
        UsageError: complex numbers.
    """
    if values.dtype == object:
        there = plain(take(values, np.flatnonzero(~missing(values))))
        real = [isinstance(value, (Real, np.number)) and not isinstance(value, (bool, np.bool_)) for value in there]
        return "number" if there and all(real) else "category"
    if _is_series(values):
        types = _pandas().api.types
        if isinstance(values.dtype, _pandas().CategoricalDtype) or is_switch(values):
            return "category"
        if types.is_complex_dtype(values.dtype):
            raise UsageError(f"Column {name!r} holds complex numbers; accepted: numbers, texts, categories, times.")
        if types.is_numeric_dtype(values.dtype):
            return "number"
        moments = types.is_datetime64_any_dtype(values.dtype) or types.is_timedelta64_dtype(values.dtype)
        return "moment" if moments or isinstance(values.dtype, _pandas().PeriodDtype) else "category"
    if values.dtype.kind == "c":
        raise UsageError(f"Column {name!r} holds complex numbers; accepted: numbers, texts, categories, times.")
    return "number" if values.dtype.kind in "fiu" else "moment" if values.dtype.kind in "Mm" else "category"


def shown(value: Any) -> str:
    """A value as a person reads it."""
    pandas = _pandas()
    if value is None or (pandas is not None and value is pandas.NA) or value != value:
        return "missing"
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
