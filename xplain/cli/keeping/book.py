"""The record and the page of a run while it goes on: both are there, and true, whenever it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xplain.cli.keeping.output import Folder
from xplain.core.errors import OutputError
from xplain.core.keeping.plain import counted

__all__ = ["Book", "stays", "told_when_interrupted"]

_PAUSE = 2.0
"""Seconds between two writings of record and page, at least; and ten times what the last one took."""


@contextmanager
def told_when_interrupted(told: Callable[[], str]) -> Iterator[None]:
    """Around everything from before the folder is made until all is written: an interruption says what stays.

    Args:
        told: What stays by now, as a sentence. One that was told already is kept.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if str(interrupt):
            raise
        raise type(interrupt)(told()) from None


def stays(written: int, count: int, what: str, folder: Path, rest: str = "") -> str:
    """What stays of a run that ends early, as a sentence; a folder is named only where something is in it.

    Args:
        written: Items that are done.
        count: All.
        what: What one is called.
        folder: Where results are written.
        rest: What is there besides, such as ``", 1 more in part"``.
    """
    if not written and not rest:
        return f"Nothing was written: none of {counted(count, what)} was done."
    are = "is" if written == 1 else "are"
    return f"{written} of {counted(count, what)} {are} written to {folder}{rest}; no file is half-written."


class Book:
    """Writes ``run.json`` and the page as results come.

    Args:
        folder: Where.
        document: What was done so far, as plain values.
        page: Writes the page of what is there.
        finish: Draws what waits for the end, and writes the page; None: the same as ``page``.
        flush: Writes results that are gathered, before the record tells of them.
    """

    def __init__(
        self,
        folder: Folder,
        document: Callable[[], Mapping[str, Any]],
        page: Callable[[], None],
        finish: Callable[[], None] | None = None,
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._document, self._page, self._finish = folder, document, page, finish or page
        self._flush = flush
        self._next = 0.0
        self._any = False

    def kept(self) -> None:
        """A result was written: record it, and let the page grow, unless that was done a moment ago."""
        self._any = True
        started = time.monotonic()
        if started >= self._next:
            self._write("running", self._page)
            ended = time.monotonic()
            self._next = ended + max(_PAUSE, 10 * (ended - started))

    def _write(self, state: str, page: Callable[[], None]) -> None:
        self._flush()
        document = self._document()
        self._folder.record({"state": state, "run": document})
        page()
        self._folder.record({"state": state, "run": document})  # with the page among its files

    @contextmanager
    def kept_whatever_happens(self, told: Callable[[], str]) -> Iterator[None]:
        """Around the work: an interrupt or an error leaves the record and the page of what was done.

        Args:
            told: What stays, as a sentence; it goes into the message.
        """
        try:
            yield
        except KeyboardInterrupt as interrupt:
            self._close("interrupted")
            raise type(interrupt)(told()) from None
        except Exception as error:
            if self._any:
                self._close("failed")
                error.add_note(told())
            raise

    def _close(self, state: str) -> None:
        if self._any:
            with suppress(OutputError):  # the disk may be what failed
                self._write(state, self._finish)
