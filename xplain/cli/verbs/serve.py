"""``xplain serve``: explanations over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.loading import Loading, named_file
from xplain.cli.asking.reading import Given, RowOptions
from xplain.cli.asking.tables import read_table
from xplain.cli.telling.console import Outcome, note
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.query import Model

__all__ = ["serve"]


_LEARNED = 2000
"""Rows of a table that are learned from, evenly spaced: every request begins with a copy of what was learned."""


def _flag(name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel="Models of tables and of texts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What callers' rows and texts are read by."""

    rows: Annotated[
        Path | None,
        _flag("--rows", "Rows as the model was trained on: columns, categories, what is typical.", "FILE.csv"),
    ] = None
    columns: Annotated[
        str | None, _flag("--columns", "The columns of --rows that the model takes, in its order: a,b,c. Default: all.")
    ] = None
    tokenizer: Annotated[Path | None, _flag("--tokenizer", "For a model of token ids: its tokenizer.json.", "FILE")] = (
        None
    )
    split: Annotated[
        str | None, _flag("--split", "What of a text is hidden: words (default), marks, sentences, tokens, ids.")
    ] = None
    mask: Annotated[
        str | None, _flag("--mask", "What takes a hidden word's place, such as '\\[MASK]'; else it is deleted.")
    ] = None

    def open(self, file: str, loading: Loading) -> Model:
        """The model in a file, as one of rows or of texts where these options say so.

        Raises:
            UsageError: options that do not fit together, or a table that cannot be read.
            XplainError: the model cannot be loaded.
        """
        of_texts = [name for name in ("tokenizer", "split", "mask") if getattr(self, name) is not None]
        if self.rows is not None and of_texts:
            raise UsageError(f"--rows is for models of tables, --{of_texts[0]} for models of texts; give one of them.")
        if self.columns is not None and self.rows is None:
            raise UsageError("--columns says which of a table's columns the model takes; give --rows FILE.csv too.")
        if of_texts:
            words = RowOptions(tokenizer=self.tokenizer, split=self.split, mask=self.mask)
            texts: Model = Given("texts", [], (), "", words).open(file, loading)
            return texts
        if self.rows is None:
            return loading.open(file)
        wanted = None if self.columns is None else [name.strip() for name in self.columns.split(",")]
        found = read_table(self.rows, wanted, whole=True).columns
        step = -(-max(map(len, found.values())) // _LEARNED)
        learned = {name: cells[::step] for name, cells in found.items()}
        rows = Given("table", learned, (), "", RowOptions()).open(file, loading)
        rows.learn(learned)
        table: Model = rows
        return table


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="ONNX files or URLs, each under its name: NAME=FILE.onnx.", show_default=False
        ),
    ],
    loading: Loading,
    reading: Reading,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines ask.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen at; 0 for any that is free, which is told.", min=0, max=65535)
    ] = 8000,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A name besides that callers may know it by; repeat for several.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Environment variable that holds the token: '${XPLAIN_TOKEN}'.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Tokens of several callers, and what each may spend.", metavar="FILE.toml")
    ] = None,
    examples: Annotated[
        str | None, typer.Option(help="Folder of pictures that the page offers.", metavar="FOLDER")
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more are told to ask again.", min=1)] = 64,
    most_seconds: Annotated[float, typer.Option(help="The longest that a request may take.", min=1)] = 300.0,
    most_mib: Annotated[int, typer.Option(help="Size of a request, in MiB.", min=1)] = 64,
    grace: Annotated[float, typer.Option(help="Seconds to finish what waits when stopped.", min=0)] = 30.0,
) -> Outcome:
    """Serve MODELs until stopped: KServe V1, the Open Inference Protocol V2, plain JSON and pictures.

    It answers this machine alone unless --host says otherwise, which needs a token. Requests that fit together are
    asked as one; long ones are jobs that can be watched. --card, --rows and the other options hold for every MODEL; a
    card beside a file is used where none is given. --rows serves models of tables, --split words models of
    strings, --tokenizer models of token ids. The page has a field for each column, and one for a text.

    Raises:
        UsageError: an option that cannot be used.
        MissingDependency: the packages of the extra ``serve`` are not there.
        XplainError: a model cannot be loaded.
    """
    try:
        from xplain.serve.app import Options, run
        from xplain.serve.served import served_as
        from xplain.serve.tokens import token_of, tokens_in
    except MissingDependency:  # of another room, which says itself what is to be installed
        raise
    except ImportError as error:
        raise MissingDependency(
            f"Serving needs {error.name}. Install the extra: pip install 'xplain[serve]'."
        ) from None
    options = Options(
        host=host,
        port=port,
        names=tuple(name or ()),
        tokens=(*((token_of(token),) if token else ()), *(tokens_in(tokens) if tokens else ())),
        waiting=queue,
        most_bytes=most_mib * 2**20,
        most_seconds=most_seconds,
        grace=grace,
        examples=examples,
    )
    served = []
    for model in models:
        called, file = named_file(model)
        served.append(served_as(called, reading.open(file, loading)))
    names = ", ".join(one.name for one in served)
    run(
        served,
        options,
        lambda where: note(f"Serving {names} at {where} until Ctrl-C; then the log, a line of JSON per request."),
    )
    return Outcome({"served": [one.name for one in served]}, "Stopped.")
