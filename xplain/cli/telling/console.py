"""What every verb shares: one result to print, exit codes, errors without tracebacks, progress.

stdout carries the result alone: text, or with ``--json`` one JSON document. Everything else goes to stderr.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from typer.core import TyperGroup

from xplain.cli.telling.pictures import show
from xplain.core.declaring.wording import Mention, Words, in_python, in_shell
from xplain.core.errors import Unsafe, UsageError, XplainError
from xplain.core.keeping.plain import plain

__all__ = ["DEFECT", "FINDING", "INTERRUPTED", "OK", "PARTIAL", "UNSAFE", "USAGE"]
__all__ += ["Outcome", "Progress", "Shell", "Verbs", "note", "table", "to_json", "words_of"]

OK, FINDING, USAGE, UNSAFE, PARTIAL = 0, 1, 2, 3, 4
DEFECT = 70
"""Exit code of an exception that xplain did not raise on purpose (sysexits' EX_SOFTWARE)."""
INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): what was done is kept, as at Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verb found.

    Args:
        document: The result for a program: plain values, arrays and numpy scalars.
        text: The same for a person.
        code: Exit code.
        pictures: PNG files of it, which a terminal that can shows below the text.
    """

    document: Mapping[str, Any]
    text: str
    code: int = OK
    pictures: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Shell:
    """What a verb may know of the command line: it is the ``obj`` of the ``typer.Context`` that a verb may take.

    Args:
        line: The whole command line, as a shell takes it.
        words: How messages name options there: by the flags that the verb has.
    """

    line: str
    words: Words = in_python


class Verbs(TyperGroup):
    """Runs a verb, prints what it returned or why it failed, and exits."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._words: Words = in_shell(())

    def main(self, args: Any = None, *rest: Any, **extra: Any) -> Any:
        """Run one verb and raise ``SystemExit`` with its exit code."""
        given = sys.argv[1:] if args is None else list(args)
        as_json = "--json" in given
        try:
            outcome = self._outcome(given, rest, extra)
            if isinstance(outcome, Outcome):
                print(to_json({**outcome.document, "exit_code": outcome.code}) if as_json else plain(outcome.text))
                if not as_json and sys.stdout.isatty():
                    show(outcome.pictures)
                outcome = outcome.code
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except typer.TyperException as error:
            error.message = plain(error.message)
            error.show()  # type: ignore[attr-defined]  # usage and the nearest option, as every typer program says it
            outcome = _failed(_fields(error, error.format_message()), USAGE, as_json)
        except XplainError as error:
            note("\n".join([f"xplain: {error.said(self._words)}", *getattr(error, "__notes__", ())]))
            code = UNSAFE if isinstance(error, Unsafe) else USAGE
            outcome = _failed(error.fields(self._words), code, as_json)
        except MemoryError as error:  # numpy says how much was asked for
            said = str(error).rstrip(".") or "an array could not be allocated"
            told = f"There is not enough memory: {said}. Ask for fewer samples, a smaller batch or fewer items at once."
            note(f"xplain: {told}")
            outcome = _failed(_fields(error, told), USAGE, as_json)
        except Exception as error:
            note(traceback.format_exc())
            note("xplain: this is a defect of xplain, not of what you asked; please report the lines above.")
            outcome = _failed(_fields(error, str(error)), DEFECT, as_json)
        sys.exit(outcome or OK)

    def _outcome(self, given: list[str], rest: tuple[Any, ...], extra: dict[str, Any]) -> Any:
        try:
            return super().main(
                given, *rest, **{**extra, "standalone_mode": False, "obj": Shell(shlex.join(["xplain", *given]))}
            )
        except (typer.Abort, KeyboardInterrupt):  # before a verb began
            note("xplain: interrupted.")
            return INTERRUPTED

    def speak(self, words: Words) -> None:
        """Name options in messages by these words from now on."""
        self._words = words

    def list_commands(self, ctx: Any) -> list[str]:
        """Verbs, then those with verbs of their own."""
        return sorted(super().list_commands(ctx), key=lambda name: isinstance(self.commands[name], TyperGroup))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that is meant; its flags are remembered, for the messages."""
        found = super().resolve_command(ctx, args)
        words = words_of(found[1])
        root = ctx.find_root().command
        if isinstance(root, Verbs):  # which prints what a verb of a verb raises
            root.speak(words)
        ctx.obj = replace(ctx.obj, words=words)
        _refuse_repeated(found[1], found[2])
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; Ctrl-C becomes its own exit code and one line."""
        try:
            with _terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            said, ended = str(interrupt), isinstance(interrupt, Terminated)
            note(f"xplain: {'terminated' if ended else 'interrupted'}. {said}".rstrip())
            code = TERMINATED if ended else INTERRUPTED
            return Outcome({"error": {"kind": "Interrupted", "message": said}}, "", code)


@contextmanager
def _terminable() -> Iterator[None]:
    """While a verb runs, SIGTERM is an interrupt; a handler that somebody set stays."""

    def ended(*_: object) -> None:
        raise Terminated

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _refuse_repeated(verb: Any, words: Sequence[str]) -> None:
    """A flag of one value that is given twice says two things, of which the last would win in silence.

    Raises:
        UsageError: there is one.
    """
    known = {name: one for one in getattr(verb, "params", ()) for name in one.opts if name.startswith("-")}
    given: dict[str, list[str]] = {}
    place = 0
    while place < len(words) and words[place] != "--":
        name, equals, value = words[place].partition("=")
        one = known.get(name if name.startswith("--") else words[place][:2] if words[place][:1] == "-" else "")
        place += 1
        if one is None or one.is_flag or one.multiple:
            continue
        if name.startswith("--"):
            said = value if equals else words[place] if place < len(words) else ""
            place += not equals
        else:
            said = words[place - 1][2:] or (words[place] if place < len(words) else "")
            place += len(words[place - 1]) == 2
        given.setdefault(one.opts[0], []).append(said)
    for name, values in given.items():
        if len(values) > 1:
            raise UsageError(
                f"{name} is given {len(values)} times ({', '.join(values)}); it takes one value. Give it once."
            )


def words_of(verb: Any) -> Words:
    """How messages name options where ``verb``, a command of typer's, was called."""
    flags = (flag for one in getattr(verb, "params", ()) for flag in one.opts if flag.startswith("--"))
    has = {flag.removeprefix("--").replace("-", "_") for flag in flags}

    def words(mention: Mention) -> str:
        from xplain.models.options import EndpointOptions

        in_file = [field.name for field in fields(EndpointOptions)] if "endpoint" in has else []
        return in_shell(has, in_file)(mention)

    return words


def _failed(fields: Mapping[str, Any], code: int, as_json: bool) -> int:
    if as_json:
        print(to_json({"error": fields, "exit_code": code}))
    return code


def _fields(error: Exception, message: str) -> dict[str, Any]:
    """An error that is none of xplain's, as JSON tells it."""
    return {"kind": type(error).__name__, "message": message}


def note(text: str) -> None:
    """Say something that is not the result."""
    print(plain(text), file=sys.stderr, flush=True)


def to_json(document: Any) -> str:
    """One JSON document; NaN and infinity, which JSON does not know, never get this far."""
    return json.dumps(document, indent=2, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Left-aligned columns, two spaces apart; the same on a terminal and in a pipe, so that it can be searched."""
    from rich.cells import cell_len, set_cell_size  # letters of some scripts take two places

    lines = [tuple(plain(cell, one_line=True) for cell in line) for line in ([head, *rows] if head else rows)]
    widths = [max(cell_len(line[k]) for line in lines) for k in range(len(lines[0]))] if lines else []
    return "\n".join("  ".join(map(set_cell_size, line, widths)).rstrip() for line in lines)


_SILENT, _LONGEST = 10.0, 60.0
"""Seconds after which a person is told how far things are, whatever the share; twice as long each time, up to so many
where nobody knows of how much."""


class Progress:
    """Evaluations and sweeps done, of those expected: a bar on a terminal, else a line at most every tenth.

    Args:
        expected: How many in all, as planned; more may come from methods that decide as they go, such as integrated
            gradients, which adds steps. Beyond the plan there is a line each time that the number has doubled. None
            where nobody can plan, as for a lens over folders: then work of seconds has no lines, and long work one
            after 10 seconds, 20 more, 40 more, and every minute.
        every: Share of the whole between two plain lines.
        unit: What is counted.
    """

    def __init__(self, expected: int | None, every: float = 0.1, unit: str = "evaluations") -> None:
        from tqdm import tqdm

        self._planned, self._unit = expected is not None, unit
        self._expected, self._every = max(1, expected or 0), every
        self._done, self._said, self._started = 0, 0.0, time.perf_counter()
        self._spoke, self._pause = self._started, _SILENT
        self._bar: Any = tqdm(
            total=self._expected if self._planned else None,
            unit=f" {unit}",
            file=sys.stderr,
            leave=False,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def to(self, done: int) -> None:
        """Say that ``done`` evaluations are done."""
        step, self._done = done - self._done, done
        if not self._bar.disable:
            if self._planned:
                self._bar.total = max(self._expected, done)  # a plan that was too low is no more than all
            self._bar.update(step)
            return
        now = time.perf_counter()
        silent, share = now - self._spoke, done / self._expected
        if not self._planned:
            if silent >= self._pause:
                self._pause = min(2 * self._pause, _LONGEST)
                self._say(f"{done} {self._unit}", share, now)
        elif share > 1.0:
            if share >= 2 * self._said or silent >= _SILENT:
                self._say(f"{done} {self._unit}, more than the {self._expected} planned", share, now)
        else:
            nearly = 1.0 - self._every / 2 < share < 1.0  # the last line comes soon enough
            due = share - self._said >= self._every or (silent >= _SILENT and share > self._said)
            if (due and not nearly) or share == 1.0 > self._said:
                self._say(f"{share:.0%} ({done} of {self._expected} {self._unit}", share, now, ")")

    def _say(self, text: str, share: float, now: float, end: str = "") -> None:
        self._said, self._spoke = share, now
        note(f"{text}, {now - self._started:.1f} s{end}")
