"""``xplain serve``: explanations over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xplain.cli.asking.loading import Loading
from xplain.cli.telling.console import Outcome, note
from xplain.core.errors import MissingDependency

__all__ = ["serve"]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="ONNX files or URLs, each under its name: NAME=FILE.onnx.", show_default=False
        ),
    ],
    loading: Loading,
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
    asked as one; long ones are jobs that can be watched. --card and the other options hold for every MODEL; a card
    beside a file is used where none is given.

    Raises:
        UsageError: an option that cannot be used.
        MissingDependency: the packages of the extra ``serve`` are not there.
        XplainError: a model cannot be loaded.
    """
    try:
        from xplain.serve.app import Options, run
        from xplain.serve.served import served_as
        from xplain.serve.tokens import token_of, tokens_in
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
        called, file = _split(model)
        served.append(served_as(called, loading.open(file)))
    names = ", ".join(one.name for one in served)
    run(
        served,
        options,
        lambda where: note(f"Serving {names} at {where} until Ctrl-C; then the log, a line of JSON per request."),
    )
    return Outcome({"served": [one.name for one in served]}, "Stopped.")


def _split(model: str) -> tuple[str, str]:
    """The name and the file of ``NAME=FILE``; without a name, the file's own."""
    name, equals, file = model.partition("=")
    if equals and "/" not in name and ":" not in name:
        return name, file
    stem = Path(model.rstrip("/")).name.removesuffix(".onnx")
    return "".join(one if one.isalnum() and one.isascii() else "-" for one in stem)[:64], model
