"""``truth=``: what a person gives, by the names of the items that it speaks of."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.core.keeping.plain import counted
from xplain.session.truths.annotations import coco, table, voc
from xplain.session.truths.known import Known, boxed
from xplain.session.truths.masks import mask_of, masked
from xplain.session.truths.names import Names

__all__ = ["ACCEPTED", "Truths", "mask_of", "truths_of"]

ACCEPTED = (
    "a .csv of boxes (file, y0, x0, y1, x1), COCO's .json, a folder of masks (.png, .npy) or of Pascal VOC's .xml that "
    "are named as the items, or boxes (y0, x0, y1, x1) and masks in Python, in order or by name"
)
_MASKS = (".png", ".bmp", ".tif", ".tiff", ".webp", ".npy")


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """What is known of items, an item at a time.

    Args:
        says: What it is, in words.
        entries: Item's number to what says it: what is known, or how to read it.
        strange: Names that no item has.
        named: How many names there are.
        masks: Whether all are masks, which take long to read.
    """

    says: str
    entries: Mapping[int, Known | Callable[[], Known]]
    strange: tuple[str, ...] = ()
    named: int = 0
    masks: bool = False

    def of(self, number: int) -> Known | None:
        """What is known of an item; None where nothing is said of it.

        Raises:
            UsageError: what says it cannot be read.
        """
        found = self.entries.get(number)
        return found() if callable(found) else found

    def labels(self) -> Counter[str]:
        """How many boxes each label has; of what cannot be read, none. Masks have no labels, and are not read."""
        found: Counter[str] = Counter()
        for number in self.entries if not self.masks else ():
            try:
                known = self.of(number)
            except UsageError:  # told where its item is compared
                continue
            found.update(one for one in (known.labels if known is not None else ()) if one)
        return found

    def told(self) -> Iterator[str]:
        """What must be known of names that no item has, in a sentence."""
        if self.strange:
            some = ", ".join(map(repr, self.strange[:3]))[:200]
            yield f"{counted(len(self.strange), 'name')} of what is known is no item's, such as {some}."


@dataclass(slots=True)
class _Gathered:
    """What is said of names, put together by item; boxes of several lines of one name are of one item."""

    names: Names
    found: dict[int, Known | Callable[[], Known]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    named: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _by: dict[int, str] = field(default_factory=dict)

    def add(self, name: str, one: Known | Callable[[], Known], numbers: tuple[int, ...]) -> None:
        """What one line says of a name, which means these items.

        Raises:
            UsageError: another name means one of them, or the lines contradict each other.
        """
        self.named[name] = numbers
        if not numbers:
            self.strange.append(name)
        for number in numbers:
            by = self._by.setdefault(number, name)
            if by != name:
                raise UsageError(
                    f"{by!r:.200} and {name!r:.200} both mean item {self.names.names[number]!r:.200}, and it is not "
                    "known which is right. Keep one, or write as much of their paths as tells items apart.",
                    option="truth",
                )
            before = self.found.get(number)
            self.found[number] = one if before is None else _with(before, one, name)

    def add_named(self, name: str, one: Known, folder: Path | None = None) -> None:
        """The same, of a name that may be relative to a folder."""
        name = name.strip()
        known = self.named.get(name)
        self.add(name, one, self.names.of(name, folder) if known is None else known)

    def truths(self, says: str, masks: bool = False) -> Truths:
        """All of it."""
        return Truths(says, self.found, tuple(dict.fromkeys(self.strange)), len(self.named), masks)


def _with(before: Known | Callable[[], Known], one: Known | Callable[[], Known], name: str) -> Known:
    """Boxes of two lines of one name."""
    if callable(before) or callable(one) or before.runs is not None or one.runs is not None:
        raise UsageError(f"Two masks are given for {name!r:.200}. Keep one.", option="truth")
    if before.size and one.size and before.size != one.size:
        sizes = " and ".join(f"{high} x {wide}" for high, wide in (before.size, one.size))
        raise UsageError(f"{name!r:.200} is stated to be {sizes} pixels. Keep what is right.", option="truth")
    boxes = np.concatenate([before.boxes, one.boxes])
    return replace(before, boxes=boxes, labels=(*before.labels, *one.labels), size=before.size or one.size)


def truths_of(given: Any, names: Sequence[str], *, files: bool = False) -> Truths:
    """What is known of items.

    Args:
        given: See ``ACCEPTED``.
        names: The items' names, in their order.
        files: Whether the names are paths, so that a table's names are relative to its folder too.

    Raises:
        UsageError: it cannot be read or understood, or names none of the items.
    """
    if not names:
        raise UsageError("There are no items that anything could be known of.", option="truth")
    known = Names(names, files)
    if isinstance(given, (str, os.PathLike)):
        found = _of_path(Path(given), known)
        if found.named and not found.entries:
            some = ", ".join(repr(one)[:80] for one in found.strange[:2])
            raise UsageError(
                f"--truth {os.fspath(given)} names none of the {len(names)} pictures, such as {names[0]}; it names "
                f"{some}.{_alike(known, found.strange)}"
            )
        return found
    if isinstance(given, Mapping):
        gathered = _Gathered(known)
        for name, one in given.items():
            gathered.add_named(str(name), _in_memory(one))
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
            gathered.add_named(name, one, path.parent)
        return gathered.truths("boxes of a table")
    if ending == ".json":
        gathered = _Gathered(names)
        for name, one in coco(path):
            gathered.add_named(name, one, path.parent)
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
    gathered, read = _Gathered(names), mask_of if masks else voc
    for path, name in masks or notes:
        gathered.add(name.as_posix(), partial(read, path), names.of_file(name.as_posix()))
    return gathered.truths("masks of a folder" if masks else "boxes of Pascal VOC's files", bool(masks))


def _alike(names: Names, strange: Sequence[str]) -> str:
    """What to do about a name whose last part is an item's."""
    for name in strange:
        item = names.elsewhere(name)
        if item is not None:
            return (
                f" {name!r:.200} and {item!r:.200} end alike and lie in different folders: make their paths the same, "
                "or leave the folders out where no two pictures are called the same."
            )
    return ""
