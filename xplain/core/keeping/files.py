"""Files are written whole or not at all, and read within bounds: what lies there may come from anyone."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from xplain.core.errors import OutputError, XplainError

__all__ = ["RECORD", "hidden_part", "hold", "holder", "is_record", "let_go", "lines_of", "read_text"]
__all__ += ["remove_stale", "there", "whole_file"]

try:
    import fcntl
except ImportError:  # no POSIX system
    lock_file: Callable[[int], None] | None = None
else:

    def lock_file(file: int) -> None:
        """Lock an open file, or raise at once."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TRIES = 5
RECORD = "run.json"
"""Tells in a folder of results what a run did, and which of its files xplain wrote."""
MOST_TEXT = 64 * 2**20
"""Bytes of a text file that are read."""


def there(path: str | os.PathLike[str]) -> Literal["file", "folder", "other", ""]:
    """What stands at a path; empty where nothing does, or no path is so long or so written."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def read_text(path: str | os.PathLike[str], kind: type[XplainError], what: str, most: int = MOST_TEXT) -> str:
    """A UTF-8 text file, without the mark that some editors write at its beginning.

    Args:
        path: The file.
        kind: The error to raise.
        what: What it is, for the message, such as ``"The labels file labels.txt"``.
        most: Bytes that it may have.

    Raises:
        XplainError: of ``kind``: no regular file, too large, not UTF-8, or it cannot be read.
    """
    why = "there is no such file"
    try:
        facts = Path(path).stat()
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= most:
            return Path(path).read_bytes().decode("utf-8-sig")
        regular = stat.S_ISREG(facts.st_mode)
        why = f"it has {facts.st_size:,} bytes, and at most {most:,} are read" if regular else "it is no regular file"
    except UnicodeDecodeError as error:
        why = f"it is not UTF-8 text (byte {error.start}); save it as UTF-8"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    raise kind(f"{what[:300]} cannot be read: {why}.")


def is_record(path: Path) -> bool:
    """Whether a file begins as the record does that xplain writes beside its results."""
    try:
        with path.open("rb") as file:
            return file.read(40).lstrip(b"{ \r\n\t").startswith(b'"written_by": "xplain ')
    except OSError:
        return False


def lines_of(text: str) -> list[str]:
    """The lines of a list that has an entry per line, blank ones included: the place of a line is its number.

    Only line feeds end a line, not the other marks that ``str.splitlines`` knows: one inside a name would move every
    name behind it by one. Blank lines at the end are no entries.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes its name ``path`` only when the block ends without an exception.

    The bytes go to a hidden neighbour, are flushed to the disk, and take the name in one step: whoever looks, also
    after a crash or Ctrl-C, sees the old file, the new one, or none, never a part. A neighbour that a killed process
    left behind is removed by the next that writes the same file.

    Raises:
        OutputError: the place cannot be written.
    """
    target = Path(path)
    temporary: Path | None = None
    if "\0" in str(target):
        raise OutputError(f"Cannot write {str(target)[:300]!r}: a name without a zero byte is needed.")
    try:
        if target.exists() and not (target.is_file() or target.is_dir()):  # a device, which must not be replaced
            raise OutputError(f"Cannot write {str(target)[:300]}: it is no file but a device or a pipe.")
        file, temporary = _neighbour(target)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # temporary files start private; the result has ordinary permissions
            temporary.replace(target)
            temporary = None
    except OSError as error:
        raise OutputError(f"Cannot write {str(target)[:300]}: {error.strerror or error}.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def hidden_part(target: Path) -> Path:
    """The hidden neighbour that a file is written to first."""
    return target.with_name(f".{target.name}.part")


def _neighbour(target: Path) -> tuple[IO[bytes], Path]:
    """A hidden file beside ``target`` that is ours alone while it is open: locked, for a lock ends with its process."""
    part = hidden_part(target)
    for _ in range(_TRIES if lock_file is not None else 0):
        try:
            file = os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600), "w+b")
        except FileExistsError:
            if remove_stale(part):
                continue
            break  # another process is writing the same file
        if try_lock(file.fileno()):
            if _is_at(part, file.fileno()):
                return file, part
            file.close()  # taken for stale before it was locked
            continue
        file.close()
        part.unlink(missing_ok=True)
        break  # a file system without locks
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    return os.fdopen(number, "w+b"), Path(name)


def remove_stale(part: Path) -> bool:
    """Remove a hidden file that no living process holds; False where one does, or it is none of ours."""
    try:
        file = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        facts = os.fstat(file)
        ours = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and facts.st_uid == os.getuid()
        if not ours or not try_lock(file) or not _is_at(part, file):
            return False
        part.unlink(missing_ok=True)
        return True
    finally:
        os.close(file)


def hold(place: Path, who: str = "") -> int | None:
    """Make and lock a hidden file that says that a place is in use; None where another process has it.

    The lock ends with its process, however that ends, and the file alone holds nobody off.

    Args:
        place: The file.
        who: What it says of its holder.

    Returns:
        The open file, or -1 where files cannot be locked there.
    """
    for _ in range(_TRIES if lock_file is not None else 0):
        try:
            file = os.open(place, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        except OSError:
            return -1
        taken = _taken(file)
        if taken is False and _is_at(place, file):
            with suppress(OSError):  # a full disk; the lock holds all the same
                os.truncate(file, 0)
                os.write(file, who.encode("utf-8", "backslashreplace"))
            return file
        gone = not _is_at(place, file)
        os.close(file)
        if taken is None:
            return -1
        if not gone:
            return None
    return -1


def holder(place: Path) -> str:
    """What the holder of a place says of itself; empty where it says nothing."""
    try:
        with os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            said = file.read(200).decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(one for one in said if one.isprintable())


def _taken(file: int) -> bool | None:
    """Whether another process has locked an open file; it is locked where none has. None where files know no locks."""
    if lock_file is None:
        return None
    try:
        lock_file(file)
    except OSError as error:
        return True if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) else None
    return False


def let_go(place: Path, file: int) -> None:
    """End what ``hold`` began."""
    if file >= 0:
        place.unlink(missing_ok=True)  # before the lock ends: whoever waits makes a new one
        os.close(file)


def try_lock(file: int) -> bool:
    """Lock an open file until it is closed, or its process ends; False where another has it, or files know no locks."""
    if lock_file is None:
        return False
    try:
        lock_file(file)
    except OSError:
        return False
    return True


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(file))
    except OSError:
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
