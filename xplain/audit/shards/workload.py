"""What is left to do of an audit, what was done, and when to stop: shared by those who make shards."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xplain.audit.plans.budgeting import Allowed
from xplain.audit.plans.failing import said_of
from xplain.audit.plans.plan import Plan
from xplain.audit.shards.progress import Progress
from xplain.audit.stores.store import Store
from xplain.core.declaring.wording import option
from xplain.core.errors import OutputError, XplainError

__all__ = ["FEW", "Log", "Told", "TooManyErrors", "Work"]

FEW = 50
"""Rows from which a share of errors says something."""

_TOLD = 3
"""Items that are told of those that failed."""

Told = Callable[[Progress], None]


class TooManyErrors(XplainError, RuntimeError):
    """More rows failed than a run may let pass: something is wrong with all of them rather than with some."""


class Log:
    """What happened and when, line by line; never read again by a run, and under no hash."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log" / f"run-{time.time_ns()}-{os.getpid()}.jsonl"

    def __enter__(self) -> Log:
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"Cannot write {str(self._path)[:300]}: {error.strerror or error}.") from None
        self.write(began=os.uname().nodename)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._file.close()

    def write(self, **told: Any) -> None:
        """One line."""
        with suppress(OSError):  # a full disk ends the run where it matters
            self._file.write(json.dumps({"time": time.time(), "process": os.getpid(), **told}) + "\n")
            self._file.flush()


@dataclass
class Work:
    """What is left to do, shared by those who do it; its methods are safe in threads."""

    plan: Plan
    store: Store
    wanted: Sequence[int]
    max_hours: float | None
    max_cost: float | None
    most_errors: float
    told: Told | None
    folder: Path
    allowed: Allowed
    log: Log | None = None
    failure: XplainError | None = None
    why: str = ""
    rows: int = 0
    errors: int = 0
    money: float = 0.0
    longest: float = 0.0
    workers: int = 1
    made: int = 0
    deaths: dict[int, int] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    aside: dict[int, tuple[float, int]] = field(default_factory=dict)
    left: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        sealed = self.store.sealed()
        self.sealed = len(sealed & set(range(len(self.plan.shards))))
        self.left = deque(n for n in self.wanted if n not in sealed)
        self.count, self.began, self.lock = len(self.left), time.monotonic(), threading.Lock()

    def take(self) -> int | None:
        """The next shard; None where there is none, or none may be begun."""
        with self.lock:
            elapsed = time.monotonic() - self.began
            if self.max_hours is not None and not self.why and elapsed + self.longest > 3600 * self.max_hours:
                self.why = f"the time that it may take, {self.max_hours:g} h, is over"
            return None if self.why or self.failure is not None or not self.left else self.left.popleft()

    def back(self, shard: int) -> None:
        """A shard that was begun and not sealed."""
        with self.lock:
            self.left.appendleft(shard)

    @property
    def limited(self) -> bool:
        """Whether money or evaluations are."""
        return self.max_cost is not None or self.allowed.most is not None

    def affords(self, shard: int, price: float, asks: int) -> bool:
        """Whether a shard may be begun that costs and asks up to so much: that is set aside until it is sealed.

        Its metrics ask more, so a worker's share of all that is left is set aside, and no more may be asked. A shard
        that is begun again, for its worker died, has its share already: what was answered is known.
        """
        with self.lock:
            if shard in self.aside:
                return True
            money = self.money + sum(one for one, _ in self.aside.values())
            why = ""
            if self.max_cost is not None and price > 0 and money + price > self.max_cost:
                why = (
                    f"the money that it may cost, {self.max_cost:g}, does not pay for another shard of up to {price:g}"
                )
            elif self.allowed.left is not None and asks > self.allowed.left:
                why = (
                    f"{self.allowed.left:,} of {self.allowed.most:,} evaluations are left, and the next shard may ask "
                    f"for {asks:,}; --max-queries allows more"
                )
            if why:
                self.why = self.why or why
                self.left.appendleft(shard)
                return False
            if self.limited:
                left = self.allowed.left
                share = asks if left is None else max(asks, left // max(1, self.workers))
                self.aside[shard] = price, share
                self._take(share)
            return True

    def granted(self, shard: int) -> int | None:
        """Evaluations that a shard may ask for, its metrics included; None for no limit."""
        return max(1, self.aside[shard][1]) if self.allowed.most is not None else None

    def _take(self, count: int) -> None:
        self.allowed = self.allowed.plus(count)
        self.allowed.write(self.folder)

    def done(self, answer: Mapping[str, Any], worker: int) -> None:
        """A shard was sealed."""
        with self.lock:
            self.sealed += 1
            self.made += 1
            self.rows += answer["rows"]
            self.errors += answer["errors"]
            self.money += answer["money"]
            for name, why in answer["wrong"]:
                if len(self.wrong) < _TOLD:
                    self.wrong.setdefault(name, why)
            if answer["sealed"] in self.aside:
                self._take(answer["asked"] - self.aside.pop(answer["sealed"])[1])
            self.longest = max(self.longest, answer["seconds"])
            found = self.progress()
            if self.log is not None:
                self.log.write(worker=worker, **answer)
            if self.rows >= min(FEW, self.plan.items.count) and self.errors > self.most_errors * self.rows:
                self.failure = self.failure or self._too_many()
        if self.told is not None:
            self.told(found)

    def fail(self, error: XplainError) -> None:
        """Nothing more is begun."""
        with self.lock:
            self.failure = self.failure or error

    def progress(self) -> Progress:
        """How far it is."""
        elapsed, rest = time.monotonic() - self.began, self.count - self.made
        left = elapsed / self.made * rest if self.made and rest else None
        of = len(self.plan.shards)
        return Progress(self.sealed, of, self.errors, self.rows, left, "" if self.sealed == of else self.why)

    def _too_many(self) -> TooManyErrors:
        return TooManyErrors(
            f"{self.errors:,} of {self.rows:,} rows failed ({self.errors / self.rows:.0%}), more than the share of "
            f"{self.most_errors:g} that a run lets pass. The first: {said_of(self.wrong)}. Look whether the card fits "
            "the items, and whether these are items at all; all reasons stand in the column 'error' of the records. "
            "What is sealed stays; to go on all the same, give ",
            option("most_errors", 1),
            ".",
        )
