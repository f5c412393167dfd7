"""One line for every call that left: when, what, how large, how it ended, what it cost."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from xplain.core.errors import OutputError

__all__ = ["Entry", "Ledger"]

_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One call.

    Args:
        call: What was asked, such as ``POST /v2/models/m/infer``.
        rows: Items in it.
        attempt: 1 for the first try.
        status: HTTP status, or 0 where no answer came.
        outcome: ``ok``, or why not.
        sent: Bytes of the body that was sent.
        received: Bytes of the body that came back.
        seconds: From the first byte out to the last byte in.
        cost: What the vendor bills for it, as far as can be known: a call that was answered, or one whose answer was
            lost on the way.
        request: The server's own name for the call, if it gave one.
        key: The call's content, as sent in ``Idempotency-Key``.
        time: When it began, UTC.
    """

    call: str
    rows: int
    attempt: int
    status: int
    outcome: str
    sent: int
    received: int
    seconds: float
    cost: Decimal
    request: str = ""
    key: str = ""
    time: str = ""


class Ledger:
    """All calls of one endpoint: totals, the last 10,000 entries, and a file of JSON lines if a path is given.

    A call that was made was paid, so a disk that takes no line does not stop it: lines wait in memory and are written
    as soon as the disk takes them; ``trouble`` says so until then.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.entries: deque[Entry] = deque(maxlen=_KEPT)
        self.calls = 0
        self.cost = Decimal(0)
        self._lock = threading.Lock()
        self._file: int | None = None
        self._waiting = bytearray()
        self._why = ""
        if self.path is not None:
            try:
                self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise OutputError(f"The ledger {str(self.path)!r:.200} cannot be written: {why}.") from None
            self._end = weakref.finalize(self, os.close, self._file)

    def add(self, entry: Entry) -> None:
        """Write one call down; the line is in the file when this returns, or ``trouble`` says why not."""
        line = json.dumps(asdict(entry) | {"cost": str(entry.cost), "seconds": round(entry.seconds, 4)})
        with self._lock:
            self.calls += 1
            self.cost += entry.cost
            self.entries.append(entry)
            if self._file is not None:
                self._waiting += line.encode() + b"\n"
                self._write(self._file)

    @property
    def trouble(self) -> str:
        """Why some lines are not in the file; empty where all are."""
        lines = self._waiting.count(b"\n")
        return f"{lines} lines of the ledger {self.path} could not be written: {self._why}." if lines else ""

    def close(self) -> None:
        """Write what waits, and close the file.

        Raises:
            OutputError: lines are lost, because the disk still refuses them.
        """
        with self._lock:
            if self._file is None:
                return
            self._write(self._file)
            self._file = None
            self._end()
        if trouble := self.trouble:
            raise OutputError(f"{trouble} The calls were made and billed.")

    def _write(self, file: int) -> None:
        try:
            while self._waiting:  # one write for one line, so that lines of several processes do not mix
                stop = self._waiting.index(b"\n") + 1
                done = os.write(file, bytes(self._waiting[:stop]))
                del self._waiting[:done]
        except OSError as error:
            self._why = error.strerror or str(error)


def now() -> str:
    """The time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
