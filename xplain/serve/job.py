"""A request on its way: what is asked, how far it is, what came of it."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from xplain.serve.asked import Asked
from xplain.serve.running import Answer

__all__ = ["CHEAP", "Full", "Job", "Late", "State", "Stopped"]

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]

CHEAP = 32
"""Evaluations and sweeps of an item up to which a request is cheap: it is packed, and goes before the dear ones."""

_OFTEN = 0.1  # seconds between two news of progress


class Full(Exception):
    """The queue is full, or the server is being stopped; ``seconds`` says when it is worth asking again."""

    def __init__(self, seconds: int, reason: Literal["queue", "stopping"] = "queue") -> None:
        super().__init__(f"{reason}: ask again in {seconds} s")
        self.seconds, self.reason = seconds, reason

    @property
    def text(self) -> str:
        """What the caller is told."""
        if self.reason == "queue":
            return "The queue is full; ask again."
        return (
            f"The server is being stopped, and this was not finished. Ask again in {self.seconds} s; with "
            '"deadline", in seconds, you are told what is known by then.'
        )


class Stopped(Exception):
    """Nobody waits for the answer any more."""


class Late(Exception):
    """The deadline has passed, and nothing was known by then."""


class Job:
    """A request on its way.

    Written by a worker, read by the event loop: each field is set whole, and ``news`` is told after.

    Args:
        asked: What is asked.
        owner: Whose token asked, the only one that may see it.
    """

    def __init__(self, asked: Asked, owner: str = "") -> None:
        self.id = secrets.token_urlsafe(12)
        self.asked, self.owner = asked, owner
        self.state: State = "queued"
        self.done, self.of = 0, asked.size
        self.early: Answer | None = None
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.cancelled = False
        self.created = time.monotonic()
        self.started = self.ended = 0.0
        self.version = 0
        self.how: dict[str, Any] = {}  # how its answer is written, for who asks later
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._told = 0.0

    @property
    def cheap(self) -> bool:
        """Whether it goes before those that take long."""
        return self.asked.size <= CHEAP * len(self.asked.items)

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return self.left < 0

    @property
    def left(self) -> float:
        """Seconds until its deadline; infinity where it has none."""
        deadline = self.asked.deadline
        return float("inf") if deadline is None else self.created + deadline - time.monotonic()

    def onwards(self, done: int, of: int) -> None:
        """Progress, told not too often."""
        self.done, self.of = done, max(of, self.asked.size)
        if time.monotonic() - self._told > _OFTEN:
            self._told = time.monotonic()
            self.tell()

    def end(self, state: State, answer: Answer | None = None, error: BaseException | None = None) -> None:
        """The last news."""
        self.answer, self.error, self.ended = answer, error, time.monotonic()
        self.state = state
        self.tell()

    def tell(self) -> None:
        """Wake whoever waits for news; from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who waited
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.version += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def news(self, seen: int) -> int:
        """Wait until something has changed since version ``seen``; the version now."""
        while self.version == seen and not self.over:
            await self._event.wait()
        return self.version

    async def wait(self) -> None:
        """Wait for the end."""
        while not self.over:
            await self._event.wait()
