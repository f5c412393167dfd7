"""A folder that keeps one vector per item while they are made: it goes on after a kill, and is never half-read.

| file | holds |
|---|---|
| ``vectors.npy`` | float32 ``[N, D]``; ``numpy.load(..., mmap_mode="r")`` reads it at any time, also while it grows |
| ``rows.jsonl`` | a line per item: ``name``, ``key`` of its content, ``row`` or ``error``, and what is known of it |
| ``manifest.json`` | what the vectors are: of which model, card, layer and positions, by their digests and names |

Vectors are appended, then their lines, then the number of rows in the head of ``vectors.npy``: whatever has a line is
whole, and what a killed run left behind it is cut off by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import OutputError, UsageError
from xplain.core.keeping.files import hold, let_go, read_text, there, whole_file

__all__ = ["KEYS", "VectorFolder", "content_key", "differences", "read_vectors", "vectors_in"]

FORMAT = 1

KEYS = "checksum"
"""How an item that is no file is told from others: its ``Some.digests``. Folders of older versions name no way, and go
on with theirs, blake2b of the item's numbers and its place among equal ones."""

_VECTORS, _ROWS, _MANIFEST, _LOCK = "vectors.npy", "rows.jsonl", "manifest.json", ".xplain.lock"
_HEAD = 128  # bytes in front of the rows, filled up with blanks, so that the number of rows can be written over
_MOST_LINE = 1 << 20


def content_key(path: str | os.PathLike[str]) -> str:
    """The key of a file's content; a file that cannot be read has one of its name."""
    sha = hashlib.blake2b(digest_size=16)
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    except (OSError, ValueError):
        return f"name:{os.fspath(path)}"
    return sha.hexdigest()


class VectorFolder:
    """A folder of vectors, open for more of them; used in a ``with`` block.

    Args:
        path: The folder; made if it is absent.
        about: What the vectors are: plain values by name, such as the model's digest and the layer.
        width: Numbers of a vector.

    Raises:
        UsageError: the folder holds vectors of something else; the message says what differs.
        OutputError: it cannot be written, holds other files, or another run is writing into it.
    """

    def __init__(self, path: str | os.PathLike[str], about: Mapping[str, Any], width: int) -> None:
        self.path: Path = Path(path)
        self.width: int = width
        self._about = {"format": FORMAT, **about, "width": width}
        self._place: dict[tuple[str, str], int | None] = {}  # name and key to the row; None for an error
        self._row: dict[str, int] = {}  # content to a row that holds its vector
        self.count = 0
        self._files: list[Any] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strange = {entry.name for entry in self.path.iterdir()} - {_VECTORS, _ROWS, _MANIFEST, _LOCK}
        except OSError as error:
            raise OutputError(f"Cannot use {self.path} for vectors: {error.strerror or error}.") from None
        if there(self.path / _MANIFEST) != "file" and {one for one in strange if not one.startswith(".")}:
            raise OutputError(f"{self.path} holds other files ({min(strange)}). Choose another for vectors.")
        held = hold(self.path / _LOCK)
        if held is None:
            raise OutputError(f"Another run is writing vectors into {self.path}. Wait until it has ended.")
        self._held = held
        try:
            self._begin()
        except BaseException:
            for file in self._files:
                file.close()
            let_go(self.path / _LOCK, self._held)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End writing; what was appended stays."""
        for file in self._files:
            file.close()
        let_go(self.path / _LOCK, self._held)
        self._held = -1

    def knows(self, name: str, key: str) -> bool:
        """Whether an item is done; one whose content has a vector under another name is, from now on."""
        if (name, key) in self._place:
            return True
        row = self._row.get(key)
        if row is None:
            return False
        self._write([{**self._known[row], "name": name, "key": key, "row": row}])
        return True

    def append(
        self, names: Sequence[str], keys: Sequence[str], vectors: Array, known: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the vectors ``[M, D]`` of items, with what is known of each; what is there already is left out."""
        fresh = [n for n, one in enumerate(zip(names, keys, strict=True)) if not self.knows(*one)]
        if not fresh:
            return
        rows = np.ascontiguousarray(vectors[fresh], "<f4")
        self._vectors.write(rows.tobytes())
        self._vectors.flush()
        lines = []
        for k, n in enumerate(fresh):
            told = {"name": names[n], "key": keys[n], "row": self.count + k, "crc": zlib.crc32(rows[k].tobytes())}
            lines.append({**known[n], **told})
        self.count += len(fresh)
        self._write(lines)
        self._head()

    def fail(self, name: str, key: str, error: str) -> None:
        """Write down an item that has no vector, and why."""
        if (name, key) not in self._place:
            self._write([{"name": name, "key": key, "row": None, "error": error}])

    @property
    def about(self) -> Mapping[str, Any]:
        """What the vectors are, as the manifest says it."""
        return self._about

    def remove(self) -> None:
        """Take the folder away; what has mapped its vectors keeps them."""
        self.close()
        for name in (_ROWS, _MANIFEST, _VECTORS, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        self.path.rmdir()

    def flush(self) -> None:
        """Let whoever reads the folder see what was appended."""
        for file in self._files:
            file.flush()

    # ------------------------------------------------------------------ the files

    def _begin(self) -> None:
        """Compare with what is there, cut off what a killed run left, and open both files to append."""
        manifest = self.path / _MANIFEST
        if there(manifest):
            found = _manifest(manifest)
            if "keys" not in found:
                self._about.pop("keys", None)
            _compare(found, self._about, self.path)
        else:
            with whole_file(manifest) as file:
                file.write(json.dumps(self._about, indent=2).encode())
        self._known: dict[int, dict[str, Any]] = {}
        size = 4 * self.width
        self._vectors = self._opened(_VECTORS)
        self._lines = self._opened(_ROWS)
        held = max(0, self._vectors.seek(0, os.SEEK_END) - _HEAD) // size
        end = 0
        for line, stop in _whole_lines(self.path / _ROWS):
            row = line.get("row")
            if row is not None and not self._right(line, row, held, size):
                break
            self._note(line)
            self.count = max(self.count, 0 if row is None else row + 1)
            end = stop
        self._refuse_damage(end, size)
        self._lines.truncate(end)
        self._lines.seek(end)
        self._vectors.truncate(_HEAD + self.count * size if self.count else 0)
        self._head()
        self._vectors.seek(0, os.SEEK_END)

    def _refuse_damage(self, end: int, size: int) -> None:
        """What a killed run leaves is the end of the file; a line that is bad before good ones is damage, and kept."""
        self._lines.seek(end)
        for raw in self._lines.read().split(b"\n")[1:]:
            try:
                line = json.loads(raw)
                row = line["row"]
            except (ValueError, TypeError, KeyError):
                continue
            if not _whole(row) or row < 0:
                continue
            self._vectors.seek(_HEAD + row * size)
            if zlib.crc32(self._vectors.read(size)) == line.get("crc"):
                raise UsageError(
                    f"{self.path / _ROWS} is damaged behind its {self.count} good rows, and holds more of them behind "
                    "that: nothing was changed. Take it from a copy, or write into another folder."
                )

    def _opened(self, name: str) -> Any:
        if there(self.path / name) not in ("file", ""):
            raise OutputError(f"Cannot write {self.path / name}: it is no file. Choose another folder.")
        try:
            number = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise OutputError(f"Cannot write {self.path / name}: {error.strerror or error}.") from None
        self._files.append(os.fdopen(number, "r+b"))
        return self._files[-1]

    def _right(self, line: Mapping[str, Any], row: int, held: int, size: int) -> bool:
        """Whether a line's vector is there; the last ones, of a run that was killed, are looked at."""
        if not _whole(row) or not 0 <= row < held or row > self.count:
            return False
        if row < held - 4096 or "crc" not in line or row < self.count:
            return True
        self._vectors.seek(_HEAD + row * size)
        return bool(zlib.crc32(self._vectors.read(size)) == line["crc"])

    def _note(self, line: Mapping[str, Any]) -> None:
        row = line.get("row")
        self._place[line["name"], line["key"]] = row
        if row is not None and line["key"] not in self._row:
            self._row[line["key"]] = row
            self._known[row] = {k: v for k, v in line.items() if k not in ("name", "key", "row", "crc")}

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        self._lines.write(text.encode("utf-8", "surrogateescape"))
        self._lines.flush()
        for line in lines:
            self._note(line)

    def _head(self) -> None:
        """The head of an ``.npy`` file for so many rows; 128 bytes are written in one piece."""
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.count}, {self.width}), }}"
        blank = _HEAD - 10 - len(head) - 1
        content = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEAD - 10) + head.encode() + b" " * blank + b"\n"
        self._vectors.flush()
        os.pwrite(self._vectors.fileno(), content, 0)
        if self._vectors.seek(0, os.SEEK_END) < _HEAD:
            self._vectors.seek(_HEAD)


def read_vectors(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]], Array]:
    """What a folder of vectors holds: its manifest, what is known of each item, and the vectors, mapped.

    Raises:
        UsageError: it is no folder of vectors.
    """
    about, lines, vectors = vectors_in(path)
    return about, list(lines), vectors


def vectors_in(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Iterator[dict[str, Any]], Array]:
    """The same, line by line.

    Raises:
        UsageError: it is no folder of vectors; a line whose vector is not there is found when it is reached.
    """
    folder = Path(path)
    if there(folder / _MANIFEST) != "file" or there(folder / _VECTORS) != "file":
        raise UsageError(f"{os.fspath(path)!r:.300} is no folder of vectors; 'xplain see embed' writes one.")
    about = _manifest(folder / _MANIFEST)
    if about.get("format") != FORMAT:
        raise UsageError(
            f"{folder} is a folder of vectors of format {_brief(about.get('format'))}; format {FORMAT} is read. "
            "Another version of xplain wrote it: read it with that, or make it again in another folder."
        )
    try:
        vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{folder / _VECTORS} cannot be read: {error}.") from None
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != about.get("width"):
        raise UsageError(
            f"{folder / _VECTORS} holds {vectors.dtype} {list(vectors.shape)}; its manifest says float32 of width "
            f"{_brief(about.get('width'))}. Make it again in another folder."
        )

    def lines() -> Iterator[dict[str, Any]]:
        for one in _lines(folder / _ROWS):
            row = one.get("row")
            if row is not None and not (_whole(row) and 0 <= row < len(vectors)):
                raise UsageError(
                    f"{folder} holds lines without vectors: go on with 'xplain see embed', which cuts them off."
                )
            yield one

    return about, lines(), vectors


def _manifest(path: Path) -> dict[str, Any]:
    text = read_text(path, UsageError, f"The manifest {path}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"The manifest {path} is no JSON object. Choose another folder for vectors.")
    return found


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Refuse to put vectors of one thing among those of another."""
    told = differences(found, {**dict.fromkeys(found), **wanted})
    if not told:
        return
    raise UsageError(
        f"{path} holds vectors of something else: {told}. Vectors of two kinds do not mix: choose another folder."
    )


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What is not as it is wanted, in words; empty where all is."""
    differing = [name for name in wanted if found.get(name) != wanted[name]]
    return "; ".join(f"{name} was {_brief(found.get(name))} and is {_brief(wanted[name])}" for name in differing)


def _whole(row: Any) -> bool:
    return isinstance(row, int) and not isinstance(row, bool)


def _brief(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:60]}... ({hashlib.sha256(text.encode()).hexdigest()[:12]})"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return (line for line, _ in _whole_lines(path))


def _whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Every line that is whole and says an item's name and key, and where it ends; the first that does not ends it."""
    end = 0
    if there(path) != "file":  # a pipe would never end
        return
    with path.open("rb") as file:
        while (raw := file.readline(_MOST_LINE)).endswith(b"\n"):
            try:
                line = json.loads(raw.decode("utf-8", "surrogateescape"))
            except (ValueError, RecursionError):
                return
            named = isinstance(line, dict) and all(isinstance(line.get(part), str) for part in ("name", "key"))
            if not named:
                return
            end += len(raw)
            yield line, end
