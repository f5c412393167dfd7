"""Workers in processes of their own, each attended to by a thread that sees how it ends.

takes a shard --> make ... sealed --> takes the next
silence: it died. Twice in a shard: a careful worker names each item
dies again and again at one item: that item becomes an error row
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from xplain.audit.shards.workload import FEW, Work
from xplain.audit.stores.home import Home
from xplain.core.errors import XplainError

__all__ = ["WorkerDied", "in_processes"]

_SUSPECT = 2
"""Deaths in a shard after which it is made carefully."""
_GUILTY: Mapping[int, int] = {signal.SIGKILL: 5, signal.SIGTERM: 5}
"""Deaths in a row at one item after which it is refused; 2, but 5 by signals that others send too: of 161 workers that
were killed at random, 3 met the same item in a row once."""
_BORN_DEAD = 6
"""Workers in a row that are killed before they have begun, after which a run gives up; 2 that end by themselves."""


class WorkerDied(XplainError, RuntimeError):
    """A worker ends before, or between, its items: nothing can be blamed on one of them."""


def in_processes(home: Home, work: Work, workers: int) -> None:
    """Make shards in so many processes until nothing is left, or nothing may be begun."""

    def attend() -> None:
        try:
            _attend(home, work)
        except XplainError as error:
            work.fail(error)
        except Exception as error:
            work.fail(WorkerDied(f"A worker cannot be attended to: {type(error).__name__}: {error}."))

    threads = [threading.Thread(target=attend, name=f"worker {k}") for k in range(workers)]
    for one in threads:
        one.start()
    for one in threads:
        while one.is_alive():  # signals are taken care of between two looks
            one.join(0.2)


def _attend(home: Home, work: Work) -> None:
    """One worker after another, until there is nothing to do."""
    while (shard := work.take()) is not None:
        with _begun(home) as worker:
            while shard is not None:
                price = worker.asked("price", shard).get("price", (0.0, 0)) if work.limited else (0.0, 0)
                if not work.affords(shard, *price):
                    return
                if work.deaths.get(shard, 0) >= _SUSPECT:
                    worker.close()
                    _carefully(home, work, shard)
                    break
                answer = worker.asked("make", shard, most=work.granted(shard))
                if "sealed" not in answer:
                    _died(work, shard, worker, answer)
                    break
                work.done(answer, worker.pid)
                shard = work.take()


def _begun(home: Home, threads: int = 2) -> _Worker:
    """A worker that has opened everything; one that is killed on its way there is followed by another.

    Raises:
        WorkerDied: it ends by itself, or is killed again and again.
        XplainError: it says what is wrong.
    """
    for attempt in range(1, _BORN_DEAD + 1):
        worker = _Worker(home, threads)
        if worker.ready():
            return worker
        words, killed = worker.last_words(), worker.status() < 0
        worker.close()
        if attempt == _BORN_DEAD or (not killed and attempt == _SUSPECT):
            break
    raise WorkerDied(f"A worker ends before it has begun: {words}")


def _died(work: Work, shard: int, worker: _Worker, answer: Mapping[str, Any]) -> None:
    """A worker has failed, or died, in a shard."""
    work.back(shard)
    if "failed" in answer:
        raise _Failed.named(answer)
    work.deaths[shard] = work.deaths.get(shard, 0) + 1
    if work.log is not None:
        work.log.write(died=worker.pid, shard=shard, status=worker.status())


def _carefully(home: Home, work: Work, shard: int) -> None:
    """A shard in processes that say which item they touch; one at which they die again and again is refused."""
    refused: dict[int, str] = {}
    last, times = -1, 0
    while True:
        with _begun(home, threads=0) as worker:
            item = -1
            worker.send(make=shard, careful=True, refused=refused, most=work.granted(shard))
            for answer in worker.answers():
                if "failed" in answer:
                    raise _Failed.named(answer)
                if "sealed" in answer:
                    work.done(answer, worker.pid)
                    return
                item = answer.get("item", item)
            status = worker.status()
            if work.log is not None:
                work.log.write(died=worker.pid, shard=shard, item=item, status=status)
            last, times = item, times + 1 if item == last else 1
            if item < 0 and times >= _BORN_DEAD:
                raise WorkerDied(f"A worker dies in shard {shard} before its first item: {worker.last_words()}")
            if item >= 0 and times >= _GUILTY.get(-status, _SUSPECT):
                refused[item] = "The process that read or explained it died, again and again."
            if len(refused) > max(FEW, work.most_errors * work.plan.shards[shard].rows):
                raise WorkerDied(f"Workers die at {len(refused)} items of shard {shard}: {worker.last_words()}")


class _Failed(XplainError, RuntimeError):
    """What a worker refused to do, in its words."""

    @classmethod
    def named(cls, answer: Mapping[str, Any]) -> XplainError:
        """The error that a worker met, of its own kind where it is known here."""
        from xplain.audit.stores import store
        from xplain.core import errors

        kind = getattr(errors, answer["kind"], None) or getattr(store, answer["kind"], None)
        known = isinstance(kind, type) and issubclass(kind, XplainError)
        return kind(answer["failed"]) if known and kind is not None else cls(answer["failed"])


class _Worker:
    """A process that makes shards; it is gone when the block ends."""

    def __init__(self, home: Home, threads: int = 2) -> None:
        command = [sys.executable, "-m", "xplain.audit.shards.working", home.out, str(threads)]
        self._words = (home.folder / "log" / f"words-{os.getpid()}-{threading.get_ident()}.txt").open("wb+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, text=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()

    def close(self) -> None:
        """Let it end, and wait for it."""
        if not self._words.closed:
            with suppress(OSError):
                self.send()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._words.close()
            Path(self._words.name).unlink(missing_ok=True)

    def send(self, **asked: Any) -> None:
        """Ask for something; nothing means that this was all."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, which its silence says
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()

    def answers(self) -> Iterator[dict[str, Any]]:
        """What it says, until it is silent; a line that was cut short is not said."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                yield json.loads(line)

    def asked(self, what: str, shard: int, **how: Any) -> dict[str, Any]:
        """The answer to a question about a shard; nothing where it dies."""
        self.send(**{what: shard}, **how)
        return next(self.answers(), {})

    def ready(self) -> bool:
        """Whether it has opened everything.

        Raises:
            XplainError: it has not, and says why.
        """
        answer = next(self.answers(), {})
        if "failed" in answer:
            raise _Failed.named(answer)
        return "ready" in answer

    def status(self) -> int:
        """How it ended: less than 0 for the signal that it died of."""
        return self._process.wait()

    def last_words(self) -> str:
        """The end of what it printed, and how it ended."""
        status = self.status()
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - 400))
        said = " ".join(self._words.read().decode("utf-8", "replace").split())
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"{how}. {said}".strip()
