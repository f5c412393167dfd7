"""Folders of a few files that appear whole or not at all, and are replaced only by what wrote them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from xplain.core.errors import OutputError
from xplain.core.keeping.files import there

__all__ = ["write_folder"]


def write_folder(path: str | os.PathLike[str], files: Mapping[str, bytes], ours: Callable[[Path], bool]) -> list[Path]:
    """Write a folder that holds exactly these files, in one step; their paths, in order.

    The files go to a hidden neighbour, are flushed to the disk, and the neighbour takes the name. A folder that stands
    there already goes away only after that, and only if it is empty or ``ours`` says so.

    Args:
        path: The folder.
        files: Names to contents.
        ours: Whether a folder that stands there was written by the caller, and holds nothing else.

    Raises:
        OutputError: the place cannot be written, or holds something else.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100 - a link is to stay one, which resolve would follow
    kind = there(target)
    if kind not in ("", "folder"):
        raise OutputError(f"{str(target)[:300]} is a {kind}; give a folder, or a name that is free.")
    hidden: Path | None = None
    try:
        if kind and any(target.iterdir()) and not ours(target):
            raise OutputError(
                f"{str(target)[:300]} holds files that are no report of xplain's, or were altered since. Choose "
                "another folder, or a name that is free."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        new, old = hidden / "new", hidden / "old"
        new.mkdir()
        for name, content in files.items():
            with (new / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if kind:
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if kind:
                old.rename(target)
            raise
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"Cannot write {str(target)[:300]}: {error.strerror or error}.") from None
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)
    return [target / name for name in files]
