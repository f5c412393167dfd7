"""Which item a name in a file of truths means."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = ["Names"]


class Names:
    """The names of items, to be found by what others call them.

    A name means the item that is called so, or as the end of it is (``photos/a/1.jpg`` is ``a/1.jpg``); else the only
    item with its plain name (the last part); in a folder of truths also the one that is called so but for its ending.

    Args:
        names: The items' names, in their order.
        files: Whether they are paths, so that one relative to a table's folder is found by where it leads.
    """

    def __init__(self, names: Sequence[str], files: bool = False) -> None:
        self.names = names
        self._whole = {_normal(name): k for k, name in enumerate(names)}
        self._plain = _unique([PurePosixPath(name).name for name in names])
        self._stems = _unique([_stem(name) for name in names])
        self._bare = _unique([PurePosixPath(_stem(name)).name for name in names])
        self._paths = {str(Path(name).resolve()): k for k, name in enumerate(names)} if files else {}

    def of(self, name: str, folder: Path | None = None) -> int | None:
        """The number of the item that is called so; ``folder``: what the name may be relative to."""
        name = name.strip()
        if not name:
            return None
        if self._paths and folder is not None:
            found = self._paths.get(str((folder / name).resolve()))
            if found is not None:
                return found
        parts = PurePosixPath(_normal(name)).parts
        for k in range(len(parts)):
            found = self._whole.get(str(PurePosixPath(*parts[k:])))
            if found is not None:
                return found
        return self._plain.get(parts[-1]) if parts else None

    def of_file(self, path: str) -> int | None:
        """The number of the item that a file in a folder of truths is of: called so, but for its ending."""
        bare = _stem(path)  # cat.jpg.png is of cat.jpg
        for found in (self._whole.get(_normal(bare)), self._stems.get(bare), self._bare.get(PurePosixPath(bare).name)):
            if found is not None:
                return found
        return None


def _normal(name: str) -> str:
    return os.path.normpath(name.replace("\\", "/"))


def _stem(name: str) -> str:
    path = PurePosixPath(_normal(name))
    return str(path.with_suffix(""))


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Number by name, of names that stand once."""
    times = Counter(names)
    return {name: k for k, name in enumerate(names) if times[name] == 1}
