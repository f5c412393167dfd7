"""True boxes: a table of pictures and where in them the object lies."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from xplain.core.errors import UsageError
from xplain.core.keeping.files import read_text
from xplain.metrics.localisation import Box

__all__ = ["read_boxes"]

_COLUMNS = {
    "file": ("file", "filename", "name", "path", "picture", "image"),
    "y0": ("y0", "ymin", "y_min", "top"),
    "x0": ("x0", "xmin", "x_min", "left"),
    "y1": ("y1", "ymax", "y_max", "bottom"),
    "x1": ("x1", "xmax", "x_max", "right"),
}
_ACCEPTED = "accepted: a header with file, y0, x0, y1, x1 (or xmin, ymin, xmax, ymax), then one line per box"


def read_boxes(table: Path, pictures: Sequence[str]) -> dict[str, list[Box]]:
    """The true boxes of the pictures that a table names, in pixels of the files; several lines: several boxes.

    Args:
        table: CSV with a header. A file is relative to the table's folder, or the plain name of one picture.
        pictures: The pictures that are looked at; lines about others are passed over.

    Raises:
        UsageError: the table cannot be read or understood, or it speaks of none of the pictures.
    """
    content = read_text(table, UsageError, f"--truth {table}")
    try:
        rows = list(csv.reader(io.StringIO(content, newline="")))
    except csv.Error as error:
        raise UsageError(f"--truth {table} cannot be read: {error}; {_ACCEPTED}.") from None
    columns = _header(table, rows[0] if rows else [])
    places = {str(Path(picture).resolve()): picture for picture in pictures}
    names = [Path(picture).name for picture in pictures]
    times = Counter(names)
    by_name = {name: picture for name, picture in zip(names, pictures, strict=True) if times[name] == 1}
    found: dict[str, list[Box]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = {what: row[k].strip() if k < len(row) else "" for what, k in columns.items()}
        picture = places.get(str((table.parent / cells["file"]).resolve())) or by_name.get(cells["file"])
        if picture is not None:
            found.setdefault(picture, []).append(_box(table, number, cells))
    if not found:
        raise UsageError(f"--truth {table} names none of the {len(pictures)} pictures, such as {pictures[0]}.")
    return found


def _header(table: Path, row: Sequence[str]) -> dict[str, int]:
    heads = [head.strip().lower() for head in row]
    columns = {what: k for what, words in _COLUMNS.items() for k, head in enumerate(heads) if head in words}
    missing = [what for what in _COLUMNS if what not in columns]
    if missing:
        raise UsageError(f"--truth {table} has no column {', '.join(missing)} in its first line; {_ACCEPTED}.")
    return columns


def _box(table: Path, number: int, cells: dict[str, str]) -> Box:
    try:
        y0, x0, y1, x1 = (round(float(cells[what])) for what in ("y0", "x0", "y1", "x1"))
    except (ValueError, OverflowError):
        raise UsageError(f"--truth {table}, line {number}: four numbers of pixels are needed; {_ACCEPTED}.") from None
    if not (0 <= y0 < y1 and 0 <= x0 < x1):
        raise UsageError(
            f"--truth {table}, line {number}: the box is y {y0} to {y1}, x {x0} to {x1}; accepted: pixels from the "
            "upper left corner, each end behind its start."
        )
    return y0, x0, y1, x1
