"""Files: a folder with all below it, the matches of a pattern, or a list of paths."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from xplain.audit.sources.entries import SUFFIXES, Content, Entry, file_content, is_item
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there

__all__ = ["Files", "Folder", "Pattern", "listing"]

_DEEPEST = 200


class Folder:
    """All items below a folder, sorted by name within each folder, whatever the disk's order.

    One folder's names are held at a time, nothing of what was listed before: a folder of a million files takes some
    hundred bytes for each while it is sorted. Hidden files and links to folders are left out.
    """

    kind = "folder"
    placed = False
    unique = True

    def __init__(self, root: str | os.PathLike[str], endings: tuple[str, ...] = SUFFIXES) -> None:
        self.endings = endings
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links that a person named
        if there(self.root) != "folder":
            raise UsageError(f"There is no folder {os.fspath(root)!r:.300}.", option="items", got=os.fspath(root))
        self._left: Counter[str] = Counter()

    @property
    def metadata(self) -> Mapping[str, str]:
        """None: a folder knows names only."""
        return {}

    @property
    def told(self) -> tuple[str, ...]:
        """What was left out."""
        return _left_out(self._left)

    def entries(self) -> Iterator[Entry]:
        """All items, in order.

        Raises:
            UsageError: a folder cannot be listed.
        """
        self._left.clear()
        for name in listing(self.root):
            if name.lower().endswith(self.endings):
                yield Entry(name)
            else:
                self._left[PurePosixPath(name).suffix.lower()[:20] or "no suffix"] += 1

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """A file's content."""
        return file_content(self.root, name)

    def recipe(self) -> dict[str, Any]:
        """Its root."""
        return {"kind": self.kind, "root": str(self.root)}


class Pattern(Folder):
    """The files that match a pattern such as ``site/*/2026-*.jpg``; ``**`` stands for folders of any depth.

    Names are relative to the folder in front of the first wildcard.
    """

    kind = "glob"

    def __init__(self, pattern: str, root: str | os.PathLike[str] | None = None) -> None:
        parts = Path(pattern).parts
        first = next((k for k, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts) - 1)
        super().__init__(Path(*parts[:first]) if root is None else root)
        self.pattern = str(Path(*parts[first:])) if root is None else pattern

    def entries(self) -> Iterator[Entry]:
        """The matches, sorted."""
        self._left.clear()
        found = glob.iglob(self.pattern, root_dir=self.root, recursive=True)  # noqa: PTH207 - no hidden files
        for name in sorted(set(found)):
            if there(self.root / name) != "file":
                continue
            if is_item(name):
                yield Entry(Path(name).as_posix())
            else:
                self._left[PurePosixPath(name).suffix.lower()[:20] or "no suffix"] += 1

    def recipe(self) -> dict[str, Any]:
        """Its root and pattern."""
        return {**super().recipe(), "pattern": self.pattern}


class Files(Folder):
    """Files by their paths, in the order given; names are relative to the folder that holds them all."""

    kind = "files"
    unique = False

    def __init__(self, paths: Sequence[str | os.PathLike[str]], root: str | os.PathLike[str] | None = None) -> None:
        whole = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - links stay as they are named
        common = os.path.commonpath([Path(path).parent for path in whole]) if root is None else root
        super().__init__(common)
        self._paths = [Path(os.path.relpath(path, self.root)).as_posix() for path in whole]

    def entries(self) -> Iterator[Entry]:
        """The files; one that cannot be read has its place and an error."""
        return (Entry(name) for name in self._paths)


def listing(root: Path) -> Iterator[str]:
    """Names of all files below a folder, relative, with ``/``; entries of each folder in the order of their names.

    Raises:
        UsageError: a folder cannot be listed, or lies too deep.
    """
    waiting: list[Iterator[tuple[str, bool]]] = [_sorted(root, "")]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
        elif not found[1]:
            yield found[0]
        elif len(waiting) >= _DEEPEST:
            raise UsageError(
                f"Folder {found[0][:80]!r}... lies more than {_DEEPEST} deep. Name one nearer to the items."
            )
        else:
            waiting.append(_sorted(root, f"{found[0]}/"))


def _sorted(root: Path, below: str) -> Iterator[tuple[str, bool]]:
    """A folder's entries by name: the name relative to ``root``, and whether it is a folder."""
    try:
        with os.scandir(root / below) as entries:
            names, folders = [], set()  # no more than a name is kept of each of what may be a million
            for one in entries:
                if one.name.startswith(".") or (one.is_symlink() and one.is_dir()):
                    continue
                names.append(one.name)
                if one.is_dir(follow_symlinks=False):
                    folders.add(one.name)
    except OSError as error:
        raise UsageError(
            f"Folder {str(root / below)[:300]!r} cannot be listed: {error.strerror or error}. Make it readable, or "
            "name another."
        ) from None
    names.sort()
    return ((f"{below}{name}", name in folders) for name in names)


def _left_out(left: Mapping[str, int]) -> tuple[str, ...]:
    if not left:
        return ()
    most = sorted(left.items(), key=lambda one: (-one[1], one[0]))[:5]
    told = ", ".join(f"{suffix}: {count:,}" for suffix, count in most)
    count = sum(left.values())
    are = (
        "1 file is no picture or array by its name and was"
        if count == 1
        else (f"{count:,} files are no pictures or arrays by their names and were")
    )
    return (f"{are} left out ({told}).",)
