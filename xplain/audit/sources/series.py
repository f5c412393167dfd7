"""Items that lie together in one array: the rows of an ``.npy`` file, and series that are columns of a table.

    xplain audit plan beats.onnx beats.npy ...                        [N, C, T] or [N, T, C], as the model takes them
    xplain audit plan beats.onnx beats.csv --series 't*' ...          a row is a series of one channel
    xplain audit plan beats.onnx beats.csv --series 'I_*;II_*' ...    of two

An item's content is its row of the array, as the model takes it.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.sources.entries import PARSING, Content, Entry
from xplain.audit.sources.rows import RowsOf
from xplain.core.declaring.wording import option, way
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError
from xplain.core.keeping.files import whole_file
from xplain.core.positions.layout import Axes

__all__ = ["NPY", "SERIES", "SeriesOf", "Stack", "is_stack", "patterns_of", "series_of", "shape_in"]

NPY = ".npy"
SERIES = "series.npy"
"""The file in an audit's folder that holds series which were columns of a table."""


class Stack:
    """The rows of one ``.npy`` file, each an item that is called by its number.

    Rows are read where they lie, one at a time; the file is not mapped, for what maps a file that somebody cuts short
    is ended by the system.

    Args:
        path: The file: numbers ``[N, ...]`` in C order.
        kind: ``npy``, or ``series`` for one that the audit's folder holds.
    """

    placed = True
    unique = True
    told: tuple[str, ...] = ()

    def __init__(self, path: str | os.PathLike[str], kind: str = "npy") -> None:
        self.kind, self.path = kind, Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named
        shape, self._type, self._start = _head(self.path)
        self._count, self._item = shape[0], shape[1:]
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._open)

    @property
    def metadata(self) -> Mapping[str, str]:
        """None: an array knows numbers only."""
        return {}

    def entries(self) -> Iterator[Entry]:
        """A row after another."""
        return (Entry(f"{row:09d}", 0, row) for row in range(self._count))

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """A row.

        Raises:
            ItemError: there is none any more.
        """
        step = math.prod(self._item) * self._type.itemsize
        try:
            content = os.pread(self._file(), step, self._start + at * step)
        except OSError as error:
            raise ItemError(f"The array cannot be read: {error.strerror or error}.") from None
        if len(content) != step or not 0 <= at < self._count:
            raise ItemError("The array was cut short.")
        return np.frombuffer(content, self._type).reshape(self._item)

    def recipe(self) -> dict[str, Any]:
        """The file, where it is not the audit's own."""
        return {"kind": self.kind, **({"path": str(self.path)} if self.kind == "npy" else {})}

    def _file(self) -> int:
        """The open file, until this goes: several threads read from it, at offsets of their own."""
        with self._lock:
            if not self._open:
                self._open[0] = os.open(self.path, os.O_RDONLY)
            return self._open[0]


def _close(files: dict[int, int]) -> None:
    for number in files.values():
        os.close(number)


def shape_in(path: Path) -> tuple[int, ...]:
    """The shape of the array in an ``.npy`` file, of its head alone.

    Raises:
        UsageError: it holds no array of numbers.
    """
    return _head(path)[0]


def _head(path: Path) -> tuple[tuple[int, ...], Any, int]:
    """Shape, type, and where the numbers begin."""
    accepted = "Save it with numpy.save: one array of numbers [N, ...] in C order, as numpy.ascontiguousarray gives it."
    try:
        with path.open("rb") as file, PARSING:
            version = np.lib.format.read_magic(file)
            read = _HEADS.get(version)
            if read is None:
                raise ValueError(f"it is of version {version}")
            shape, fortran, kind = read(file)
            start, size = file.tell(), os.fstat(file.fileno()).st_size
        if kind.hasobject or kind.kind not in "fiub":
            raise ValueError(f"it holds {kind}, no numbers")
        if fortran and len(shape) > 1:
            raise ValueError("it is in Fortran order, where no row lies in one piece")
        if not shape or min(shape) < 1:
            raise ValueError(f"it is {list(shape)}: there is nothing in it")
        if size < start + math.prod(shape) * kind.itemsize:
            raise ValueError("it is cut short")
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)[:200] or "it ends too early"
        raise UsageError(f"{str(path)[:300]} cannot be read as an array: {why}. {accepted}", option="items") from None
    return tuple(int(n) for n in shape), kind, start


_HEADS: Mapping[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def is_stack(path: Path, rank: int | None) -> bool:
    """Whether the rows of an ``.npy`` file are items, or all of it is one item.

    Args:
        path: The file.
        rank: Axes of a batch of the models; None where that is not known.

    Raises:
        UsageError: it is neither, or it is not known which.
    """
    shape = shape_in(path)
    if rank is None and len(shape) > 1 and shape[0] > 1:
        raise UsageError(
            f"{path.name} holds an array {list(shape)}: {shape[0]:,} items of {list(shape[1:])}, or one item. Nothing "
            "says how many axes the model takes. State its layout, in a card beside it or with ",
            way("card", python="xplain.load(model, layout='NCT')", shell='--card FILE.toml with layout = "NCT"'),
            ".",
        )
    if rank is None or len(shape) == rank:
        return len(shape) > 1 and shape[0] > 1
    if len(shape) == rank - 1:
        return False
    raise UsageError(
        f"{path.name} holds an array {list(shape)}, and a batch of the model has {rank} axes. Give an array with the "
        "items along its first axis.",
        option="items",
    )


def patterns_of(series: Any) -> tuple[str, ...]:
    """The columns of each channel of a series as a person names them: ``"t*"``, ``"I_*;II_*"``, or a list of such.

    Raises:
        UsageError: they are no texts.
    """
    several = series.split(";") if isinstance(series, str) else series
    if not isinstance(several, Sequence) or not all(isinstance(one, str) and one.strip() for one in several):
        accepted = "columns of a channel such as 't*' or 't0,t1,t2'; of several channels 'I_*;II_*'"
        raise UsageError(option="series", got=series, accepted=accepted)
    return tuple(one.strip() for one in several)


def series_of(rows: RowsOf, patterns: Sequence[str], axes: Axes | None, folder: Path) -> SeriesOf:
    """Columns of a table as one series per row, written into a folder in the model's own layout.

    Args:
        rows: The table.
        patterns: For each channel its columns: a pattern, whose matches follow the table's order, or names in order.
        axes: The model's axes; None where nothing says them.
        folder: Where ``SERIES`` is written.

    Raises:
        UsageError: the columns do not make a series of the model's.
    """
    channels = [_columns(one, rows.names) for one in patterns]
    lengths = sorted({len(one) for one in channels})
    if len(lengths) > 1:
        raise UsageError(
            f"The channels have {' and '.join(map(str, lengths))} columns; each needs one per moment.", option="series"
        )
    used = [name for one in channels for name in one]
    if len(set(used)) < len(used):
        twice = next(name for name in used if used.count(name) > 1)
        raise UsageError(f"Column {twice!r} stands in two channels.", option="series")
    laid = _laid(axes, len(channels), lengths[0])
    whole = np.empty((rows.sheet.rows, len(channels), lengths[0]), np.float32)
    for k, names in enumerate(channels):
        for j, name in enumerate(names):
            whole[:, k, j] = _numbers(rows, name)
    path = folder / SERIES
    with whole_file(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(laid(whole)), version=(1, 0), allow_pickle=False)
    rows.leave(used)
    many = f" in {len(channels)} channels" if len(channels) > 1 else ""
    first, last = channels[0][0], channels[-1][-1]
    said = f"A series is {lengths[0]:,} moments{many}: the columns {first} to {last}, in the table's order."
    return SeriesOf(rows, Stack(path, "series"), said)


def _columns(pattern: str, names: Sequence[str]) -> list[str]:
    """The columns that a pattern means."""
    if "," in pattern or pattern in names:
        found = [one.strip() for one in pattern.split(",")] if pattern not in names else [pattern]
        for one in found:
            if one not in names:
                raise UsageError(f"The table has no column {one!r}", option="series", accepted=", ".join(names)[:300])
        return found
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise UsageError(f"No column of the table fits {pattern!r}", option="series", accepted=", ".join(names)[:300])
    return found


def _numbers(rows: RowsOf, name: str) -> Array:
    """A column as numbers, NaN where one is missing: the item that lacks it becomes an error row."""
    column = rows.sheet.column(name)
    kind = "lists, records or bytes" if column is None else str(column.type)
    try:
        if column is None or kind in ("string", "large_string", "bool"):
            raise ValueError
        made: Array = column.cast("float64").to_numpy()
        return made
    except ValueError:
        raise UsageError(
            f"Column {name!r} holds {kind}, and a series is of numbers. Leave it out of ", option("series", "t*"), "."
        ) from None


def _laid(axes: Axes | None, channels: int, moments: int) -> Any:
    """How ``[N, C, T]`` becomes what the model takes."""
    letters = None if axes is None else axes.letters
    if letters == "NCT":
        return lambda whole: whole
    if letters == "NTC":
        return lambda whole: whole.transpose(0, 2, 1)
    if letters in ("NT", "NS") and channels == 1:
        return lambda whole: whole[:, 0]
    if letters is None:
        raise UsageError(
            f"Series of {channels} x {moments} (channels x moments) are given, and nothing says in which order the "
            "model takes them. State its layout, NCT, NTC or NT, in a card beside it or with ",
            way("card", python="xplain.load(model, layout='NCT')", shell='--card FILE.toml with layout = "NCT"'),
            ".",
        )
    assert axes is not None
    raise UsageError(
        f"Series of {channels} x {moments} (channels x moments) are given, and the model takes {letters} ({axes.why}). "
        "Give columns to a model of NCT, NTC or NT; rows of a table are items with ",
        option("rows", True),
        ".",
    )


class SeriesOf:
    """Series that were columns of a table, while an audit is planned: a table's labels and metadata, an array's items.

    Args:
        rows: The table.
        stack: The array.
        said: What a series is, in a sentence.
    """

    kind = "series"
    placed = True
    unique = False

    def __init__(self, rows: RowsOf, stack: Stack, said: str) -> None:
        self._rows, self._stack, self._said = rows, stack, said

    @property
    def metadata(self) -> Mapping[str, str]:
        """The other columns."""
        return self._rows.metadata

    @property
    def told(self) -> tuple[str, ...]:
        """What a series is, and which columns cannot be kept."""
        return (self._said, *self._rows.told)

    def entries(self) -> Iterator[Entry]:
        """A row after another."""
        return self._rows.entries()

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """A series."""
        return self._stack.content(name, file, at, size)

    def recipe(self) -> dict[str, Any]:
        """Its kind: the series lie in the audit's own folder."""
        return {"kind": self.kind}
