"""Files are written whole or not at all, and read within bounds: what lies there may come from anyone."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from xplain.core.errors import OutputError, XplainError

__all__ = ["lines_of", "read_text", "there", "whole_file"]

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
    after a crash or Ctrl-C, sees the old file, the new one, or none, never a part.

    Raises:
        OutputError: the place cannot be written.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # temporary files start private; the result has ordinary permissions
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error.strerror or error}.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
