"""The command line: one file per verb, each a function that returns an ``Outcome``.

| file | holds |
|---|---|
| ``explain`` ``methods`` ``inspect`` ``check`` ``compile`` ``localise`` ``doctor`` ``demo`` | the verbs |
| ``console`` | printing, exit codes, errors, progress: what all verbs share |
| ``flags`` | flags made from a method's signature, and from groups of options |
| ``loading`` | the groups of options that verbs share: how a model is loaded, what asking it may cost |
| ``reading`` ``rows`` | tables and texts: how they are read, explained and told |
| ``run`` ``sheets`` ``book`` | pictures: explained, drawn as they come, and kept whatever happens |
| ``backgrounds`` | baselines that are pictures |
| ``remarks`` ``conserved`` | what is told besides the map: layers, gaps, warnings; where relevance was kept |
| ``wording`` | messages with flags instead of Python's keyword arguments |
| ``output`` | the output folder |
| ``predictions`` | scores as a person reads them |

To add a verb, write one file with one function and name it in ``VERBS``; ``--json``, errors and exit codes come along.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from xplain.cli.check import check
from xplain.cli.compile import compile as compile_
from xplain.cli.console import Outcome, Verbs
from xplain.cli.demo import demo
from xplain.cli.doctor import doctor
from xplain.cli.explain import explain
from xplain.cli.flags import command
from xplain.cli.inspect import inspect
from xplain.cli.localise import localise
from xplain.cli.methods import methods

__all__ = ["VERBS", "application", "main"]

VERBS: tuple[Callable[..., Outcome], ...] = (explain, methods, inspect, check, compile_, localise, demo, doctor)


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command line as a typer application.

    Args:
        arguments: What will be parsed; it decides which methods' options ``explain --help`` shows.
    """
    app = typer.Typer(
        name="xplain",
        cls=Verbs,
        help="Explains why a classifier said what it said.",
        epilog="Exit codes: 0 ok, 1 finding, 2 usage, 3 refused as unsafe, 4 partial, 130 interrupted.",
        no_args_is_help=True,
        add_completion=False,
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
    return app


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
