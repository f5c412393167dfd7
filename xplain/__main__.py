"""The command line: the script ``xplain``, and ``python -m xplain`` where that is not on the path."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130


def _at_once(*_: object) -> None:
    os.write(sys.stderr.fileno(), b"xplain: interrupted.\n")
    os._exit(_INTERRUPTED)


try:
    import signal
except KeyboardInterrupt:
    _at_once()

__all__ = ["main"]


def main() -> None:
    """Run one verb and exit with its code; Ctrl-C ends it with 130 from the first moment on.

    While modules are imported nothing has been done that would have to be kept, and an exception that is raised in the
    middle of an import may come out of it as another one: so the process ends at once. From then on a verb keeps what
    it has done.

    The first moment is when this line runs. Before it are the interpreter's own start, ``site`` with the ``.pth`` files
    of what is installed, and the script that pip wrote, which imports ``re``: some 20 ms on an idle machine in which
    no program can catch a signal, and a traceback of Python's own is all that there can be.
    """
    ours = signal.getsignal(signal.SIGINT) == signal.default_int_handler  # else somebody wants it ignored
    if ours:
        signal.signal(signal.SIGINT, _at_once)
    try:
        from xplain.cli import main as verbs

        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        verbs()
    except KeyboardInterrupt:  # between the verb's end and the process's
        _at_once()


if __name__ == "__main__":
    main()
