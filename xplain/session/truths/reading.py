"""``truth=``: what a person gives, by the names of the items that it speaks of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import PictureError, UsageError
from xplain.core.keeping.files import there
from xplain.core.keeping.plain import counted
from xplain.session.truths.annotations import coco, table, voc
from xplain.session.truths.known import Known, boxed, masked
from xplain.session.truths.names import Names

__all__ = ["ACCEPTED", "Truths", "mask_of", "truths_of"]

ACCEPTED = (
    "a .csv of boxes (file, y0, x0, y1, x1), COCO's .json, a folder of masks (.png, .npy) or of Pascal VOC's .xml that "
    "are named as the items, or boxes (y0, x0, y1, x1) and masks in Python, in order or by name"
)
_MASKS = (".png", ".bmp", ".tif", ".tiff", ".webp", ".npy")
_MOST_MASK = 2**28


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """What is known of items, an item at a time.

    Args:
        says: What it is, in words.
        entries: Item's number to what says it: what is known, or how to read it.
        strange: Names that no item has.
        named: How many names there are.
    """

    says: str
    entries: Mapping[int, Known | Callable[[], Known]]
    strange: tuple[str, ...] = ()
    named: int = 0

    def of(self, number: int) -> Known | None:
        """What is known of an item; None where nothing is said of it.

        Raises:
            UsageError: what says it cannot be read.
        """
        found = self.entries.get(number)
        return found() if callable(found) else found


@dataclass(slots=True)
class _Gathered:
    """Boxes of several lines, put together by item."""

    names: Names
    found: dict[int, Known] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    def add(self, name: str, one: Known, folder: Path | None = None) -> None:
        """What one line says of a name."""
        self.named.add(name)
        number = self.names.of(name, folder)
        if number is None:
            self.strange.append(name)
            return
        before = self.found.get(number)
        if before is None:
            self.found[number] = one
            return
        boxes = np.concatenate([before.boxes, one.boxes])
        self.found[number] = replace(before, boxes=boxes, labels=(*before.labels, *one.labels))

    def truths(self, says: str) -> Truths:
        """All of it."""
        return Truths(says, self.found, tuple(dict.fromkeys(self.strange)), len(self.named))


def truths_of(given: Any, names: Sequence[str], *, files: bool = False) -> Truths:
    """What is known of items.

    Args:
        given: See ``ACCEPTED``.
        names: The items' names, in their order.
        files: Whether the names are paths, so that a table's names are relative to its folder too.

    Raises:
        UsageError: it cannot be read or understood, or names none of the items.
    """
    known = Names(names, files)
    if isinstance(given, (str, os.PathLike)):
        found = _of_path(Path(given), known)
        if found.named and not found.entries:
            some = ", ".join(repr(one)[:80] for one in found.strange[:2])
            raise UsageError(
                f"--truth {os.fspath(given)} names none of the {len(names)} pictures, such as {names[0]}; it names "
                f"{some}."
            )
        return found
    if isinstance(given, Mapping):
        gathered = _Gathered(known)
        for name, one in given.items():
            gathered.add(str(name), _in_memory(one))
        return gathered.truths("boxes and masks by name")
    if isinstance(given, np.ndarray) and given.dtype != object:
        given = list(given)
    if not isinstance(given, Sequence):
        raise UsageError(option="truth", got=given, accepted=ACCEPTED)
    if len(given) != len(names):
        raise UsageError(
            f"What is known is of {counted(len(given), 'item')}, and there are {len(names)}. Give one entry "
            "for each, None where "
            "nothing is known, or give them by name.", option="truth",
        )  # fmt: skip
    entries = {k: _in_memory(one) for k, one in enumerate(given) if one is not None}
    return Truths("boxes and masks in order", entries, (), len(given))


def _in_memory(one: Any) -> Known:
    """A mask, or a list of boxes."""
    if isinstance(one, Known):
        return one
    if hasattr(one, "detach"):  # a torch tensor, without importing torch
        one = one.detach().cpu().numpy()
    if isinstance(one, np.ndarray) and (one.dtype == bool or one.ndim != 2 or one.shape[1] != 4):
        return masked(one)
    if isinstance(one, np.ndarray) and one.dtype.kind in "iuf" and np.isin(one, (0, 1)).all():
        raise UsageError(
            "An array of four columns of 0 and 1 may be boxes or a mask. Give a mask as truth values "
            "(mask.astype(bool)), boxes as a list.", option="truth",
        )  # fmt: skip
    if not isinstance(one, (list, tuple, np.ndarray)):
        raise UsageError(option="truth", got=one, accepted=ACCEPTED)
    return boxed(list(one))


def _of_path(path: Path, names: Names) -> Truths:
    ending, kind = path.suffix.lower(), there(path)
    if kind == "folder":
        return _of_folder(path, names)
    if ending in (".csv", ".tsv"):
        gathered = _Gathered(names)
        for name, one in table(path):
            gathered.add(name, one, path.parent)
        return gathered.truths("boxes of a table")
    if ending == ".json":
        gathered = _Gathered(names)
        for name, one in coco(path):
            gathered.add(name, one, path.parent)
        return gathered.truths("boxes of a COCO file")
    if kind != "file":
        raise UsageError(f"There is nothing at {str(path)!r:.300}", option="truth", got=str(path), accepted=ACCEPTED)
    raise UsageError(option="truth", got=str(path), accepted=ACCEPTED)


def _of_folder(folder: Path, names: Names) -> Truths:
    """Masks, or Pascal VOC's files, each called as an item is but for its ending."""
    every = [one for one in sorted(folder.rglob("*")) if one.is_file()]
    inside = [(one, one.relative_to(folder)) for one in every]
    inside = [(one, name) for one, name in inside if not any(part[0] == "." for part in name.parts)]
    masks = [(one, name) for one, name in inside if name.suffix.lower() in _MASKS]
    notes = [(one, name) for one, name in inside if name.suffix.lower() == ".xml"]
    if masks and notes:
        raise UsageError(
            f"{folder} holds masks ({masks[0][1]}) and Pascal VOC's files ({notes[0][1]}), and it is not known which "
            "are meant. Give a folder of one kind.", option="truth",
        )  # fmt: skip
    if not masks and not notes:
        raise UsageError(
            f"{folder} holds no mask ({', '.join(_MASKS)}) and no Pascal VOC file (.xml).", option="truth",
            got=str(folder), accepted=ACCEPTED,
        )  # fmt: skip
    entries: dict[int, Callable[[], Known]] = {}
    strange, read = [], mask_of if masks else voc
    for path, name in masks or notes:
        number = names.of_file(name.as_posix())
        if number is None:
            strange.append(name.as_posix())
        elif number in entries:
            raise UsageError(f"{folder} holds two files of item {names.names[number]!r}, {name} among them. Keep one.")
        else:
            entries[number] = lambda path=path: read(path)  # type: ignore[misc]
    says = "masks of a folder" if masks else "boxes of Pascal VOC's files"
    return Truths(says, entries, tuple(strange), len(masks or notes))


def mask_of(path: Path) -> Known:
    """The mask of a file: what is not black is inside."""
    if path.suffix.lower() == ".npy":
        return masked(_array(path))
    from xplain.render import pictures

    try:
        seen = pictures.read(path, (0.0, 1.0))  # of more than 8 bits too, 1 is inside
    except PictureError as error:
        raise UsageError(f"The mask {path} cannot be read: {error}") from None
    return masked(seen.any(axis=2))


def _array(path: Path) -> Array:
    try:
        if path.stat().st_size > _MOST_MASK:
            raise UsageError(f"The mask {path} has {path.stat().st_size:,} bytes; accepted: up to {_MOST_MASK:,}.")
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"The mask {path} cannot be read: {str(error)[:200]}.") from None
