"""Answers on disk, one per row, under the content of what was asked: what was paid for once is never paid again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import OutputError, UsageError

__all__ = ["Rehearsal", "Shelf", "Store"]

_FORMAT = 1
_FILE = "answers.sqlite"
_AT_ONCE = 500  # keys per statement; sqlite allows at least 999


class Shelf(Protocol):
    """Where answers are looked up and put."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, float64 ``[K]`` each."""

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Keep rows; when this returns, they survive the end of the process."""

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows that turned out to be doubtful."""


class Store:
    """Rows of scores in one sqlite file; plain numbers, nothing in it is ever executed.

    Each ``put`` is one transaction in a write-ahead log, flushed to the disk before it returns: kill -9 or a power cut
    loses no answer that was put. Several processes may share a folder on a local disk; network file systems lack the
    locks that a write-ahead log needs.

    Args:
        folder: Where ``answers.sqlite`` lies; made, readable by its owner alone, if it is not there.

    Raises:
        OutputError: the folder cannot be made or written.
        UsageError: the file is no store, or one of another format.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.file = self.folder / _FILE
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise OutputError(f"The cache {self.folder} cannot be written: {error.strerror or error}.") from None
        self._db = sqlite3.connect(self.file, timeout=30)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise UsageError(f"The cache {self.file} is of format {version}, not {_FORMAT}. Use another folder.")
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, scores BLOB NOT NULL) WITHOUT ROWID"
                )
                if version != _FORMAT:
                    self._db.execute(f"PRAGMA user_version={_FORMAT}")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise UsageError(f"{self.file} is not a cache of xplain: {error}. Give another folder.") from None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, float64 ``[K]`` each."""
        found: dict[bytes, Array] = {}
        wanted = list(dict.fromkeys(keys))
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT key, scores FROM answers WHERE key IN ({marks})", some)
            found.update((bytes(key), _decoded(blob)) for key, blob in rows)
        return found

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Keep rows; when this returns, they are on the disk. A row that is there already stays as it is.

        Raises:
            OutputError: the disk refuses them.
        """
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?)", ((key, _encoded(row)) for key, row in rows.items())
                )
        except sqlite3.Error as error:
            raise OutputError(f"The cache {self.file} cannot be written: {error}.") from None

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows."""
        with self._db:
            self._db.executemany("DELETE FROM answers WHERE key = ?", ((key,) for key in keys))

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Rehearsal:
    """A shelf that reads another and writes to memory alone: a plan sees what is paid for and changes nothing."""

    def __init__(self, real: Shelf) -> None:
        self._real = real
        self._mine: dict[bytes, Array] = {}
        self.known: set[bytes] = set()
        """Rows asked for that the real shelf knew."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, here or on the real shelf."""
        real = self._real.get(keys)
        self.known.update(real)
        return real | {key: self._mine[key] for key in keys if key in self._mine}

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Remember rows until the rehearsal ends."""
        self._mine.update(rows)

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows of the rehearsal."""
        for key in keys:
            self._mine.pop(key, None)


def _encoded(row: Array) -> bytes:
    """Little-endian float32 where that loses nothing, else float64, after one letter that says which."""
    wide = np.ascontiguousarray(row, dtype="<f8")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype("<f4")
    exact = np.array_equal(narrow.astype("<f8"), wide, equal_nan=True)
    return b"f" + narrow.tobytes() if exact else b"d" + wide.tobytes()


def _decoded(blob: bytes) -> Array:
    return np.frombuffer(blob[1:], dtype="<f4" if blob[:1] == b"f" else "<f8").astype(np.float64)
