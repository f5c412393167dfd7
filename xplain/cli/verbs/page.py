"""``xplain page``: a site that explains in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.flags import find_method, options_for
from xplain.cli.asking.loading import Loading, ModelFile
from xplain.cli.telling.console import Outcome, table
from xplain.serve.site import write_site

__all__ = ["page"]


def page(
    model: ModelFile,
    loading: Loading,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the site; made.", show_default=False)],
    method: Annotated[str, typer.Option("--method", "-m", help="Method that is built in.")] = "grad-cam",
    shown: Annotated[
        str | None, typer.Option("--show-layer", help="Layer whose channels are shown. Default: the last.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Folder 'dist' of onnxruntime-web. Default: the wheel xplain-web.", metavar="FOLDER"),
    ] = None,
    **options: Any,
) -> Outcome:
    """Write a site that explains pictures, and the camera's as it moves, with no server but one for files.

    The explanation is compiled into MODEL and run by onnxruntime-web, in WebAssembly or WebGPU, whichever is faster.
    Any server of static files serves it; several threads need its headers COOP same-origin and COEP require-corp, and
    the camera needs https or localhost.

    Raises:
        UsageError: the method, an option or the layer cannot be used.
        CardError: the model has no card for pictures.
        MissingDependency: onnxruntime-web is not there.
        OutputError: the folder cannot be written, or holds something.
    """
    entry = find_method(method)
    given = options_for([entry], options)[entry.name]
    about = write_site(loading.open(model), out, entry.name, given, shown, runtime)
    size = sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
    rows = [
        ("site", f"{out}, {size:,} bytes"),
        ("explains", f"{about['method']}, {about['unit']}"),
        ("shows", about["layer"] or "no layer"),
        ("try it", f"python -m http.server -d {out} 8000"),
    ]
    told = {name: about[name] for name in ("method", "unit", "layer", "digest")}
    return Outcome({"out": str(out), "bytes": size, **told}, table(rows))
