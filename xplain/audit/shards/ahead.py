"""What is made in a thread of its own, a few steps ahead of whoever takes it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(steps: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """The same steps in the same order, taken from ``steps`` in another thread.

    So many lie ready at most, one more is held by who makes them and one by who takes them: whoever makes steps in a
    ring of ``depth + 2`` places overwrites none that is still looked at. An error is raised where its step would have
    come. Closed early, ``steps`` is closed too, in its own thread.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    ended = threading.Event()

    def work() -> None:
        try:
            for one in steps:
                ready.put((one,))
                if ended.is_set():
                    break
            else:
                ready.put(None)
        except BaseException as error:
            ready.put(error)
        finally:
            steps.close()

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (found := ready.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found[0]
    finally:
        ended.set()
        while thread.is_alive():
            try:
                ready.get(timeout=0.01)  # who waits with a step in hand sees that nobody wants it
            except queue.Empty:
                continue
