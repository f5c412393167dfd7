"""Claims on rows: of the processes that share a cache, one asks for a row and the others wait for its answer.

A claim lasts for ``seconds`` and is renewed by a thread while its owner lives. It ends when the answer is there, when
the owner gives it up, when the owner's process is seen to be gone (on the same machine at once), or when it runs out.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import threading
import time
import uuid
import weakref
from contextlib import closing, suppress
from pathlib import Path

__all__ = ["Lease", "alive"]

_OURS: set[str] = set()  # owners in this process that have not ended


class Lease:
    """The right of one open store to claim rows, renewed until it ends.

    Args:
        file: The database; its table ``claims`` holds ``(key, owner, until)``.
        seconds: How long a claim lasts that nobody renews.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        self.seconds = seconds
        self.owner = f"{_here()} {os.getpid()} {_born(os.getpid())} {uuid.uuid4().hex}"
        self._file, self._stop = file, threading.Event()
        self._thread: threading.Thread | None = None
        _OURS.add(self.owner)
        self._end = weakref.finalize(self, _end, self._stop, self.owner)

    def start(self) -> float:
        """Begin to renew, if that has not begun; gives the time until which a claim made now holds."""
        if self._thread is None:
            renewing = (self._file, self.owner, self.seconds, self._stop)
            self._thread = threading.Thread(target=_renew, args=renewing, name="xplain-lease", daemon=True)
            self._thread.start()
        return time.time() + self.seconds

    def end(self) -> None:
        """Renew no longer."""
        self._end()
        if self._thread is not None:
            self._thread.join()


def alive(owner: object, until: object) -> bool:
    """Whether a claim still holds."""
    if not isinstance(owner, str) or not isinstance(until, float) or not until > time.time():
        return False
    here, _, rest = owner.partition(" ")
    parts = rest.split(" ")
    if here != _here() or len(parts) != 3 or not parts[0].isdecimal() or os.name != "posix":
        return True  # another machine's: only time tells
    pid = int(parts[0][:18])
    if pid == os.getpid():
        return owner in _OURS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return _born(pid) in (parts[1], "")


def _renew(file: Path, owner: str, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(seconds / 3):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=seconds / 3)) as db, db:
            db.execute("PRAGMA trusted_schema=OFF")
            db.execute("UPDATE claims SET until = ? WHERE owner = ?", (time.time() + seconds, owner))


def _end(stop: threading.Event, owner: str) -> None:
    stop.set()
    _OURS.discard(owner)


def _here() -> str:
    """This machine, and on Linux the room in it that process numbers belong to."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    with suppress(OSError):
        space += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{platform.node()}/{space}".replace(" ", "_")


def _born(pid: int) -> str:
    """When a process began, as its system counts; empty where that cannot be told. Numbers of processes come again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
