"""A table file as columns: what its cells are, and which of its rows can be explained."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.errors import ItemError, UsageError, unknown
from xplain.core.keeping.files import lines_of, read_text, there
from xplain.core.keeping.plain import counted

__all__ = ["TABLES", "Table", "content_of", "labels_of", "read_table"]

TABLES = (".csv", ".tsv")
_MOST_BYTES = 64 * 2**20
_GAPS = ("", "na", "n/a", "nan", "null", "none")
"""What people write for a missing number; among words only the empty cell is missing, for None may be a category."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file that can be explained, and why the others cannot.

    Args:
        columns: Columns by name.
        names: What each row is called.
        failed: What each of the other rows is called, and its error.
    """

    columns: dict[str, Any]
    names: tuple[str, ...]
    failed: tuple[tuple[str, ItemError], ...] = ()


def content_of(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it is not there, or no text.
    """
    if not there(path):
        raise UsageError(f"There is no file {str(path)!r:.300} in {str(Path.cwd())!r}.")
    return read_text(path, UsageError, str(path), _MOST_BYTES)


def read_table(path: Path, wanted: Sequence[str] | None = None, *, whole: bool = False) -> Table:
    """Columns by name, numbers where every cell is one or missing and else text, and what each row is called.

    A first column without a name, as pandas writes it, names the rows.

    Args:
        path: The file.
        wanted: The columns that are taken, in this order; None for all.
        whole: Whether a row that cannot be used is an error of the table.

    Raises:
        UsageError: no rows, none that can be used, a column twice or without a name, or a wanted one that is not there.
        ItemError: ``whole``, and a line of another length, or a word that is missing.
    """
    content = content_of(path)
    head = content.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    try:
        lines = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UsageError(f"{path} is no table: {error}.") from None
    if len(lines) < 2:
        raise UsageError(f"{path} has no rows; the first line names the columns, each further line is an item.")
    names, body = _headed(path, lines[0][1]), lines[1:]
    for name in wanted or ():
        if name not in names:
            raise unknown(f"column in {path}:", name, [name for name in names if name])
    taken = [names.index(name) for name in (wanted or names) if name]
    failed: dict[int, ItemError] = {}
    for k, (number, row) in enumerate(body):
        if len(row) != len(names):
            said = (
                f"{path}, line {number} has {counted(len(row), 'cell')}; the first line names "
                f"{counted(len(names), 'column')}."
            )
            failed[k] = ItemError(said)
    whole_rows = [k for k in range(len(body)) if k not in failed]
    for place in taken:
        if not whole_rows or _typed([body[k][1][place].strip() for k in whole_rows]).dtype != object:
            continue
        for k in whole_rows:
            if not body[k][1][place].strip():
                failed.setdefault(
                    k,
                    ItemError(
                        f"{path}, line {body[k][0]}: column {names[place]!r} is missing. Fill it as the model's "
                        "training did, drop the line, or leave the column out with --columns."
                    ),
                )
    kept = [k for k in range(len(body)) if k not in failed]
    if failed and (whole or not kept):
        raise failed[min(failed)]
    columns = {names[place]: _typed([body[k][1][place].strip() for k in kept]) for place in taken}

    def called(k: int) -> str:
        return body[k][1][0].strip() if names[0] == "" else str(k)

    return Table(columns, tuple(map(called, kept)), tuple((called(k), failed[k]) for k in sorted(failed)))


def _headed(path: Path, line: Sequence[str]) -> list[str]:
    names = [name.strip() for name in line]
    times = Counter(names)
    for k, name in enumerate(names):
        if times[name] > 1 or (not name and k > 0):
            what = f"two columns called {name!r}" if name else "a column without a name"
            raise UsageError(f"{path} has {what} in its first line; give each column its own name.")
    return names


def _typed(cells: Sequence[str]) -> Any:
    """A column of numbers, NaN where one is missing, or of texts; one without a value holds no text, but gaps."""
    if not any(cells):
        return np.full(len(cells), np.nan)
    for kind in (int, float):
        try:
            return np.array([kind(_number(cell)) for cell in cells])
        except (ValueError, OverflowError):
            continue
    filled = [cell for cell in cells if cell.lower() not in _GAPS]
    if filled and len(filled) < len(cells) and not isinstance(_typed(filled)[0], str):
        return np.array([np.nan if cell.lower() in _GAPS else float(cell) for cell in cells])
    return np.array(cells, dtype=object)


def _number(cell: str) -> str:
    """A cell that writes a number as tables do: Python would also read ``1_000`` and the digits of every script."""
    if "_" in cell or not cell.isascii():
        raise ValueError(cell)
    return cell


_LISTS = (".txt", ".csv", ".tsv", ".json", ".toml", ".yaml", ".names")
"""Ends of what is meant as a file of labels, also where it is not there."""


def labels_of(given: str) -> tuple[str, ...]:
    """Class names from ``a,b,c``, or from a file with one per line."""
    if there(given) == "file":
        return tuple(name.strip() for name in lines_of(content_of(Path(given))))
    if "," not in given and ("/" in given or "\\" in given or Path(given).suffix.lower() in _LISTS):
        raise UsageError(
            f"--labels {given[:200]} is no file; accepted: a file with one label per line, or names joined by commas."
        )
    return tuple(name.strip() for name in lines_of(given.replace(",", "\n")))
