"""``xplain page``: a site that explains in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.flags import find_method, named_methods, options_for
from xplain.cli.asking.loading import Loading, named_file
from xplain.cli.telling.console import Outcome, table
from xplain.core.errors import UsageError
from xplain.serve.site import write_site

__all__ = ["page"]

_USUAL = ["grad-cam"]


def page(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL", help="ONNX files, each under its name: NAME=FILE.onnx.", show_default=False),
    ],
    loading: Loading,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the site; made.", show_default=False)],
    method: Annotated[
        list[str], typer.Option("--method", "-m", help="Method that is built in, or several: grad-cam,saliency.")
    ] = _USUAL,
    shown: Annotated[
        str | None, typer.Option("--show-layer", help="Layer whose channels are shown. Default: the last.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Folder 'dist' of onnxruntime-web. Default: the wheel xplain-web.", metavar="FOLDER"),
    ] = None,
    examples: Annotated[
        str | None, typer.Option(help="Folder of pictures that the page offers.", metavar="FOLDER")
    ] = None,
    **options: Any,
) -> Outcome:
    """Write a site that explains pictures, and the camera's as it moves, with no server but one for files.

    Each method is compiled into each MODEL and run by onnxruntime-web, in WebAssembly or WebGPU, whichever is faster;
    two of them stand side by side. The page's address holds its state.
    Any server of static files serves it; several threads need its headers COOP same-origin and COEP require-corp, and
    the camera needs https or localhost. --card and the other options hold for every MODEL.

    Raises:
        UsageError: a method, an option or the layer cannot be used, or two models have one name.
        CardError: a model has no card for pictures.
        MissingDependency: onnxruntime-web is not there.
        PictureError: the folder of examples holds no picture.
        OutputError: the folder cannot be written, or holds something.
    """
    entries = list({entry.name: entry for entry in map(find_method, named_methods(method))}.values())
    given = options_for(entries, options)
    opened = {}
    for name, file in map(named_file, models):
        if name in opened:
            raise UsageError(f"Two models are called {name}. Give each a name of its own: NAME=FILE.onnx.")
        opened[name] = loading.open(file)
    about = write_site(opened, out, given, shown, runtime, examples)
    told = [{name: one[name] for name in ("name", "method", "unit", "layer", "digest")} for one in about["models"]]
    size = sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
    rows = [("site", f"{out}, {size:,} bytes")]
    for one in told:
        rows += [(one["name"], f"{one['method']}, {one['unit']}; shows {one['layer'] or 'no layer'}")]
    rows += [("try it", f"python -m http.server -d {out} 8000")]
    return Outcome({"out": str(out), "bytes": size, "models": told}, table(rows))
