"""Archives: WebDataset's tar files, and the one that keeps items which were given in memory.

A sample is what has the same name up to the first dot: ``0001.jpg``, ``0001.cls`` and ``0001.json`` are a picture, its
label and its metadata. Members are read at their offsets, so any item can be read at any time; archives that are
compressed as a whole cannot be.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from xplain.audit.sources.entries import MOST_BYTES, Content, Entry, array_of, is_item
from xplain.core.errors import ItemError, PictureError, UsageError
from xplain.core.keeping.files import there, whole_file
from xplain.core.keeping.strict import strict

__all__ = ["Archives", "pack"]

_MOST_SAID = 1 << 20
"""Bytes of a label or of metadata that are read."""


class Archives:
    """The samples of one or several tar files, in their order.

    Args:
        paths: The files. With several, a name begins with its file's.
        kind: ``tar``, or ``arrays`` for items that were given in memory.
    """

    placed = True
    unique = False

    def __init__(self, paths: Sequence[str | os.PathLike[str]], kind: str = "tar") -> None:
        self.kind = kind
        self.paths = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links stay as they are named
        for path in self.paths:
            if there(path) != "file":
                raise UsageError(f"There is no archive {str(path)!r:.300}.", option="items", got=str(path))
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)
        self._left = 0

    @property
    def metadata(self) -> Mapping[str, str]:
        """The members ``.json``, whole: their fields differ from sample to sample."""
        return {"json": "string"} if self.kind == "tar" else {}

    @property
    def told(self) -> tuple[str, ...]:
        """What was left out."""
        return (f"{self._left:,} samples hold no picture or array and were left out.",) if self._left else ()

    def entries(self) -> Iterator[Entry]:
        """All samples that hold a picture or an array.

        Raises:
            UsageError: a file is no tar file, or is damaged.
        """
        self._left = 0
        for number, path in enumerate(self.paths):
            before = f"{path.name}/" if len(self.paths) > 1 else ""
            for members in _samples(path):
                entry = self._entry(number, before, members)
                self._left += entry is None
                if entry is not None:
                    yield entry

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """A member's content."""
        if size > MOST_BYTES:
            raise PictureError(f"It has {size:,} bytes; accepted: up to {MOST_BYTES:,}.")
        try:
            content = os.pread(self._open(file), size, at)
        except OSError as error:
            raise PictureError(f"The archive cannot be read: {error.strerror or error}.") from None
        if len(content) != size:
            raise PictureError("The archive was cut short.")
        return array_of(content) if content and name.lower().endswith(".npy") else content

    def recipe(self) -> dict[str, Any]:
        """The files."""
        return {"kind": self.kind, "paths": [str(path) for path in self.paths]}

    def _open(self, number: int) -> int:
        """The open file, until this goes: several threads read from it, at offsets of their own."""
        with self._lock:
            if number not in self._files:
                self._files[number] = os.open(self.paths[number], os.O_RDONLY)
            return self._files[number]

    def _entry(self, number: int, before: str, members: Sequence[tarfile.TarInfo]) -> Entry | None:
        pictures = [one for one in members if is_item(one.name)]
        if not pictures:
            return None
        if len(pictures) > 1:
            called = ", ".join(PurePosixPath(one.name).name for one in pictures)[:200]
            raise UsageError(
                f"Sample {_key(pictures[0].name)!r:.200} holds {len(pictures)} pictures or arrays: {called}. An item "
                "is one; write archives with one per sample."
            )
        said = {_ending(one.name): one for one in members}
        label = self._said(number, said.get("cls"))
        more = (self._said(number, said.get("json")),) if self.metadata else ()
        one = pictures[0]
        return Entry(f"{before}{one.name}", number, one.offset_data, one.size, label, more=more)

    def _said(self, number: int, member: tarfile.TarInfo | None) -> str | None:
        if member is None or member.size > _MOST_SAID:
            return None
        text = os.pread(self._open(number), member.size, member.offset_data).decode("utf-8", "replace").strip()
        if _ending(member.name) == "json":
            try:
                strict(text.encode())
            except ValueError:
                return None
        return text or None


def _close(files: dict[int, int]) -> None:
    for number in files.values():
        os.close(number)


def _samples(path: Path) -> Iterator[list[tarfile.TarInfo]]:
    """Neighbouring members with one key."""
    try:
        with tarfile.open(path, "r:") as archive:
            members: list[tarfile.TarInfo] = []
            while (one := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # which would grow with the archive
                if not one.isreg() or one.issparse() or PurePosixPath(one.name).name.startswith("."):
                    continue
                if members and _key(members[0].name) != _key(one.name):
                    yield members
                    members = []
                members.append(one)
            if members:
                yield members
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(
            f"{str(path)[:300]} cannot be read as a tar file: {str(error)[:100]}. Accepted: tar files that are not "
            "compressed as a whole, for items are read at any place; unpack .tar.gz first."
        ) from None


def _key(name: str) -> str:
    """A member's sample: its name up to the first dot of its last part."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _ending(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[2].lower()


def pack(path: Path, items: Iterable[Any]) -> None:
    """Write items that were given in memory into an archive, one at a time: the same items make the same bytes.

    Args:
        path: The archive.
        items: Arrays (tensors, or uint8 pictures), the bytes of picture files, or PIL pictures.

    Raises:
        ItemError: an item is nothing of these.
        OutputError: the archive cannot be written.
    """
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for number, one in enumerate(items):
            name, content = _packed(number, one)
            head = tarfile.TarInfo(name)
            head.size = len(content)
            archive.addfile(head, io.BytesIO(content))
            archive.members.clear()  # type: ignore[attr-defined]


def _packed(number: int, one: Any) -> tuple[str, bytes]:
    if isinstance(one, (bytes, bytearray)):
        return f"{number:09d}.{_format_of(bytes(one))}", bytes(one)
    if hasattr(one, "detach"):  # a torch tensor, without importing torch
        one = one.detach().cpu().numpy()
    elif hasattr(one, "convert"):  # a PIL picture
        one = np.asarray(one.convert("RGB"))
    array = np.asarray(one)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ItemError(
            f"Item {number} is {type(one).__name__}; accepted: arrays of numbers, bytes of picture files, PIL "
            "pictures, or paths for all of them."
        )
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return f"{number:09d}.npy", buffer.getvalue()


def _format_of(content: bytes) -> str:
    """The ending of a picture's name by its first bytes; what is none keeps its place, and fails when it is read."""
    starts = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif"}
    return next((ending for start, ending in starts.items() if content.startswith(start)), "dcm")
