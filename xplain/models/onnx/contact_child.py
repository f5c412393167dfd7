"""The other side of a first contact: a server with one thread, which makes a child with limits for each file.

The server forks a watcher for each job, and the watcher the child, so that neither a hang nor a death keeps the next
file waiting. A child leaves a letter for each stage in a pipe that is read when it is gone.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from xplain.core.errors import UsageError, XplainError
from xplain.core.target import label
from xplain.graph.analysis import small
from xplain.graph.dtypes import FLOATS
from xplain.graph.intake.inputs import inputs_of, put_first
from xplain.graph.intake.load import Loaded, read
from xplain.graph.outline.logits import find_scores
from xplain.graph.reverse.cut import cut
from xplain.graph.reverse.seeds import feeds_of, kinds_of, seeds_of
from xplain.graph.reverse.sweep import BASELINE, build
from xplain.models.onnx.inputs import arranged
from xplain.models.onnx.providers import CPU
from xplain.models.onnx.session import preload
from xplain.models.onnx.session_cache import open_session

__all__ = ["serve"]

_NO_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate|bad allocation|[Uu]nable to allocate|MemoryError")
_SLACK = 6  # times the processor time that may pass on the clock; a machine may be busy


def serve(handle: int) -> None:
    """Make a child for each job that comes, until the caller is gone.

    Args:
        handle: A socket; with each message on it comes the handle of another, where the job waits.
    """
    preload()
    small.preload()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=handle)
    while True:
        said, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not said:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with suppress(BaseException):
                _watch(Connection(handles[0]))
            os._exit(0)
        os.close(handles[0])


def _watch(line: Connection[Any, Any]) -> None:
    """Make the child, wait for its end or its time, and tell how it went."""
    job = line.recv()
    trail, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(trail)
        line.close()
        os._exit(_work(job, end))
    os.close(end)
    deadline, late = time.monotonic() + 5 + _SLACK * job.seconds, False
    gone = os.pidfd_open(child) if hasattr(os, "pidfd_open") else -1
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        own = line.fileno()
        waits = select.select([own, *([gone] if gone >= 0 else [])], [], [], 0.5 if gone >= 0 else 0.01)[0]
        late = time.monotonic() > deadline
        if late or own in waits:  # its time is up, or the caller is gone, who says nothing while it waits
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
    with suppress(OSError):
        line.send((os.waitstatus_to_exitcode(status), os.read(trail, 64), late))


def _limit(job: Any) -> None:
    seconds = max(1, round(job.seconds))
    for kind, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_CPU, seconds, seconds + 2),
        (resource.RLIMIT_DATA, job.memory, job.memory),
        (resource.RLIMIT_FSIZE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]
        bound = [n if most == resource.RLIM_INFINITY else min(n, most) for n in (soft, hard)]
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound[0], bound[1]))


def _work(job: Any, trail: int) -> int:
    """What a load does, once; the pipe says how far it came."""
    try:
        _limit(job)
        os.write(trail, b"c")
        source = job.content if job.path is None else job.path
        how = {"allow_external_data": job.allow_external_data, "limits": job.limits, "output": job.output}
        loaded = read(source, content=job.content, **how, free=job.stage == "load")
        same = loaded.digest == job.digest
        if not same and job.stage == "load":
            os.write(trail, b"d")
            return 0
        found = find_scores(loaded, job.output)
        found.write_into(loaded.model)
        os.write(trail, b"o")
        _run(job, loaded, found.scores.tensor, trail)
        # weights beside the file may have been exchanged since the load, which holds what it read: nothing to refuse,
        # and nothing to remember
        os.write(trail, b"." if same else b"x")
    except BaseException as error:
        letter = b"m"
        with suppress(BaseException):  # where no memory is left, not even this can be found out
            letter = b"m" if _floods(error) else b"x"
        os.write(trail, letter)
    return 0


def _floods(error: BaseException) -> bool:
    """Whether memory ran out, by what the runtime or numpy said."""
    seen: BaseException | None = error
    while seen is not None and not (isinstance(seen, MemoryError) or _NO_MEMORY.search(str(seen))):
        seen = seen.__cause__ or seen.__context__
    return seen is not None


def _run(job: Any, loaded: Loaded, scores: str, trail: int) -> None:
    how: dict[str, Any] = {"wanted": [(CPU, {})], "threads": 1, "seconds": None}
    explained, feeds = _fed(job, loaded)
    if job.stage == "load":
        session = open_session(cut(loaded, loaded.model, (scores,)), loaded.model, loaded, how)
        os.write(trail, b"r")
        ones = {name: array + 1 if array.dtype.kind == "f" else array for name, array in feeds.items()}
        for fed in (feeds, ones):
            try:
                session.run(fed)
            except XplainError as error:  # zeros need not be what the model takes
                if _floods(error):
                    raise
        return
    tap = _tap(loaded, explained)
    if tap is None:
        return
    os.write(trail, b"s")
    rules, target, rows = job.rules, label(0), np.zeros(1, np.int64)
    built = build(loaded.analysed(loaded.model), (tap,), seeds_of(target, scores), rules)
    session = open_session(built.model, loaded.model, loaded, how, lent=True)
    baseline = {BASELINE: feeds[explained]} if rules.reference else {}
    seeds = feeds_of(target, rows, kinds_of(built.model))
    session.run(feeds | baseline | {name: numbers.astype(np.int64) for name, numbers in seeds.items()})


def _fed(job: Any, loaded: Loaded) -> tuple[str, dict[str, Any]]:
    """The explained input, and what each is fed: the values that it is fixed to, else zeros."""
    given: dict[str, Any] = {}
    try:
        inputs, first, given = arranged(loaded, job.input, job.fixed)
        explained = first.name
    except UsageError:  # a table's inputs, of which none is fixed, or a value that the load refuses
        inputs = inputs_of(loaded)
        explained = next((spec.name for spec in inputs if spec.dtype.startswith("float")), inputs[0].name)
        put_first(loaded, explained)
    feeds = {}
    for spec in inputs:
        kind = object if spec.dtype == "str" else np.dtype(spec.dtype)
        feeds[spec.name] = np.zeros(loaded.known.shapes.get(spec.name, (1,)), kind)
        if spec.dtype == "str":
            feeds[spec.name][...] = ""
    return explained, feeds | given


def _tap(loaded: Loaded, explained: str) -> str | None:
    """Where a sweep can end: the explained input, or the first real numbers that whole ones are turned into."""
    if loaded.dtype(explained) in FLOATS:
        return explained
    made = (node.output[0] for node in loaded.model.graph.node if explained in node.input and node.output)
    return next((name for name in made if loaded.dtype(name) in FLOATS), None)
