"""Where requests wait and are answered: a bounded queue, cheap requests before the calls of dear ones.

    cheap    a thread a core   packs of requests that fit together, asked as one; each gets the bits that it has alone
    dear     four threads      a request each; their model calls take turns, and give way to the cheap ones

Where several threads may ask the model, its runs for dear requests are made on a thread that has what others leave of
the processor (``xplain.core.aside``): no cheap request waits for them, and they need not wait for a gap. What is Python
of a dear request is not: a thread that holds the interpreter's lock and is not scheduled stops all the others.

Of a model that one thread at a time may ask, or where the system has no such threads, a cheap request waits for the
call that is under way. There a dear request has its next call when no cheap one is about (read, waiting, being
answered, or was just now), or else when ``_SHARE`` times as long has passed as the last call took, divided by the dear
ones that there are. So in a stream of cheap requests dear calls lie apart, and what has gathered during one is gone
before the next; no stream stops a dear one, no dear one another, and where they gather they have more of the processor.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.aside import can_stand_aside, standing_aside
from xplain.core.cores import cores
from xplain.core.errors import XplainError
from xplain.serve.job import Full, Job, Late, State, Stopped
from xplain.serve.running import Answer, Known, answered, early, stages
from xplain.serve.served import Served

__all__ = ["Desk"]

_SHARE = 6
"""Times the seconds of the last dear model call that belong to cheap requests, if any are about, before the next."""

_JUST_NOW = 0.1  # seconds, at most

_SIDE_BY_SIDE = 4
"""Dear requests under way at once, whose calls take turns."""


class Desk:
    """The queues and their workers.

    Args:
        waiting: Requests that may wait.
        together: Items that are asked about at once.
        ended: Told of every job that has ended, from a worker's thread.
    """

    def __init__(self, waiting: int = 64, together: int = 16, ended: Callable[[Job], None] = lambda _: None) -> None:
        self.most, self._together, self._ended = waiting, together, ended
        self._lock = threading.Lock()  # of all that follows
        self._comes, self._dears, self._turn = (threading.Condition(self._lock) for _ in range(3))
        self._cheap: deque[Job] = deque()
        self._dear: deque[Job] = deque()
        self._packed: list[str] = []  # the models that cheap requests are asking, by name
        self._coming, self._seen = 0, -math.inf  # requests that are being read, and when a cheap one was about last
        self._line: deque[Job] = deque()  # dear ones that wait for their next call
        self._calling: Job | None = None  # the one whose call is under way
        self._began, self._took = 0.0, 0.05  # of the last call, seconds
        self._due, self._passed = 0.0, False  # when the next is due in any case, and whether cheap ones went before it
        self._under_way: list[Job] = []  # those that a worker has taken
        self._closing, self._until = False, math.inf
        self._pace = 0.01  # seconds per evaluation, as measured of late
        works = [*[self._work_cheap] * cores(), *[self._work_dear] * _SIDE_BY_SIDE]
        self._threads = [threading.Thread(target=work, name="xplain-desk", daemon=True) for work in works]

    # ------------------------------------------------------------------ for the event loop

    def open(self) -> None:
        """Begin to work."""
        for one in self._threads:
            one.start()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._cheap) + len(self._dear)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While a request is read: it would meet a dear call that is begun now."""
        with self._lock:
            self._coming += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= 1
                self._seen = time.monotonic()
                self._turn.notify_all()

    def submit(self, job: Job) -> Job:
        """Put a request into the queue.

        Raises:
            Full: there is no room.
        """
        with self._lock:
            if self._closing:
                raise Full(5, "stopping")
            if self.depth >= self.most:
                raise Full(self._wait())
            if job.cheap:
                self._cheap.append(job)
                self._comes.notify()
            else:
                self._dear.append(job)
                self._dears.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            job.cancelled = True
            self._turn.notify_all()

    async def close(self, grace: float) -> None:
        """Take nothing more; what is not finished in ``grace`` seconds is handed back: what is known of it, or why not.

        A model call cannot be cut, but nobody waits for the end of one that is under way then: its thread is a daemon.
        """
        with self._lock:
            self._closing = True
            self._until = min(self._until, time.monotonic() + grace)
            for one in (self._comes, self._dears):
                one.notify_all()
        while any(one.is_alive() for one in self._threads) and time.monotonic() < self._until:
            await asyncio.sleep(0.02)
        with self._lock:
            left = [*self._under_way, *self._cheap, *self._dear]
            self._cheap.clear()
            self._dear.clear()
        for job in left:
            found = job.early
            if found is None:
                self._end(job, "failed", error=Full(5, "stopping"))
            else:
                partial = f"{found.partial}, when the server was stopped"
                self._end(job, "done", replace(found, partial=partial))
            self.cancel(job)

    def _wait(self) -> int:
        """Seconds until what waits will have been answered."""
        ahead = sum(job.asked.size for job in (*self._cheap, *self._dear))
        return min(600, max(1, math.ceil(ahead * self._pace)))

    # ------------------------------------------------------------------ cheap requests

    def _work_cheap(self) -> None:
        while True:
            with self._lock:
                while not (pack := self._pack()):
                    if self._closing and not self._cheap:
                        return
                    self._comes.wait()
                self._packed.append(pack[0].asked.served.name)
                self._passed = True
                self._under_way += pack
            self._do(pack)
            with self._lock:
                self._packed.remove(pack[0].asked.served.name)
                self._seen = time.monotonic()
                self._comes.notify()
                self._turn.notify_all()

    def _pack(self) -> list[Job]:
        """The first that waits and may be asked now, with those that fit it; the lock is held."""
        first = next((job for job in self._cheap if not self._taken(job.asked.served)), None)
        if first is None:
            return []
        self._cheap.remove(first)
        pack, count = [first], len(first.asked.items)
        for job in list(self._cheap):
            size = len(job.asked.items)
            fits = job.asked.fits == first.asked.fits and first.asked.items.alike(job.asked.items)
            if fits and count + size <= self._together:
                self._cheap.remove(job)
                pack.append(job)
                count += size
        return pack

    def _taken(self, served: Served) -> bool:
        """Whether a model that one thread at a time may ask is asked, or a dear one is due next; the lock is held."""
        if _shared(served):
            return False
        if served.name in self._packed:
            return True
        whose = self._calling or (self._line[0] if self._line and self._is_due() else None)
        return whose is not None and whose.asked.served is served

    # ------------------------------------------------------------------ dear requests

    def _work_dear(self) -> None:
        with standing_aside():
            while job := self._next_dear():
                self._take_turn(job)
                self._do([job])
                self._give_turn(job)

    def _next_dear(self) -> Job | None:
        """The next that waits; None when there will be none any more."""
        with self._lock:
            while not self._dear:
                if self._closing:
                    return None
                self._dears.wait()
            job = self._dear.popleft()
            self._under_way.append(job)
            return job

    def _take_turn(self, job: Job) -> None:
        """Wait for this request's turn to ask its model; one that nobody waits for any more does not have it."""
        with self._lock:
            if not self._line and self._calling is None:  # cheap ones go before the first call too
                self._due, self._passed = time.monotonic() + self._gap, False
            self._line.append(job)
            while not (job.cancelled or job.late or self._may(job)):
                now = time.monotonic()
                times = [one - now for one in (self._due, self._seen + self._pause) if one > now]
                self._turn.wait(min(job.left, *times, threading.TIMEOUT_MAX))
            self._line.remove(job)
            if job.cancelled or job.late:
                self._turn.notify_all()
                self._comes.notify()
            else:
                self._calling, self._began = job, time.monotonic()

    def _give_turn(self, job: Job) -> None:
        """Its call is over."""
        with self._lock:
            if self._calling is job:
                now = time.monotonic()
                self._calling, self._took = None, now - self._began
                self._due, self._passed = now + self._gap, False
                self._comes.notify()
                self._turn.notify_all()

    def _may(self, job: Job) -> bool:
        """Whether it is this request's turn; the lock is held."""
        if self._calling is not None or self._line[0] is not job:
            return False
        shared = _shared(job.asked.served)
        if shared and can_stand_aside():
            return True
        if self._is_about() and not self._is_due():
            return False
        return shared or job.asked.served.name not in self._packed

    @property
    def _gap(self) -> float:
        """Seconds between two calls that belong to cheap requests; fewer where several dear ones share the calls."""
        count = sum(not job.cheap for job in self._under_way) + len(self._dear)
        return _SHARE * self._took / max(1, count)

    @property
    def _pause(self) -> float:
        """Seconds for which a cheap request is likely to be followed by another."""
        return min(self._took, _JUST_NOW)

    def _is_about(self) -> bool:
        """Whether a cheap request is likely to meet a dear call that is begun now; the lock is held."""
        here = self._coming or self._cheap or self._packed
        return bool(here) or time.monotonic() < self._seen + self._pause

    def _is_due(self) -> bool:
        """Whether the next dear call goes before the cheap requests that wait; the lock is held."""
        return (self._passed or not self._cheap) and time.monotonic() >= self._due

    # ------------------------------------------------------------------ both

    def _do(self, pack: list[Job]) -> None:
        waiting = [job for job in pack if not self._gone(job)]
        with self._lock:
            waiting = [job for job in waiting if not job.over]  # none was handed back meanwhile
            for job in waiting:
                job.started, job.state = time.monotonic(), "running"
                job.tell()
        if not waiting:
            return
        began = time.monotonic()
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
        if waiting[0].cheap:
            size = sum(job.asked.size for job in waiting)
            self._pace += 0.1 * ((time.monotonic() - began) / max(1, size) - self._pace)
        for job, answer in zip(waiting, answers, strict=True):
            self._end(job, "done", answer)

    def _answers(self, jobs: Sequence[Job]) -> list[Answer]:
        first = jobs[0]
        asked, dear = [job.asked for job in jobs], not first.cheap

        def watch(done: int, of: int) -> None:
            for job in jobs:
                job.onwards(done, of)
            if dear:
                self._give_turn(first)
                self._take_turn(first)
            if all(job.cancelled for job in jobs):
                raise Stopped
            if len(jobs) == 1 and first.late:
                raise Late

        known, steps = Known(), stages(first.asked) if len(jobs) == 1 else []
        how: dict[str, Any] = {"cache": known} if steps else {}
        try:
            for most in steps:
                found = early(first.asked, most, known, watch)
                first.early = found or first.early
                first.tell()
            return answered(asked, watch, **how)
        except Late:
            if first.early is None:
                raise
            return [replace(first.early, partial=f"{first.early.partial}, at the deadline")]

    def _gone(self, job: Job) -> bool:
        """End a job that nobody waits for, or that waited past its deadline."""
        if job.cancelled:
            self._end(job, "cancelled")
        elif job.late:
            self._end(job, "failed", error=Late())
        return job.over

    def _end(self, job: Job, state: State, answer: Answer | None = None, error: BaseException | None = None) -> None:
        with self._lock:
            if job in self._under_way:
                self._under_way.remove(job)
            if job.over:  # handed back meanwhile
                return
            job.end(state, answer, error)
        self._ended(job)


def _shared(served: Served) -> bool:
    """Whether several threads may ask a model."""
    return abilities_of(served.model).shared is True
