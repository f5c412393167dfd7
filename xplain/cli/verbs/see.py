"""``xplain see``: what a model's units look at, hold and prefer, as sheets and pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain import api
from xplain.cli.asking.flags import Force, OutFolder, Seed, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import PARTIAL, Outcome, Progress
from xplain.core.declaring.registry import LENSES
from xplain.core.errors import XplainError

__all__ = ["see"]


def see(
    shell: typer.Context,
    what: Annotated[str, typer.Argument(metavar="WHAT", help="The lens, one of:", show_default=False)],
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Files, folders, globs, skimage:NAME; none for a lens that looks at the model alone.",
            show_default=False,
        ),
    ] = None,
    out: OutFolder = Path("xplain-seen"),
    seed: Seed = 0,
    force: Force = False,
    **options: Any,
) -> Outcome:
    """Look inside MODEL through the lens WHAT: its filters, activations, favourite patches ...

    Writes what was seen as numbers (.npz), as a sheet (.png) and as a page (.html) that needs nothing else. The flags
    of a lens are shown by 'xplain see WHAT --help'. A picture that cannot be read is told at the end, and the others
    go on.

    Raises:
        XplainError: what concerns the lens, the model or all pictures.
    """
    entry = LENSES.find(what)
    given = options_for([entry], options)[entry.name]
    failures: list[dict[str, Any]] = []

    def failed(_place: int, one: Any, error: XplainError) -> None:
        failures.append({"picture": str(one), "error": error.fields(shell.obj.words)})

    loaded = loading.open(model)
    with Folder(out, force) as folder, Progress(None) as progress:
        result = api.see(
            loaded,
            entry.name,
            items or None,
            seed=seed,
            batch_size=asking.batch_size,
            max_queries=asking.max_queries,
            cache=asking.cache,
            progress=lambda done, _asked: progress.to(done),
            failed=failed,
            **given,
        )
        result = result.in_words(shell.obj.words)
        files = keep_result(folder, entry.name, result, shell.obj.line)
        cost = {"queries": result.cost.queries, "sweeps": result.cost.sweeps, "seconds": round(result.cost.seconds, 3)}
        document = {
            "command": shell.obj.line,
            "model": {"source": loaded.outline.source, "sha256": loaded.outline.digest},
            "lens": entry.name,
            "options": result.meta()["options"],
            "facts": result.meta()["notes"],
            "warnings": result.said,
            "out": str(folder.path),
            "files": files,
            "failures": failures,
            "cost": cost,
        }
        folder.record({"state": "finished", "run": document})
    lines = [repr(result).strip("<>"), *(f"warning: {one}" for one in result.said)]
    lines += [f"{one['picture']}: {one['error']['message']}" for one in failures]
    lines += [f"{name}: {folder.path / file}" for name, file in files.items()]
    lines += [f"vectors: {result.facts['kept in']}"] if result.kept else []
    drawn = [folder.path / one for one in files.values() if one.endswith(".png")]
    return Outcome(document, "\n".join(lines), PARTIAL if failures else 0, drawn)
