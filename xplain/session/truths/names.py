"""Which item a name in a file of truths means."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from xplain.core.errors import UsageError

__all__ = ["Names"]


class Names:
    """The names of items, to be found by what others call them.

    A name and an item belong together if one ends as the other is called, folder by folder: ``photos/a/1.jpg``,
    ``a/1.jpg`` and ``1.jpg`` may all be ``a/1.jpg``; ``b/1.jpg`` is not. Of several the one that agrees in more folders
    is meant. Letters count, not how Unicode writes them.

    Args:
        names: The items' names, in their order.
        files: Whether they are paths, so that one relative to a table's folder is found by where it leads.
    """

    def __init__(self, names: Sequence[str], files: bool = False) -> None:
        self.names = names
        parts = [_parts(name) for name in names]
        self._whole, self._ends = _index(parts)
        self._bare, self._bare_ends = _index([_without_ending(one) for one in parts])
        self._paths: dict[str, list[int]] = {}
        for k, name in enumerate(names if files else ()):
            self._paths.setdefault(str(Path(name).resolve()), []).append(k)

    def of(self, name: str, folder: Path | None = None) -> tuple[int, ...]:
        """The numbers of the items that are called so: none, or one, or several that are called the same.

        Args:
            name: What a file of truths calls it.
            folder: What the name may be relative to.

        Raises:
            UsageError: two items of different names may be meant.
        """
        if self._paths and folder is not None and "\0" not in name:
            led = self._paths.get(str((folder / name.strip()).resolve()))
            if led is not None:
                return tuple(led)
        return self._found(name, _parts(name), self._whole, self._ends)

    def of_file(self, path: str) -> tuple[int, ...]:
        """The numbers of the items that a file in a folder of truths is of: called so, but for its ending.

        Raises:
            UsageError: two items of different names may be meant.
        """
        bare = _without_ending(_parts(path))  # cat.jpg.png is of cat.jpg
        return self._found(path, bare, self._whole, self._ends) or self._found(path, bare, self._bare, self._bare_ends)

    def elsewhere(self, name: str) -> str | None:
        """An item that has the same last part, and lies in another folder."""
        parts = _parts(name)
        found = self._ends.get(parts[-1:], ()) if parts else ()
        return self.names[found[0]] if found else None

    def _found(
        self,
        name: str,
        parts: tuple[str, ...],
        whole: dict[tuple[str, ...], list[int]],
        ends: dict[tuple[str, ...], list[int]],
    ) -> tuple[int, ...]:
        if not parts:
            return ()
        found = whole.get(parts) or ends.get(parts, [])
        if len({_parts(self.names[k]) for k in found}) > 1:
            first, second = (repr(self.names[k])[:200] for k in found[:2])
            raise UsageError(
                f"The name {name!r:.200} may mean {first} or {second}. Write as much of the path as tells them apart.",
                option="truth",
            )
        if found:
            return tuple(found)
        return next((tuple(whole[parts[k:]]) for k in range(1, len(parts)) if parts[k:] in whole), ())


def _parts(name: str) -> tuple[str, ...]:
    """A name as folders and what it is called, without what says nothing; ``..`` takes a folder back."""
    found: list[str] = []
    for part in unicodedata.normalize("NFC", name.strip()).replace("\\", "/").split("/"):
        if part == ".." and found and found[-1] != "..":
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    return tuple(found)


def _without_ending(parts: tuple[str, ...]) -> tuple[str, ...]:
    return (*parts[:-1], PurePosixPath(parts[-1]).stem) if parts and parts[-1] != ".." else parts


def _index(
    names: Iterable[tuple[str, ...]],
) -> tuple[dict[tuple[str, ...], list[int]], dict[tuple[str, ...], list[int]]]:
    """Numbers by the whole name, and by every end of it."""
    whole: dict[tuple[str, ...], list[int]] = {}
    ends: dict[tuple[str, ...], list[int]] = {}
    for k, parts in enumerate(names):
        if parts:
            whole.setdefault(parts, []).append(k)
        for n in range(len(parts)):
            ends.setdefault(parts[n:], []).append(k)
    return whole, ends
