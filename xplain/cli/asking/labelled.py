"""Labelled pictures: a folder per label, or a table of files and labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from xplain.core.errors import PictureError, UsageError
from xplain.core.keeping.files import read_text, there
from xplain.core.keeping.plain import counted

__all__ = ["Labelled", "read_labelled"]

_TABLES = {"labels.csv": ",", "labels.tsv": "\t"}
_HEADS = ("file", "filename", "name", "path", "picture", "image")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and what it shows: a label's name, or a class number as text."""

    picture: str
    label: str


def read_labelled(folder: Path) -> list[Labelled]:
    """The labelled pictures of a folder.

    Args:
        folder: Holds ``labels.csv`` or ``labels.tsv`` with the columns file and label, files relative to the folder; or
            one folder per label.

    Raises:
        UsageError: the folder is missing or holds neither, or the table cannot be understood.
    """
    if there(folder) != "folder":
        raise UsageError(f"--labelled {folder} is not a folder; give one with labels.csv, or with a folder per label.")
    for name, delimiter in _TABLES.items():
        if there(folder / name) == "file":
            return _from_table(folder / name, delimiter)
    found = [one for place in sorted(folder.iterdir()) if place.is_dir() for one in _in_folder(place)]
    if not found:
        raise UsageError(
            f"--labelled {folder} holds neither labels.csv nor labels.tsv (columns: file, label) nor a folder per "
            "label with pictures in it."
        )
    return found


def _in_folder(place: Path) -> list[Labelled]:
    from xplain.render import pictures

    try:
        return [Labelled(picture, place.name) for picture in pictures.collect([place])]
    except PictureError:  # an empty folder is no label
        return []


def _from_table(table: Path, delimiter: str) -> list[Labelled]:
    found = []
    reader = csv.reader(io.StringIO(read_text(table, UsageError, str(table)), newline=""), delimiter=delimiter)
    try:
        lines = list(enumerate(reader, 1))
    except csv.Error as error:
        raise UsageError(f"{table} is no table: {error}.") from None
    for number, row in lines:
        if not row or (number == 1 and row[0].strip().lower() in _HEADS):
            continue
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise UsageError(
                f"{table}, line {number}: {counted(len(row), 'cell')}; accepted: two, a file and its label."
            )
        found.append(Labelled(str(table.parent / row[0].strip()), row[1].strip()))
    if not found:
        raise UsageError(f"{table} names no picture; each line holds a file and its label.")
    return found
