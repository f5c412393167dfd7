"""Answers on disk, one per row, under the content of what was asked: what was paid for once is never paid again."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from xplain.core.edits import Array
from xplain.core.errors import OutputError, UsageError
from xplain.engine.lease import Lease, alive
from xplain.engine.seal import opened, seal, sealed

__all__ = ["AnswerStore", "Rehearsal", "Store"]

_FORMAT = 2
_FILE = "answers.sqlite"
_AT_ONCE = 500  # keys per statement; sqlite allows at least 999
_LONGEST = 64 * 2**20  # bytes of one value: a row of a million classes has 8 million
_ANSWERS = "CREATE TABLE answers (key BLOB PRIMARY KEY, scores BLOB NOT NULL, seal BLOB NOT NULL) WITHOUT ROWID"
_CLAIMS = "CREATE TABLE claims (key BLOB PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID"
_OLD_ANSWERS = "CREATE TABLE answers (key BLOB PRIMARY KEY, scores BLOB NOT NULL) WITHOUT ROWID"
_SCHEMAS = {0: set[str](), 1: {_OLD_ANSWERS}, _FORMAT: {_ANSWERS, _CLAIMS}}


class AnswerStore(Protocol):
    """Protocol of a store of answers: rows of scores under the content of what was asked."""

    @property
    def trouble(self) -> str:
        """Why some rows that were put are in memory alone; empty where none are."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, float64 ``[K]`` each."""

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Keep rows; when this returns, they survive the end of the process, or ``trouble`` says why not."""

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows that turned out to be doubtful."""

    def claim(self, keys: Sequence[bytes], most: int) -> tuple[dict[bytes, Array], list[bytes]]:
        """What is known of these rows by now, and at most ``most`` others that the caller is to ask, and nobody else.

        Both are empty while others are asking all that is left.
        """

    def release(self, keys: Iterable[bytes]) -> None:
        """Give up claims whose rows were not put."""


class Store:
    """Rows of scores in one sqlite file; plain numbers, nothing in it is ever executed.

    Each ``put`` is one transaction in a write-ahead log, flushed to the disk before it returns: kill -9 or a power cut
    loses no answer that was put. Where the disk refuses rows (it is full), they stay in memory, serve this run, and are
    written as soon as the disk takes them again. Each row has a checksum: one that was damaged is not there. Several
    processes may share a folder on a local disk, and then share the bill: see ``claim``. Network file systems lack the
    locks that a write-ahead log needs.

    Args:
        folder: Where ``answers.sqlite`` lies; made, readable by its owner alone, if it is not there.
        lease: Seconds after which another process asks what this one had claimed, if this one is no longer seen.

    Raises:
        OutputError: the folder cannot be made or written.
        UsageError: the file is no store, is damaged, or is one of another format.
    """

    def __init__(self, folder: str | os.PathLike[str], lease: float = 15.0) -> None:
        self.folder: Path = Path(folder)
        self.file: Path = self.folder / _FILE
        self.trouble: str = ""
        self._unsaved: dict[bytes, Array] = {}
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.file.exists() and not stat.S_ISREG(self.file.stat().st_mode):
                raise UsageError(f"{self.file} is not a cache of xplain: no file. Give another folder.")
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
        except (OSError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            why = getattr(error, "strerror", None) or error
            raise OutputError(f"The cache {str(self.folder)!r:.200} cannot be written: {why}.") from None
        self._db = sqlite3.connect(self.file, timeout=30)
        self._lease = Lease(self.file, lease)
        try:
            with self._speaking():
                self._prepare()
        except BaseException:
            self._db.close()
            self._lease.end()
            raise

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, float64 ``[K]`` each; a damaged one is dropped, and asked again."""
        with self._speaking():
            return self._read(keys)

    def put(self, rows: Mapping[bytes, Array]) -> None:
        """Keep rows, on the disk where it takes them. A row that is there already stays as it is."""
        self._unsaved |= {key: row for key, row in rows.items() if key not in self._unsaved}
        try:
            with self._speaking(), self._db:
                written = [(key, *sealed(key, row)) for key, row in self._unsaved.items()]
                self._db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", written)
                self._forget_claims(self._unsaved)
        except (OutputError, UsageError) as error:
            self._refused(error)
        else:
            self._unsaved, self.trouble = {}, ""

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget rows."""
        wanted = list(keys)
        for key in wanted:
            self._unsaved.pop(key, None)
        with self._speaking(), self._db:
            self._db.executemany("DELETE FROM answers WHERE key = ?", ((key,) for key in wanted))

    def claim(self, keys: Sequence[bytes], most: int) -> tuple[dict[bytes, Array], list[bytes]]:
        """What is known of these rows by now, and at most ``most`` others that this store may ask, and nobody else."""
        if self.trouble:  # claims cannot be written either
            return {key: self._unsaved[key] for key in keys if key in self._unsaved}, self._not_mine(keys)[:most]
        try:
            with self._speaking(), self._locked():
                known = self._read(keys)
                held = {key for key, owner, until in self._rows_of("claims", keys) if self._others(owner, until)}
                free = [key for key in dict.fromkeys(keys) if key not in known and key not in held][:most]
                until = self._lease.start()
                self._db.executemany(
                    "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", ((key, self._lease.owner, until) for key in free)
                )
                return known, free
        except OutputError as error:
            self._refused(error)
            return {}, list(dict.fromkeys(keys))[:most]

    def release(self, keys: Iterable[bytes]) -> None:
        """Give up claims whose rows were not put."""
        with suppress(OutputError, UsageError), self._speaking(), self._db:
            self._forget_claims(keys)

    def __len__(self) -> int:
        with self._speaking():
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Write what the disk refused before, and close the file; the store cannot be used afterwards."""
        if self._unsaved:
            self.put({})
        self._lease.end()
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        """Look at what the file is before anything in it is used, then make or take over the tables."""
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a damaged text must not stop the reading
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):  # the file may be made to do harm
            self._db.execute(f"PRAGMA {setting}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = {sql for (sql,) in self._db.execute("SELECT sql FROM sqlite_master")}
        if version not in _SCHEMAS:
            raise UsageError(f"The cache {self.file} is of format {version}, not {_FORMAT}. Use another folder.")
        if tables != _SCHEMAS[version] and tables:
            raise UsageError(f"{self.file} is not a cache of xplain: it holds other tables. Give another folder.")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        with self._locked():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()  # another process may have been faster
            if version != _FORMAT:
                self._take_over(old=version == 1)
            self._db.execute("DELETE FROM claims WHERE until < ?", (time.time() - 3600,))

    def _take_over(self, old: bool) -> None:
        """Make the tables; rows of the format without seals are sealed as they are."""
        if old:
            (fine,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if fine != "ok":
                raise UsageError(self._damaged(str(fine)))
            self._db.execute("ALTER TABLE answers RENAME TO old_answers")
        self._db.execute(_ANSWERS)
        self._db.execute(_CLAIMS)
        if old:
            rows = self._db.execute("SELECT key, scores FROM old_answers")
            self._db.executemany("INSERT INTO answers VALUES (?, ?, ?)", ((k, s, seal(k, s)) for k, s in rows))
            (count,) = self._db.execute("SELECT count(*) FROM answers").fetchone()
            self._db.execute("DROP TABLE old_answers")
            warnings.warn(
                f"The cache {self.file} is of an older format without checksums; its {count} answers were taken over "
                "as they are. Delete the folder to ask afresh instead.",
                UserWarning,
                stacklevel=5,
            )
        self._db.execute(f"PRAGMA user_version={_FORMAT}")

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        found: dict[bytes, Array] = {}
        wrong: list[tuple[object]] = []
        for key, content, given in self._rows_of("answers", keys):
            row = opened(key, content, given)
            if row is None:
                wrong.append((key,))
            else:
                found[key] = row
        if wrong:
            outer = self._db.in_transaction
            self._db.executemany("DELETE FROM answers WHERE key = ?", wrong)
            if not outer:
                self._db.commit()
        return found | {key: self._unsaved[key] for key in keys if key in self._unsaved}

    def _rows_of(self, table: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, object, object]]:
        wanted = list(dict.fromkeys(keys))
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(f"SELECT * FROM {table} WHERE key IN ({marks})", some).fetchall()

    def _forget_claims(self, keys: Iterable[bytes]) -> None:
        owner = self._lease.owner
        self._db.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", ((key, owner) for key in keys))

    def _others(self, owner: object, until: object) -> bool:
        return owner != self._lease.owner and alive(owner, until)

    def _refused(self, error: Exception) -> None:
        """Say once that the disk takes nothing: whoever pays must know it before the run ends."""
        if not self.trouble:
            warnings.warn(f"{error} Answers are kept in memory until then.", RuntimeWarning, stacklevel=3)
        self.trouble = str(error)

    def _not_mine(self, keys: Sequence[bytes]) -> list[bytes]:
        return [key for key in dict.fromkeys(keys) if key not in self._unsaved]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A transaction that no other process can write in."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back
            yield

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """What sqlite says, in our words."""
        try:
            yield
        except (UnicodeError, OverflowError, MemoryError, SystemError) as error:  # of sqlite's words on damaged pages
            raise UsageError(self._damaged(type(error).__name__)) from None
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            low = None if code is None else code & 0xFF
            if low in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                why = "another process has been writing in it for 30 s"
            elif low in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                why = str(error)
            else:
                raise UsageError(self._damaged(str(error))) from None
            raise OutputError(f"The cache {self.file} cannot be written: {why}. Make room, or give another.") from None

    def _damaged(self, why: str) -> str:
        return (
            f"{self.file} is not a cache of xplain, or is damaged: {why}. Delete the folder, and its answers are "
            "asked again, or give another."
        )


class Rehearsal:
    """A store that reads another and writes to memory alone: a plan sees what is paid for and changes nothing."""

    trouble = ""

    def __init__(self, real: AnswerStore) -> None:
        self._real = real
        self._mine: dict[bytes, Array] = {}
        self.known: set[bytes] = set()
        """Rows asked for that the real store knew."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        """The rows that are known, here or in the real store."""
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

    def claim(self, keys: Sequence[bytes], most: int) -> tuple[dict[bytes, Array], list[bytes]]:
        """Everything that is asked for: nobody else rehearses."""
        return {}, list(dict.fromkeys(keys))[:most]

    def release(self, keys: Iterable[bytes]) -> None:
        """Nothing to give up."""
