"""``xplain audit run``: make what is left of an audit, through any crash."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from xplain import audit
from xplain.cli.telling.console import OK, PARTIAL, Outcome
from xplain.core.errors import UsageError

__all__ = ["run"]


def run(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
    workers: Annotated[int, typer.Option(help="Processes that make shards; 0 makes them in this one.")] = 1,
    max_hours: Annotated[
        float | None, typer.Option(help="Begin no shard that is not likely to end by then.", show_default=False)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(help="Money that models which bill may cost, in their currency.", show_default=False),
    ] = None,
    max_queries: Annotated[
        int | None,
        typer.Option(help="Evaluations that this audit may ask for in all. Default: as planned.", show_default=False),
    ] = None,
    shards: Annotated[
        str | None, typer.Option(metavar="N,N-M", help="Make these shards alone, such as 0,4-7.", show_default=False)
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(help="Another place of the items, where they were moved; one process.", show_default=False),
    ] = None,
    most_errors: Annotated[
        float | None,
        typer.Option(help="Share of rows that may fail before the run stops. Default: as planned.", show_default=False),
    ] = None,
) -> Outcome:
    """Make what is left of AUDIT: as often as it takes, whatever ended the run before.

    What is sealed is done, whoever made it. SIGTERM and Ctrl-C let the shards under way be finished. A file that ends
    the process that reads it becomes an error row, and so does one that cannot be read or explained.

    Exit code 0 where all shards are sealed, 4 where some are left.

    Raises:
        XplainError: the folder holds no audit, or one that is not as it was planned; too many rows fail.
    """
    numbers = None if shards is None else _numbers(shards)
    told = _tell if sys.stderr.isatty() else None
    found = audit.run(
        out,
        workers=workers,
        max_hours=max_hours,
        max_cost=max_cost,
        max_queries=max_queries,
        shards=numbers,
        items=items,
        most_errors=most_errors,
        told=told,
    )
    if told is not None:
        sys.stderr.write("\r\033[K")
    return Outcome({**asdict(found), "done": found.done}, str(found), OK if found.done else PARTIAL)


def _tell(found: audit.Progress) -> None:
    sys.stderr.write(f"\r\033[K{found}")
    sys.stderr.flush()


_DIGITS = 7
"""Digits that a shard's number has at most: a list of all of them still fits into memory."""


def _numbers(text: str) -> list[int]:
    """``0,4-7`` as numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        sound = first.isdecimal() and last.isdecimal() and max(len(first), len(last)) <= _DIGITS
        if not sound or int(last) < int(first):
            raise UsageError(option="shards", got=text, accepted="numbers and ranges, such as 0,4-7")
        found += range(int(first), int(last) + 1)
    return found
