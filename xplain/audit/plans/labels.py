"""Labels of items: from folders, a column, a table, or a list; kept as the data states them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xplain.audit.sources.columns import Sheet, free_name
from xplain.audit.sources.entries import array_of
from xplain.audit.sources.tables import item_column, read_csv
from xplain.core.errors import ItemError, UsageError
from xplain.core.keeping.plain import counted

__all__ = ["Joined", "column_of", "joined"]

_ACCEPTED = (
    "folders, top-folder, parent-folder, column:NAME, a .csv of names and labels, a .npy of labels in order, or labels "
    "by name or in order"
)


@dataclass(frozen=True, slots=True)
class Joined:
    """What is laid beside the names of a source.

    Args:
        label: Number and name of an item to its label; None to keep the source's own.
        more: Name of an item to further columns, in the order of ``columns``.
        columns: Further columns, and Arrow's types of them.
        says: Where labels come from, in words.
    """

    label: Callable[[int, str], str | None] | None = None
    more: Callable[[str], tuple[Any, ...]] = lambda _: ()
    columns: Mapping[str, str] | None = None
    says: str = ""


def column_of(labels: Any) -> str | None:
    """The column that ``column:NAME`` means."""
    return labels.removeprefix("column:") if isinstance(labels, str) and labels.startswith("column:") else None


def joined(labels: Any, metadata: str | os.PathLike[str] | None) -> Joined:
    """What ``labels`` and ``metadata`` of a plan lay beside the items.

    Raises:
        UsageError: they are not understood.
    """
    columns, rows = _table(metadata)
    nothing = (None,) * len(columns)
    found = Joined(None, lambda name: rows.get(name, nothing), columns)
    if labels is None or column_of(labels) is not None:
        return Joined(None, found.more, columns, "" if labels is None else f"column {column_of(labels)}")
    rule = _rule(labels)
    return Joined(rule[0], found.more, columns, rule[1])


def _rule(labels: Any) -> tuple[Callable[[int, str], str | None], str]:
    if isinstance(labels, str) and labels in _FOLDERS:
        return _FOLDERS[labels], labels
    if isinstance(labels, Mapping):
        known = {str(name): None if label is None else str(label) for name, label in labels.items()}
        return lambda _, name: known.get(name), "labels by name"
    if isinstance(labels, (str, os.PathLike)):
        path = Path(labels)
        if path.suffix.lower() == ".npy":
            listed = _in_order(path)
            return lambda number, _: _of_list(listed, number), "an array of labels in order"
        if path.suffix.lower() not in (".csv", ".tsv"):
            raise UsageError(option="labels", got=os.fspath(labels), accepted=_ACCEPTED)
        known = _by_name(path)
        return lambda _, name: known.get(name), "a table of names and labels"
    if isinstance(labels, Sequence) or hasattr(labels, "tolist"):
        listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
        return lambda number, _: _of_list(listed, number), "labels in order"
    raise UsageError(option="labels", got=labels, accepted=_ACCEPTED)


def _in_order(path: Path) -> list[Any]:
    """Labels that an array holds, one per item: whole numbers stay such, whatever their type."""
    try:
        found = array_of(path.read_bytes())
    except (OSError, ItemError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} holds no labels: {why}", option="labels", accepted=_ACCEPTED) from None
    if found.ndim != 1 or found.dtype.kind not in "iufbU":
        raise UsageError(
            f"{path} is {found.dtype} {list(found.shape)}; labels in order are one number or text per item",
            option="labels",
        )
    return [int(one) if isinstance(one, float) and one.is_integer() else one for one in found.tolist()]


def _of_list(listed: Sequence[Any], number: int) -> str | None:
    if number >= len(listed):
        raise UsageError(
            f"There are more items than the {counted(len(listed), 'label')} given. Give one for each.", option="labels"
        )
    return None if listed[number] is None else str(listed[number])


def _folder(_: int, name: str) -> str | None:
    parts = name.split("/")
    if len(parts) > 2:
        raise UsageError(
            f"labels are folders' names, but {name!r:.200} lies in several",
            option="labels",
            got="folders",
            accepted=f"top-folder (here {parts[0]!r}) or parent-folder (here {parts[-2]!r})",
        )
    return parts[0] if len(parts) == 2 else None


def _top(_: int, name: str) -> str | None:
    return name.split("/")[0] if "/" in name else None


def _parent(_: int, name: str) -> str | None:
    return name.split("/")[-2] if "/" in name else None


_FOLDERS: Mapping[str, Callable[[int, str], str | None]] = {
    "folders": _folder,
    "top-folder": _top,
    "parent-folder": _parent,
}


def _by_name(path: Path) -> dict[str, str | None]:
    table = read_csv(path)
    names = table.column_names
    item = item_column(names, None, str(path))
    rest = [name for name in names if name != item]
    label = "label" if "label" in rest else rest[0] if len(rest) == 1 else None
    if label is None:
        raise UsageError(
            f"It is not known which column of {path} holds the labels",
            option="labels",
            accepted="a column called label",
        )
    return _once(path, table[item].to_pylist(), table[label].to_pylist())


def _table(metadata: str | os.PathLike[str] | None) -> tuple[dict[str, str], dict[str, tuple[Any, ...]]]:
    """Columns of a table of metadata, and its rows by name."""
    if metadata is None:
        return {}, {}
    path = Path(metadata)
    sheet = Sheet(read_csv(path), loose=True)
    item = item_column(sheet.names, None, str(path))
    columns, _ = sheet.columns([name for name in sheet.names if name != item])
    kinds = {free_name(name): str(column.type) for name, column in columns.items()}
    rows = zip(*(column.to_pylist() for column in columns.values()), strict=True) if columns else iter(())
    return kinds, _once(path, sheet.texts(item).to_pylist(), list(rows))


def _once(path: Path, names: Sequence[str | None], values: Sequence[Any]) -> dict[str, Any]:
    """Values by name; a name that stands twice with two values is a question, not an answer."""
    made: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        name = "" if name is None else os.path.normpath(name.strip())
        if made.setdefault(name, value) != value:
            raise UsageError(f"{path} says two things of {name!r:.200}: {made[name]!r:.80} and {value!r:.80}.")
    return made
