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

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.entries: deque[Entry] = deque(maxlen=_KEPT)
        self.calls = 0
        self.cost = Decimal(0)
        self._lock = threading.Lock()
        self._file = None
        if self.path is not None:
            try:
                self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            except OSError as error:
                raise OutputError(f"The ledger {self.path} cannot be written: {error.strerror or error}.") from None
            self._end = weakref.finalize(self, os.close, self._file)

    def add(self, entry: Entry) -> None:
        """Write one call down; the line is in the file when this returns."""
        line = json.dumps(asdict(entry) | {"cost": str(entry.cost), "seconds": round(entry.seconds, 4)})
        with self._lock:
            self.calls += 1
            self.cost += entry.cost
            self.entries.append(entry)
            if self._file is not None:
                os.write(self._file, line.encode() + b"\n")  # one write, so that lines of several processes do not mix

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file = None
            self._end()


def now() -> str:
    """The time as the ledger writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
