"""Workers of a run that are forked rather than begun anew, so that whoever kills them often need not wait for imports.

The line that a worker runs is the same, ``xplain.audit.shards.working.main``; what is left out is a second of imports.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from xplain.audit.shards import attending, working


class Forked:
    """A worker as ``subprocess.Popen`` begins it, but forked: it works a second earlier, and no line of it differs."""

    def __init__(self, command: list[str], *, stderr: Any, **_: Any) -> None:
        (asks, asked), (answers, answered) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = 9
            try:
                for number, place in ((asks, 0), (answered, 1), (stderr.fileno(), 2)):
                    os.dup2(number, place)
                os.closerange(3, 4096)  # the pipes of its siblings, which must see their ends, and the run's lock
                sys.stdin = os.fdopen(0, "r")
                working.main(*command[3:])
                code = 0
            finally:
                os._exit(code)
        for number in (asks, answered):
            os.close(number)
        self.stdin, self.stdout = os.fdopen(asked, "w"), os.fdopen(answers, "r")
        self._status: int | None = None

    def wait(self) -> int:
        """Its status, less than 0 for the signal that it died of."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def forking() -> None:
    """Begin workers by a fork from here on, in this process."""
    attending.subprocess = type("", (), {"Popen": Forked, "PIPE": subprocess.PIPE})


def workers_of(number: int) -> list[int]:
    """The processes that a run has begun."""
    with contextlib.suppress(OSError):
        return [int(one) for task in Path(f"/proc/{number}/task").iterdir()
                for one in (task / "children").read_text().split()]  # fmt: skip
    return []
