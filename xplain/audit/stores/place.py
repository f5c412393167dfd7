"""Where a store lies: a few verbs that a local folder answers, and an object store too.

Whatever takes a name here takes it in one step and whole. On a local disk the bytes go to a temporary neighbour, are
flushed to the disk, and take their name by ``rename(2)`` (parts, whose name follows from their bytes) or by ``link(2)``
(seals, which are made once); then the folder is flushed. A process that is killed between any two of these steps leaves
a temporary file, never half of a part or seal.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from xplain.core.errors import OutputError
from xplain.core.keeping.files import remove_stale, try_lock

__all__ = ["BLOCK", "Block", "Growing", "LocalFolder", "Place"]

_TEMPORARY = ".tmp."
BLOCK = 1 << 20
"""Bytes that are read at a time."""

Block = bytes | memoryview


class Growing(Protocol):
    """Bytes that come one block after another, and have no name before the last."""

    def write(self, block: Block) -> None:
        """Some more of them."""
        ...

    def take(self, name: str) -> None:
        """All are there: keep them under a name that follows from them; there already, they are the same and stay."""
        ...

    def drop(self) -> None:
        """Let go of what was written; nothing after ``take``."""
        ...


class Place(Protocol):
    """What keeps bytes by a name of the form ``folder/name``."""

    @property
    def called(self) -> str:
        """What a person calls it."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Keep bytes under a name that follows from them; there already, they are the same and stay."""
        ...

    def grow(self, folder: str) -> Growing:
        """Bytes for a folder whose name is not known before the last of them."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Keep bytes under a name that is not taken; False where it is, and nothing changes."""
        ...

    def get(self, name: str) -> bytes | None:
        """The bytes of a name; None where there is none."""
        ...

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a name where they are kept, a block at a time.

        Raises:
            FileNotFoundError: there are none.
            OSError: they cannot be read.
        """
        ...

    def file(self, name: str) -> Path:
        """Where the bytes of a name lie as a file, for readers that map it; there may be none."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """Names in a folder that have bytes, without temporary ones, in any order."""
        ...

    def strays(self, folder: str) -> Iterator[str]:
        """Names in a folder that are taken by something without bytes, such as a folder."""
        ...

    def remove(self, name: str) -> None:
        """Take a name away; one that is not there is no error."""
        ...

    def sweep(self, folder: str, living: bool = False) -> int:
        """Remove what killed processes left half-written in a folder; how many.

        Args:
            folder: The folder.
            living: Others may be writing now, and what they hold stays.
        """
        ...


class LocalFolder:
    """A folder on a disk.

    Args:
        path: The folder; it and what is below are made as they are needed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def called(self) -> str:
        """Its path."""
        return str(self.path)[:300]

    def put(self, name: str, content: bytes) -> None:
        """Write, flush, rename, flush the folder.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        target = self.path / name
        if _size(target) == len(content):  # one that was cut short is written again
            _settled(target)
            return
        growing = _Temporary(self.path, target)
        try:
            growing.write(content)
            growing.take(name)
        finally:
            growing.drop()

    def grow(self, folder: str) -> Growing:
        """A temporary file of the folder.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        return _Temporary(self.path, self.path / folder / "a part")

    def create(self, name: str, content: bytes) -> bool:
        """Write, flush, link if absent, flush the folder.

        Raises:
            OutputError: the disk is full, or cannot be written; or something that is no file has the name.
        """
        target = self.path / name
        if _size(target) is not None:
            if not target.is_file() or target.is_symlink():
                raise OutputError(f"{str(target)[:300]} is no file, and a seal is one. Remove it, and run again.")
            return False
        growing = _Temporary(self.path, target)
        try:
            growing.write(content)
            return growing.link()
        finally:
            growing.drop()

    def get(self, name: str) -> bytes | None:
        """The bytes of a regular file; None where there is none.

        Raises:
            OutputError: it cannot be read.
        """
        path = self.path / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):  # a link or a pipe is nobody's part
                return None
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"Cannot read {str(path)[:300]}: {error.strerror or error}.") from None

    def blocks(self, name: str) -> Iterator[bytes]:
        """The blocks of a regular file."""
        with os.fdopen(os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def file(self, name: str) -> Path:
        """Its path."""
        return self.path / name

    def names(self, folder: str) -> Iterator[str]:
        """Names of regular files in a folder, as the disk gives them; none where there is no folder."""
        return (name for name, regular in self._entries(folder) if regular)

    def strays(self, folder: str) -> Iterator[str]:
        """Names of folders, links and the like."""
        return (name for name, regular in self._entries(folder) if not regular)

    def _entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        try:
            with os.scandir(self.path / folder) as entries:
                for one in entries:
                    if not one.name.startswith("."):
                        yield one.name, one.is_file(follow_symlinks=False)
        except FileNotFoundError:
            return

    def remove(self, name: str) -> None:
        """Unlink; a folder in its place goes if it is empty.

        Raises:
            OutputError: it cannot be removed.
        """
        path = self.path / name
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot remove {str(path)[:300]}: {error.strerror or error}.") from None

    def sweep(self, folder: str, living: bool = False) -> int:
        """Unlink temporary files; those that a living process holds are locked."""
        count = 0
        for one in list((self.path / folder).glob(f"{_TEMPORARY}*")) if (self.path / folder).is_dir() else []:
            if living:
                count += remove_stale(one)
            else:
                one.unlink(missing_ok=True)
                count += 1
        return count


class _Temporary:
    """A temporary neighbour of what it becomes, locked while it is written.

    Args:
        root: The store's folder.
        target: What it becomes, as far as that is known.
    """

    def __init__(self, root: Path, target: Path) -> None:
        self._root, self._target, self._size = root, target, 0
        self._path = target.parent / f"{_TEMPORARY}{os.getpid()}.{os.urandom(6).hex()}"
        with self._told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            self._file = os.fdopen(number, "wb")
        try_lock(number)

    def write(self, block: Block) -> None:
        with self._told():
            self._file.write(block)
            self._size += len(block) if isinstance(block, bytes) else block.nbytes

    def take(self, name: str) -> None:
        """Flush, rename, flush the folder; or nothing, where it is there in its whole length."""
        self._target = self._root / name
        with self._told():
            if _size(self._target) == self._size:
                self.drop()
                _settled(self._target)
                return
            self._flush()
            self._path.replace(self._target)
            _flush_folder(self._target.parent)

    def link(self) -> bool:
        """Flush, link if absent, flush the folder; False where the name is taken."""
        with self._told():
            self._flush()
            try:
                os.link(self._path, self._target)
            except FileExistsError:
                return False
            self._path.unlink()
            _flush_folder(self._target.parent)
        return True

    def drop(self) -> None:
        with contextlib.suppress(OSError):  # a disk that is full, or has just gone read-only; the next sweep sees it
            self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the system refuses, in words."""
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"Cannot write {str(self._target)[:300]}: {error.strerror or error}.") from None


def _settled(target: Path) -> None:
    """Make a name durable that somebody else gave, and may have been killed before he made it so.

    Raises:
        OutputError: it cannot be flushed.
    """
    try:
        _flush_folder(target.parent)
    except OSError as error:
        raise OutputError(f"Cannot write {str(target)[:300]}: {error.strerror or error}.") from None


def _size(path: Path) -> int | None:
    """Bytes of what has a name; None where nothing has it."""
    try:
        return path.lstat().st_size
    except OSError:
        return None


def _flush_folder(path: Path) -> None:
    """Make a name itself durable, where the system can."""
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)
