"""The command line: one file per verb, each a function that returns an ``Outcome``.

| folder | holds |
|---|---|
| ``verbs`` | one file per verb, found by itself; a folder is a verb with verbs of its own |
| ``asking`` | what a command line may say: flags of methods and groups of options, tables, texts, boxes, labels |
| ``keeping`` | what is written while a run goes on: the folder, maps, rows, the page, the record |
| ``telling`` | what a person or a program is told: text, JSON, errors, exit codes, progress, cost |

``run`` hands the items to a session and each result to what keeps it; ``likelihood`` compares cards for ``check``.

To add a verb, write one file in ``verbs``; ``--json``, errors, exit codes and progress come along.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from xplain.cli.asking.flags import command, help_of
from xplain.cli.telling.console import Outcome, Verbs
from xplain.cli.verbs import GROUPS, VERBS

__all__ = ["GROUPS", "VERBS", "application", "main"]


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command line as a typer application.

    Args:
        arguments: What will be parsed; it decides which methods' options ``explain --help`` shows.
    """
    app = typer.Typer(
        name="xplain",
        cls=Verbs,
        help="Explains why a model said what it said, looks inside it, and tests it.",
        epilog="Exit codes: 0 ok, 1 finding, 2 usage, 3 refused as unsafe, 4 partial, 130 interrupted.",
        no_args_is_help=True,
        add_completion=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def top(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
        ] = False,
    ) -> None:
        pass  # options before the verb; each acts on its own

    for verb in VERBS:
        app.command()(command(verb, arguments))
    for name, verbs in GROUPS.items():
        app.add_typer(_group(name, verbs, arguments))
    return app


def _group(name: str, verbs: Sequence[Callable[..., Outcome]], arguments: Sequence[str]) -> typer.Typer:
    """A verb with verbs of its own."""
    group = typer.Typer(name=name, cls=Verbs, help=help_of(import_module(verbs[0].__module__.rpartition(".")[0])))
    for verb in verbs:
        group.command()(command(verb, arguments[1:]))
    return group


def _version(asked: bool) -> None:
    if asked:
        from xplain import __version__

        typer.echo(f"xplain {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its code: the entry point ``xplain``."""
    # spinning threads take the cores from the model's own; an explicit setting wins
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given = sys.argv[1:] if arguments is None else list(arguments)
    application(given)(args=given, prog_name="xplain")
