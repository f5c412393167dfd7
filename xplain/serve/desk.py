"""Where requests wait and are answered: a bounded queue, one worker, cheap requests between the steps of dear ones.

Requests that fit together are asked as one, so that batches are full; each gets the bits that it would get alone. After
every model call of a dear request the worker answers the cheap ones that came meanwhile, until none waits or the dear
one is due a call again: nobody waits behind four thousand masks for one sweep, no stream of cheap requests stops a dear
one, and no two requests compete for the processor.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from xplain.core.errors import XplainError
from xplain.serve.asked import Asked
from xplain.serve.running import Answer, Known, answered, early, stages

__all__ = ["Desk", "Full", "Job", "Late", "Stopped"]

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]

CHEAP = 32
"""Evaluations and sweeps of an item up to which requests are packed, and answered between the steps of others."""

_OFTEN = 0.1  # seconds between two news of progress
_SHARE = 8
"""Times the seconds of a dear request's last model call that cheap ones may take before it has its next."""


class Full(Exception):
    """The queue is full, or is being closed; ``seconds`` says when it is worth asking again."""

    def __init__(self, seconds: int, reason: Literal["queue", "stopping"] = "queue") -> None:
        super().__init__(f"{reason}: ask again in {seconds} s")
        self.seconds, self.reason = seconds, reason


class Stopped(Exception):
    """Nobody waits for the answer any more."""


class Late(Exception):
    """The deadline has passed, and nothing was known by then."""


class Job:
    """A request on its way.

    Written by the worker, read by the event loop: each field is set whole, and ``news`` is told after.

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
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        deadline = self.asked.deadline
        return deadline is not None and time.monotonic() - self.created > deadline

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


class Desk:
    """The queue and its worker.

    Args:
        waiting: Requests that may wait.
        together: Items that are asked about at once.
        ended: Told of every job that has ended, from the worker's thread.
    """

    def __init__(self, waiting: int = 64, together: int = 16, ended: Callable[[Job], None] = lambda _: None) -> None:
        self.most, self._together, self._ended = waiting, together, ended
        self._cheap: deque[Job] = deque()
        self._dear: deque[Job] = deque()
        self._more = threading.Condition()
        self._closing = False
        self._pace = 0.01  # seconds per evaluation, as measured of late
        self._thread = threading.Thread(target=self._work, name="xplain-desk", daemon=True)

    # ------------------------------------------------------------------ for the event loop

    def open(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._cheap) + len(self._dear)

    def submit(self, job: Job) -> Job:
        """Put a request into the queue.

        Raises:
            Full: there is no room.
        """
        with self._more:
            if self._closing:
                raise Full(5, "stopping")
            if self.depth >= self.most:
                raise Full(self._wait())
            (self._cheap if _cheap(job) else self._dear).append(job)
            self._more.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more."""
        job.cancelled = True

    async def close(self, grace: float) -> None:
        """Take nothing more; finish what waits within ``grace`` seconds, and hand back the rest."""
        with self._more:
            self._closing = True
            self._more.notify()
        until = time.monotonic() + grace
        while self._thread.is_alive() and time.monotonic() < until:
            await asyncio.sleep(0.02)
        with self._more:
            left = [*self._cheap, *self._dear]
            self._cheap.clear()
            self._dear.clear()
        for job in left:
            job.end("failed", error=Full(5, "stopping"))

    def _wait(self) -> int:
        """Seconds until what waits will have been answered."""
        ahead = sum(job.asked.size for job in (*self._cheap, *self._dear))
        return min(600, max(1, math.ceil(ahead * self._pace)))

    # ------------------------------------------------------------------ the worker

    def _work(self) -> None:
        while True:
            with self._more:
                while not self.depth and not self._closing:
                    self._more.wait()
                if not self.depth:
                    return
                pack = self._take(self._cheap or self._dear)
            self._do(pack)

    def _take(self, queue: deque[Job]) -> list[Job]:
        """The first that waits, and those that fit it; the lock is held."""
        first = queue.popleft()
        pack, count = [first], len(first.asked.items)
        if queue is not self._cheap:
            return pack
        for job in list(queue):
            size = len(job.asked.items)
            fits = job.asked.fits == first.asked.fits and first.asked.items.alike(job.asked.items)
            if fits and count + size <= self._together:
                queue.remove(job)
                pack.append(job)
                count += size
        return pack

    def _between(self, seconds: float) -> None:
        """Answer cheap requests that came while a dear one is under way.

        Args:
            seconds: What they may take together; the pack that is under way then is the last.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self._more:
                pack = self._take(self._cheap) if self._cheap else []
            if not pack:
                return
            self._do(pack)

    def _do(self, pack: list[Job]) -> None:
        waiting = [job for job in pack if not self._gone(job)]
        for job in waiting:
            job.started, job.state = time.monotonic(), "running"
            job.tell()
        if not waiting:
            return
        began, between = time.monotonic(), _cheap(waiting[0])
        try:
            answers = self._answers(waiting)
        except Stopped:
            for job in waiting:
                self._end(job, "cancelled")
            return
        except XplainError as error:
            if len(waiting) == 1:
                self._end(waiting[0], "failed", error=error)
                return
            for job in waiting:  # one of them cannot be answered: each for itself
                self._do([job])
            return
        except BaseException as error:  # a fault of ours, or of a model: it ends this request, not the server
            for job in waiting:
                self._end(job, "failed", error=error)
            return
        if between:
            size = sum(job.asked.size for job in waiting)
            self._pace += 0.1 * ((time.monotonic() - began) / max(1, size) - self._pace)
        for job, answer in zip(waiting, answers, strict=True):
            self._end(job, "done", answer)

    def _answers(self, jobs: Sequence[Job]) -> list[Answer]:
        first = jobs[0]
        asked, dear = [job.asked for job in jobs], not _cheap(first)
        called = time.monotonic()

        def watch(done: int, of: int) -> None:
            nonlocal called
            if all(job.cancelled for job in jobs):
                raise Stopped
            if len(jobs) == 1 and first.late:
                raise Late
            for job in jobs:
                job.onwards(done, of)
            if dear:
                self._between(_SHARE * (time.monotonic() - called))
                called = time.monotonic()

        known, steps = Known(), stages(first.asked) if len(jobs) == 1 else []
        try:
            for most in steps:
                found = early(first.asked, most, known, watch)
                first.early = found or first.early
                first.tell()
            return answered(asked, watch, **({"cache": known} if steps else {}))
        except Late:
            if first.early is None:
                raise
            return [Answer(first.early.results, first.early.scores, f"{first.early.partial}, at the deadline")]

    def _gone(self, job: Job) -> bool:
        """End a job that nobody waits for, or that waited past its deadline."""
        if job.cancelled:
            self._end(job, "cancelled")
        elif job.late:
            self._end(job, "failed", error=Late())
        return job.over

    def _end(self, job: Job, state: State, answer: Answer | None = None, error: BaseException | None = None) -> None:
        job.end(state, answer, error)
        self._ended(job)


def _cheap(job: Job) -> bool:
    return job.asked.size <= CHEAP * len(job.asked.items)
