"""What a queue of the same arrivals would make its callers wait: one server, cheap requests of one length, a dear one
among every so many; and clients alone, against a server that answers at once.

    whole       in order of arrival: a dear request is answered in one piece
    calls       cheap ones first, whenever a model call of the dear one has ended
    preempted   cheap ones first at any time, and the dear one has what is left over

With arrivals one after another in equal steps (D/D/1) or at random (M/D/1). Nothing here is measured.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["POLICIES", "Work", "echoing", "equal", "poisson", "waits"]

Policy = Literal["whole", "calls", "preempted"]
POLICIES: tuple[Policy, ...] = ("whole", "calls", "preempted")


@dataclass(frozen=True, slots=True)
class Work:
    """What requests take of the server.

    Args:
        cheap: Seconds of a cheap one.
        dear: Seconds of a dear one.
        call: Seconds of one of its model calls.
        every: Every so many requests one is dear.
    """

    cheap: float
    dear: float
    call: float
    every: int


def equal(rate: float, count: int) -> np.ndarray:
    """Times of arrival, ``rate`` a second, in equal steps."""
    return np.arange(count) / rate


def poisson(rate: float, count: int, seed: int = 0) -> np.ndarray:
    """Times of arrival, ``rate`` a second, at random."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def waits(arrivals: Sequence[float], work: Work, policy: Policy) -> np.ndarray:
    """Seconds that each cheap request waits before it is begun."""
    free = left = 0.0  # when the server has done what goes before; seconds of dear work that are not done by then
    found = []
    for number, came in enumerate(arrivals):
        dear = number % work.every == work.every - 1
        if policy == "whole":
            begun = max(free, came)
            free = begun + (work.dear if dear else work.cheap)
        else:
            if left > 0 and free < came:  # the dear one has the time between
                calls = min(math.ceil((came - free) / work.call), math.ceil(left / work.call)) * work.call
                used = calls if policy == "calls" else min(came - free, left)
                left, free = max(0.0, left - used), free + used
            begun = max(free, came)
            if dear:
                left, free = left + work.dear, begun
            else:
                free = begun + work.cheap
        if not dear:
            found.append(begun - came)
    return np.array(found)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].partition(b":")[2]))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size + b"x" * size)
    await writer.drain()
    writer.close()


def _echo(port: int, size: int) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: _answer(r, w, size), "127.0.0.1", port, backlog=1024)
        async with server:
            await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def echoing(port: int, size: int) -> Iterator[str]:
    """The address of a server that reads each body and answers so many bytes at once."""
    process = multiprocessing.Process(target=_echo, args=(port, size), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()
