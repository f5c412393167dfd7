"""First contact with a file that nobody vouches for: in a process of its own, with limits on time and memory.

Checks alone cannot keep up with two C++ libraries: a file that passes all of them may still kill ONNX Runtime, hold it
for hours, or fill the memory. So whatever a load does, checking, shape inference, opening, a run on zeros and one on
ones, is done once in a child, with the values that other inputs are fixed to; and so is the first sweep with each table
of rules, whose graph is another. What dies, hangs or floods there is refused here, with the limit that it passed. What
merely fails there fails here as well, with its own message.

A server process, started at the first contact, has the packages loaded and makes a child in some ten milliseconds; it
has one thread, so that making children by fork is sound, which the caller's process, with its torch, is not. It ends
with the process that started it.

A digest that passed is remembered, in memory and as an empty file below the user's cache folder, under the versions of
all that took part; such a file meets no child again. Where there is no fork (Windows), or where no child can be made,
loads go on without, and say so in ``xplain inspect``. On macOS the limit on memory is not enforced by the system, so
that a flood there ends as the system has it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import numpy as np

from xplain.core.declaring.wording import limit
from xplain.core.errors import Piece, Unsafe
from xplain.core.keeping.content import fingerprint
from xplain.core.rules import Rules
from xplain.graph.intake.load import Read
from xplain.graph.safety import Check, Limits, Verdict, human

__all__ = ["TRUSTED", "Contact"]

_STAGES = {
    b"": "while its process began",
    b"c": "while it was checked",
    b"o": "while ONNX Runtime opened it",
    b"r": "in a run on zeros or ones",
    b"s": "in one sweep on zeros",
}
_VERSION = 5  # of what a child does; a verdict of another is none
_KEPT = 4096  # verdicts on the disk
_MADE_OF = ("xplain", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "protobuf")
_SENT = 2**22  # bytes of a file up to which its content is handed to the child; larger ones it reads itself
_BYTES_A_SECOND = 2**24
_SWEEP = 3.0  # times the limit of a load: graphs of sweeps are larger, and are built in Python
_SERVER = "import sys; sys.path[:] = {path!r}; from xplain.models.onnx.contact_child import serve; serve({socket})"

_PAGES = "glibc.malloc.hugetlb=1"
"""Memory comes in large pages where the system has them: a child makes all of it anew, and uses it once."""

_GRADIENT = Rules()

TRUSTED = "none: the caller made this model, or vouches for it"


@dataclass(frozen=True, slots=True)
class _Job:
    """What a child is asked; it travels pickled, from us to us."""

    path: str | None
    content: bytes | None
    digest: str
    allow_external_data: bool
    limits: Limits
    output: int | str | None
    input: str | None
    fixed: dict[str, Any]
    stage: Literal["load", "sweep"]
    rules: Rules
    seconds: float
    memory: int


class Contact:
    """The first contact with one file.

    Args:
        allow_external_data: As given to the load.
        limits: As given to the load; ``contact_seconds`` 0 is no child at all.
        output: The tensor that is read as scores, where the caller says so.
        input: The input that is explained, where the caller says so.
        fixed: What the other inputs are fixed to, as the caller gives it.
    """

    def __init__(
        self,
        allow_external_data: bool,
        limits: Limits,
        output: int | str | None,
        input: str | None = None,  # noqa: A002 - as the load calls it
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self._allowed, self._limits, self._output, self._input = allow_external_data, limits, output, input
        self._fixed = _arrays(fixed or {})
        self._read: Read | None = None
        self._tables: set[str] = set()
        self._met: set[Rules] = set()

    def load(self, read: Read) -> Verdict:
        """Meet a file before anything but its structure is looked at.

        Raises:
            Unsafe: the child died, or passed a limit.
        """
        said = self._meet(read, "load")
        if len(read.content) < _SENT:
            self._read = read
        elif read.path is not None:
            self._read = replace(read, content=b"")  # a large file is read again there, and known by its digest
        else:
            self._swept(read, Rules())  # its bytes are not kept for later
        return said

    def sweep(self, rules: Rules) -> None:
        """Meet a file before its first sweep with a table of rules.

        Raises:
            Unsafe: the child died, or passed a limit.
        """
        if self._read is not None and rules not in self._met:
            self._swept(self._read, rules)
            self._met.add(rules)

    def _swept(self, read: Read, rules: Rules) -> None:
        try:
            ForkingPickler.dumps(rules)
        except Exception:  # a plugin's rules may be functions without a name: then the plain gradient is met
            rules = Rules()
        table = fingerprint(rules)
        if table not in self._tables:
            self._meet(read, "sweep", rules)
            self._tables.add(table)

    def _meet(self, read: Read, stage: Literal["load", "sweep"], rules: Rules = _GRADIENT) -> Verdict:
        limits = self._limits
        if limits.contact_seconds <= 0:
            return _said("none: limits.contact_seconds is 0", notable=True)
        seconds = limits.contact_seconds * (_SWEEP if stage == "sweep" else 1) + read.size / _BYTES_A_SECOND
        memory = limits.contact_bytes + 6 * read.size
        said = _said(f"in a process of its own, {seconds:.0f} s and {human(memory)} at most")
        asked = (self._allowed, sorted(asdict(limits).items()), self._output, self._input, stage)
        key = _key(read.digest, asked, fingerprint(self._fixed, rules))
        if key in _passed or _remembered(key):
            return said
        sent = read.content if len(read.content) < _SENT or read.path is None else None
        given = self._output, self._input, self._fixed
        job = _Job(read.path, sent or None, read.digest, self._allowed, limits, *given, stage, rules, seconds, memory)
        try:
            outcome = _server().ask(job)
        except (OSError, EOFError, ValueError, AttributeError) as error:
            return _said(f"no process of its own could be made here ({error})", notable=True)
        problem = outcome.problem(job)
        if problem:
            way_out = _way_out(outcome, limits, read.size)
            raise Unsafe(
                f"{read.name} {problem}. That happened in a process of its own, which first meets every file that "
                f"nobody vouches for; here it was not opened. If you trust the file, ",
                *way_out,
                ".",
            )
        if outcome.well:
            _passed.add(key)
            _remember(key)
        return said


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Args:
        status: Its exit status, negative for a signal.
        trail: A letter for each stage it reached; then ``.`` where all went well, ``x`` where something was refused by
            its own message, ``m`` where memory ran out.
        late: Whether it was stopped for its time on the clock.
    """

    status: int
    trail: bytes
    late: bool

    @property
    def well(self) -> bool:
        """Whether everything was done."""
        return self.status == 0 and self.trail.endswith(b".")

    @property
    def slow(self) -> bool:
        """Whether it was stopped for its time."""
        return self.late or self.status == -_signal("SIGXCPU")

    @property
    def flooded(self) -> bool:
        """Whether its memory was not enough, or the system's, which then kills it."""
        return self.trail.endswith(b"m") or (self.status == -_signal("SIGKILL") and not self.late)

    def problem(self, job: _Job) -> str:
        """What went wrong; empty where nothing did that this process would not hear of by itself."""
        where = _STAGES.get(self.trail.rstrip(b".xmd")[-1:], "")
        if self.slow:
            return f"was not done after {job.seconds:.0f} s of processor time, {where} (limits.contact_seconds)"
        if self.trail.endswith(b"d"):
            return "is another file than a moment before"
        if self.flooded:
            return f"wants more than {human(job.memory)} of memory, {where} (limits.contact_bytes)"
        if self.status >= 0 and (self.status or not self.trail.endswith((b".", b"x"))):
            return f"ended its process without a word, {where}"
        if self.status < 0:
            with suppress(ValueError):
                return f"killed its process with {Signals(-self.status).name}, {where}"
            return f"killed its process, {where}"
        return ""


def _way_out(outcome: Outcome, limits: Limits, size: int) -> tuple[Piece, ...]:
    if outcome.slow:
        return "give ", limit("contact_seconds", f"{10 * limits.contact_seconds:g}")
    if outcome.flooded:
        return "give ", limit("contact_bytes", 4 * limits.contact_bytes + 4 * size + 2**30)
    return "give ", limit("contact_seconds", 0), ", which meets it in this process; it may end as the other did"


def _said(found: str, notable: bool = False) -> Verdict:
    return Verdict((Check("first contact", found, notable),))


# ------------------------------------------------------------------ the server


class _Server:
    """The process that makes children."""

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise OSError("this system has no fork")
        ours, theirs = socket.socketpair()
        with theirs:
            path = [str(Path(entry or ".").absolute()) for entry in sys.path]
            code = _SERVER.format(path=path, socket=theirs.fileno())
            few = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", code],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"GLIBC_TUNABLES": _PAGES, **os.environ, **few},
                start_new_session=True,  # Ctrl-C is for the caller
            )
        self._control, self.owner = ours, os.getpid()
        self._lock = threading.Lock()

    def ask(self, job: _Job) -> Outcome:
        """Let a child do a job."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            socket.send_fds(self._control, [b"j"], [theirs.fileno()])
        with Connection(ours.detach()) as line:
            line.send(job)
            if not line.poll(20 + 8 * job.seconds):
                raise OSError("it does not answer")
            return Outcome(*line.recv())

    @property
    def gone(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it."""
        self._control.close()
        if self.owner == os.getpid():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)


_running: list[_Server] = []
_starting = threading.Lock()
_passed: set[str] = set()


def _server() -> _Server:
    """The server of this process; a forked copy of this process has its own."""
    with _starting:
        if _running and (_running[0].owner != os.getpid() or _running[0].gone):
            _running.pop().close()
        if not _running:
            _running.append(_Server())
            atexit.register(_running[0].close)
        return _running[0]


def _after_fork() -> None:
    """A forked copy of this process has neither the server nor whoever held the lock."""
    global _starting
    _starting = threading.Lock()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _arrays(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What can be sent of the values given; what is no array is refused later, by the load itself."""
    found = {}
    for name, value in fixed.items():
        with suppress(ValueError, TypeError):
            found[str(name)] = np.asarray(value)
    return found


def _signal(name: str) -> int:
    return int(getattr(Signals, name, 0))


# ------------------------------------------------------------------ what is remembered


def _key(*asked: Any) -> str:
    parts: list[Any] = [_VERSION, *asked, sys.version, sys.platform]
    for name in _MADE_OF:
        with suppress(PackageNotFoundError):
            parts.append((name, version(name)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _folder() -> Path | None:
    """Where verdicts lie; None where the user has no cache folder, which is not made for this."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given:
        return Path(given) / "xplain" / "contact" if Path(given).is_absolute() else None
    with suppress(RuntimeError, OSError):
        home = Path.home() / ".cache"
        if home.is_dir():
            return home / "xplain" / "contact"
    return None


def _remembered(key: str) -> bool:
    folder = _folder()
    with suppress(OSError):
        return folder is not None and (folder / key).is_file()
    return False


def _remember(key: str) -> None:
    """Note a file that passed; a cache that cannot be written costs time alone."""
    folder = _folder()
    with suppress(OSError):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            known: list[Any] = list(folder.iterdir())
            if len(known) >= _KEPT:
                for old in sorted(known, key=lambda one: one.stat().st_mtime)[: _KEPT // 2]:
                    old.unlink(missing_ok=True)
            (folder / key).touch()
