"""Work that gives way: runs of a model on a thread that has what others leave of the processor.

A thread that is scheduled last must not hold what others wait for, and the interpreter's lock is such a thing: whoever
holds it and does not run stops all that is Python. So a thread that stands aside goes on as it did, and only what a
runtime computes outside Python is done by another one, which is scheduled last. Threads that a runtime has of its own
are scheduled as any.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["aside", "can_stand_aside", "standing_aside"]

T = TypeVar("T")

_STARVED = 20  # times its processor time that a run took: others have all of it

_here = threading.local()


def can_stand_aside() -> bool:
    """Whether this system has threads that run only where nobody else wants to: Linux has, as ``SCHED_IDLE``."""
    return hasattr(os, "SCHED_IDLE") and hasattr(os, "sched_setscheduler")


@contextmanager
def standing_aside() -> Iterator[None]:
    """While it is entered, what this thread gives to ``aside()`` has what others leave of the processor."""
    if not can_stand_aside():
        yield
        return
    _here.last = last = _Last()
    try:
        yield
    finally:
        _here.last = None
        last.end()


def aside() -> Callable[[Callable[[], T]], T] | None:
    """Where this thread stands aside, who calls a function for it and gives back what that returns or raises."""
    last: _Last | None = getattr(_here, "last", None)
    return None if last is None else last.call


class _Last:
    """A thread that is scheduled last, and what it is asked to do."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._starved = False
        threading.Thread(target=self._work, name="xplain-aside", daemon=True).start()

    def call(self, run: Callable[[], T]) -> T:
        """Have it done; every other time here, while other processes leave nothing."""
        if self._starved:
            self._starved = False
            return run()
        done: Future[T] = Future()
        self._asked.put((run, done))
        return done.result()

    def end(self) -> None:
        """The thread ends when it has done what it was asked."""
        self._asked.put(None)

    def _work(self) -> None:
        with suppress(OSError):  # a sandbox may forbid it; then it is a thread like others
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        while (asked := self._asked.get()) is not None:
            run, done = asked
            began, used = time.monotonic(), time.thread_time()
            try:
                found = run()
            except BaseException as error:
                done.set_exception(error)
            else:
                self._starved = time.monotonic() - began > _STARVED * max(time.thread_time() - used, 1e-3)
                done.set_result(found)
            del asked, run, done
