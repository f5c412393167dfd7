"""Where a store lies: six verbs that a local folder answers, and that an object store can answer too.

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

__all__ = ["LocalFolder", "Place"]

_TEMPORARY = ".tmp."


class Place(Protocol):
    """What keeps bytes by a name of the form ``folder/name``."""

    def put(self, name: str, content: bytes) -> None:
        """Keep bytes under a name that follows from them; there already, they are the same and stay."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Keep bytes under a name that is not taken; False where it is, and nothing changes."""
        ...

    def get(self, name: str) -> bytes | None:
        """The bytes of a name; None where there is none."""
        ...

    def names(self, folder: str) -> Iterator[str]:
        """Names in a folder, without temporary ones, in any order."""
        ...

    def remove(self, name: str) -> None:
        """Take a name away; one that is not there is no error."""
        ...

    def sweep(self, folder: str) -> int:
        """Remove what killed processes left half-written in a folder; how many. Only while none is writing."""
        ...


class LocalFolder:
    """A folder on a disk.

    Args:
        path: The folder; it and what is below are made as they are needed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def put(self, name: str, content: bytes) -> None:
        """Write, flush, rename, flush the folder.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        target = self.path / name
        if _size(target) == len(content):  # one that was cut short is written again
            try:
                _flush_folder(target.parent)  # whoever wrote it may have been killed before it did
            except OSError as error:
                raise OutputError(f"Cannot write {str(target)[:300]}: {error.strerror or error}.") from None
            return
        with _Writing(target, content) as temporary:
            temporary.replace(target)
            _flush_folder(target.parent)

    def create(self, name: str, content: bytes) -> bool:
        """Write, flush, link if absent, flush the folder.

        Raises:
            OutputError: the disk is full, or cannot be written.
        """
        target = self.path / name
        if _size(target) is not None:
            return False
        with _Writing(target, content) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            temporary.unlink()
            _flush_folder(target.parent)
        return True

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

    def names(self, folder: str) -> Iterator[str]:
        """Names in a folder, as the disk gives them; none where there is no folder."""
        try:
            with os.scandir(self.path / folder) as entries:
                for one in entries:
                    if not one.name.startswith("."):
                        yield one.name
        except FileNotFoundError:
            return

    def remove(self, name: str) -> None:
        """Unlink.

        Raises:
            OutputError: it cannot be removed.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot remove {str(self.path / name)[:300]}: {error.strerror or error}.") from None

    def sweep(self, folder: str) -> int:
        """Unlink temporary files."""
        count = 0
        for one in list((self.path / folder).glob(f"{_TEMPORARY}*")) if (self.path / folder).is_dir() else []:
            one.unlink(missing_ok=True)
            count += 1
        return count


class _Writing:
    """A temporary neighbour that holds the bytes, flushed to the disk; it is gone when the block ends."""

    def __init__(self, target: Path, content: bytes) -> None:
        self._target, self._content = target, content
        self._temporary = target.parent / f"{_TEMPORARY}{os.getpid()}.{os.urandom(6).hex()}"

    def __enter__(self) -> Path:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(number, "wb") as file:
                file.write(self._content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._away()
            raise OutputError(f"Cannot write {str(self._target)[:300]}: {error.strerror or error}.") from None
        except BaseException:
            self._away()
            raise
        return self._temporary

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._away()
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise OutputError(f"Cannot write {str(self._target)[:300]}: {error.strerror or error}.") from None

    def _away(self) -> None:
        with contextlib.suppress(OSError):  # a disk that has just gone read-only; the next sweep sees it
            self._temporary.unlink(missing_ok=True)


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
