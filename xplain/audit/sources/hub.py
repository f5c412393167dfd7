"""Hugging Face datasets, through their own library, which is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.sources.columns import free_name
from xplain.audit.sources.entries import Content, Entry, file_content
from xplain.core.declaring.wording import option
from xplain.core.errors import ItemError, MissingDependency, PictureError, UsageError
from xplain.core.keeping.files import there

__all__ = ["PREFIX", "Datasets"]

PREFIX = "datasets:"
"""What a source of this kind begins with: ``datasets:NAME:SPLIT``, or ``datasets:FOLDER`` of ``save_to_disk``."""

_PLAIN = {"bool": "bool", "string": "string", "large_string": "string", "float16": "float", "float32": "float"}
_PLAIN |= {"float64": "double", **{f"{u}int{n}": f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)}}


class Datasets:
    """A split of a dataset: its pictures or tensors, labels by their names, other plain columns as metadata.

    Args:
        name: A name on the hub, or a folder that ``save_to_disk`` wrote; with ``:SPLIT`` behind it where there are
            several.
        item: The column of items; None for the only one of pictures.
        label: The column of labels; None for one called ``label``.
    """

    kind = "datasets"
    placed = True
    unique = True
    told: tuple[str, ...] = ()

    def __init__(self, name: str, item: str | None = None, label: str | None = None) -> None:
        self.name = name.removeprefix(PREFIX)
        self._data = _loaded(self.name)
        features = self._data.features
        kinds = {column: type(feature).__name__ for column, feature in features.items()}
        pictures = [column for column, kind in kinds.items() if kind == "Image"]
        if item is None and len(pictures) != 1:
            raise UsageError(
                f"It is not known which column of {self.name} holds the items: {len(pictures)} hold pictures.",
                option="item_column",
                accepted=", ".join(features),
                advice=("Say which with ", option("item_column", (pictures or list(features))[0]), "."),
            )
        self.item = pictures[0] if item is None else item
        self.label = ("label" if "label" in features else None) if label is None else label
        for column in filter(None, (self.item, self.label)):
            if column not in features:
                raise UsageError(f"{self.name} has no column {column!r}", got=column, accepted=", ".join(features))
        if kinds[self.item] == "Image":
            datasets = import_module("datasets")

            self._data = self._data.cast_column(self.item, datasets.Image(decode=False))
        self._names = getattr(features[self.label], "names", None) if self.label else None
        used = {self.item, self.label, "split"}
        plain = {c: _PLAIN.get(str(getattr(f, "dtype", ""))) for c, f in features.items() if c not in used}
        self._more = {column: kind for column, kind in plain.items() if kind is not None}
        self._split = "split" if "split" in features else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """Its plain columns."""
        return {free_name(name): kind for name, kind in self._more.items()}

    def entries(self) -> Iterator[Entry]:
        """A row after another."""
        told = self._data.select_columns([c for c in (self.label, self._split, *self._more) if c])
        for row in range(len(self._data)):
            values = told[row] if told.column_names else {}
            label = self._called(values.get(self.label))
            split = values.get(self._split)
            more = tuple(values[name] for name in self._more)
            yield Entry(f"{row:09d}", 0, row, -1, label, None if split is None else str(split), more)

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """What a row holds."""
        value = self._data[at][self.item]
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            content, path = value.get("bytes"), value.get("path")
            if content is None and path and there(path) == "file":
                return file_content(Path(path).parent, Path(path).name)
            if content is None:
                raise PictureError("The row holds nothing.")
            return bytes(content)
        array = np.asarray(value)
        if array.dtype.kind not in "fiu" or array.ndim == 0:
            raise ItemError("The row holds no array of numbers.")
        return array.astype(np.float32) if array.dtype == np.float64 else array

    def recipe(self) -> dict[str, Any]:
        """Its name, and which columns are meant."""
        path, colon, split = self.name.rpartition(":") if there(self.name) != "folder" else (self.name, "", "")
        name = f"{Path(path).resolve()}{colon}{split}" if there(path) == "folder" else self.name
        return {"kind": self.kind, "name": name, "item": self.item, "label": self.label}

    def _called(self, value: Any) -> str | None:
        """A label as text: numbers stand for the names that the dataset states."""
        if value is None or (isinstance(value, int) and value < 0):  # which datasets write for unlabelled items
            return None
        known = self._names is not None and isinstance(value, int) and value < len(self._names)
        return str(self._names[value]) if known and self._names is not None else str(value)


def _loaded(name: str) -> Any:
    """The split that a name says.

    Raises:
        MissingDependency: the library is not installed.
        UsageError: it cannot be loaded, or has several splits.
    """
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise MissingDependency("Datasets of Hugging Face need their library: pip install datasets.") from None
    path, _, split = name.rpartition(":") if ":" in name and there(name) != "folder" else (name, "", "")
    try:
        if there(path) == "folder" and any(there(Path(path) / one) for one in _SAVED):
            found = datasets.load_from_disk(path)
        else:
            found = datasets.load_dataset(path)
    except Exception as error:
        raise UsageError(f"Dataset {path!r} cannot be loaded: {str(error)[:200]}.") from None
    if not isinstance(found, dict):
        return found
    if split in found:
        return found[split]
    if len(found) == 1 and not split:
        return next(iter(found.values()))
    raise UsageError(
        f"Dataset {path!r} has several splits.",
        option="items",
        got=name,
        accepted=", ".join(f"{PREFIX}{path}:{one}" for one in found),
    )


_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")
