"""Where items come from: folders, patterns, tables, archives, datasets of Hugging Face, and what is held in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.sources.archive import Archives, pack
from xplain.audit.sources.entries import Content, Entry, Source
from xplain.audit.sources.folder import Files, Folder, Pattern
from xplain.audit.sources.hub import PREFIX, Datasets
from xplain.audit.sources.rows import ROWS, KeptRows
from xplain.audit.sources.series import NPY, SERIES, Stack, is_stack
from xplain.audit.sources.tables import CsvTable, ParquetTable, ReadRows
from xplain.audit.stores.where import Where
from xplain.core.errors import UsageError, unknown
from xplain.core.keeping.files import there

__all__ = ["ACCEPTED", "KEPT", "ROWS", "SERIES", "Content", "Entry", "Source", "moved", "reopened", "source_of"]

ACCEPTED = (
    "a folder, a pattern (photos/**/*.jpg), a table (.csv, .tsv, .parquet), an array (.npy), archives (.tar), "
    "datasets:NAME:SPLIT, paths, or arrays, bytes or pictures in a list or iterator"
)


KEPT = "data.tar"
"""The archive in an audit's folder that holds items which were given in memory."""


def source_of(
    items: Any,
    folder: Path,
    *,
    item_column: str | None = None,
    label_column: str | None = None,
    root: str | None = None,
    rank: Callable[[], int | None] | None = None,
) -> Source:
    """The source that a person names.

    Args:
        items: See ``ACCEPTED``.
        folder: Where items that are given in memory are written, so that they can be read again.
        item_column: Which column of a table names or holds the items.
        label_column: Which column of it holds labels.
        root: What the names in a table are relative to.
        rank: How many axes a batch of the models has, None where that is not known: asked only of one ``.npy`` file,
            whose rows are items where it has as many.

    Raises:
        UsageError: it is nothing of these, or is empty.
    """
    if isinstance(items, (str, os.PathLike)):
        named = os.fspath(items)
        if (
            rank is not None
            and named.lower().endswith(NPY)
            and there(named) == "file"
            and is_stack(Path(named), rank())
        ):
            return Stack(named)
        return _named(named, item_column, label_column, root)
    if _is_dataset(items):
        raise UsageError(
            "A dataset that is held in memory cannot be read again by a later run: save it with save_to_disk(FOLDER), "
            f"and give '{PREFIX}FOLDER'.",
            option="items",
        )
    if isinstance(items, Mapping) or not (isinstance(items, (Iterable, np.ndarray)) or hasattr(items, "detach")):
        raise UsageError(option="items", got=items, accepted=ACCEPTED)
    if isinstance(items, (list, tuple)) and items and all(isinstance(one, (str, os.PathLike)) for one in items):
        paths = [os.fspath(one) for one in items]
        return Archives(paths) if all(one.lower().endswith(".tar") for one in paths) else Files(paths)
    pack(folder / KEPT, items)
    return Archives([folder / KEPT], "arrays")


def moved(items: Any, folder: Path) -> Source:
    """Another place of the items that an audit in ``folder`` was planned with; see ``source_of``.

    Raises:
        UsageError: nothing of the kind is there.
    """
    if Where.read(folder).source.get("kind") == "npy" and isinstance(items, (str, os.PathLike)):
        return Stack(items)
    return source_of(items, folder)


def reopened(recipe: Mapping[str, Any], folder: Path) -> Source:
    """The source that a recipe names; items that were given in memory lie in the audit's own folder.

    Raises:
        UsageError: what it names is gone.
    """
    kind = recipe.get("kind")
    match kind:
        case "folder":
            return Folder(recipe["root"])
        case "glob":
            return Pattern(recipe["pattern"], recipe["root"])
        case "files":
            return Files((), recipe["root"])
        case "parquet" if recipe["placed"]:
            return ReadRows(recipe["path"], recipe["item"])
        case "csv" | "parquet":  # the files that it names, which stand in the audit's items
            return Files((), recipe["root"])
        case "arrays":
            return Archives([folder / KEPT], "arrays")
        case "rows" | "texts":
            return KeptRows(folder / ROWS, kind)
        case "npy":
            return Stack(recipe["path"])
        case "series":
            return Stack(folder / SERIES, kind)
        case "tar":
            return Archives(recipe["paths"])
        case "datasets":
            return Datasets(recipe["name"], recipe["item"], recipe["label"])
    raise unknown(
        "kind of source",
        str(kind),
        ("folder", "glob", "files", "csv", "parquet", "tar", "arrays", "datasets", "rows", "texts", "npy", "series"),
    )


def _named(given: str, item_column: str | None, label_column: str | None, root: str | None) -> Source:
    if given.startswith(PREFIX):
        return Datasets(given, item_column, label_column)
    if there(given) == "folder":
        return Folder(given)
    ending = Path(given).suffix.lower()
    wild = any(c in given for c in "*?[") and not there(given)
    if ending == ".tar":
        return Archives(_matches(given) if wild else [given])
    if wild:
        return Pattern(given)
    if ending in (".csv", ".tsv"):
        return CsvTable(given, item_column, label_column, root)
    if ending in (".parquet", ".pq"):
        return ParquetTable(given, item_column, label_column, root)
    if there(given) == "file":
        return Files([given])
    raise UsageError(f"There is nothing at {given!r:.300}", option="items", got=given, accepted=ACCEPTED)


def _matches(pattern: str) -> list[str]:
    import glob

    found = sorted(glob.glob(pattern))  # noqa: PTH207 - as the shell does
    if not found:
        raise UsageError(f"No file matches {pattern!r:.300}.", option="items", got=pattern)
    return found


def _is_dataset(items: Any) -> bool:
    return type(items).__module__.startswith("datasets.")
