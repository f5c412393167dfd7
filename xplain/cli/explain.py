"""``xplain explain``: pictures in, heat maps out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.console import PARTIAL, USAGE, Outcome, Progress, note
from xplain.cli.flags import DEFAULT_METHOD, BatchSize, OutFolder, find_method, options_for
from xplain.cli.loading import (
    CardName,
    EndpointFile,
    Engine,
    ExternalData,
    Fixed,
    Input,
    MaxCost,
    ModelFile,
    Providers,
    Threads,
    open_model,
)
from xplain.cli.output import RECORD, Folder
from xplain.cli.predictions import in_words
from xplain.cli.run import Order, Run, estimate, explain_pictures
from xplain.cli.sheets import PAGE, Drawing, Sheets
from xplain.core.query import Model

__all__ = ["explain"]


def explain(
    shell: typer.Context,
    model: ModelFile,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE", help="Files, folders, globs, skimage:NAME.", show_default=False),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help=f"Method; repeat for several. Default: {DEFAULT_METHOD}."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Class number, label, 'a - b', 'layer[12]' or 'top3'. Default: each picture's predicted class."
        ),
    ] = None,
    out: OutFolder = Path("xplain-out"),
    card: CardName = None,
    seed: Annotated[int, typer.Option(help="Root of all randomness.")] = 0,
    batch_size: BatchSize = None,
    max_queries: Annotated[
        int | None, typer.Option(help="Model evaluations that may be spent, shared evenly by the pictures.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of answers: what lies there is never asked, nor paid, again."),
    ] = None,
    sentinel: Annotated[
        int | None,
        typer.Option("--sentinel", help="Look every so many evaluations whether the model was replaced; then stop."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    native_resolution: Annotated[
        bool, typer.Option("--native-resolution", help="Draw the true cells behind an enlarged map.")
    ] = False,
    shared_scale: Annotated[
        bool, typer.Option("--shared-scale", help="One colour scale for all pictures of a method.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write among files that xplain did not write.")] = False,
    providers: Providers = None,
    threads: Threads = None,
    engine: Engine = "auto",
    input_name: Input = None,
    fixed: Fixed = None,
    allow_external_data: ExternalData = False,
    endpoint: EndpointFile = None,
    max_cost: MaxCost = None,
    **options: Any,
) -> Outcome:
    """Explain why MODEL scores each PICTURE as it does, and draw it.

    Writes per picture and method a PNG and an .npz, and one index.html with all of them. The flags of a method are
    shown by 'xplain explain --method NAME --help' and 'xplain methods NAME'. A folder that holds only files of earlier
    runs is used again; their files stay unless they are written anew.

    Raises:
        XplainError: what concerns all pictures; what concerns one is told at the end, and the others are written.
    """
    from xplain.render import pictures as reading

    entries = [find_method(name) for name in method or [DEFAULT_METHOD]]
    order = Order(options_for(entries, options), target, seed, batch_size, max_queries, cache, sentinel)
    loaded = open_model(
        model, card, providers, threads, input_name, fixed, allow_external_data, endpoint, max_cost, engine
    )
    found = reading.collect(pictures)
    if dry_run:
        return _price(loaded, found, order)
    folder = Folder(out, force)
    sheets = Sheets(folder, Drawing(native_resolution, shared_scale))
    run = Run()
    try:
        with Progress(estimate(loaded, found, order)[0]) as progress:
            explain_pictures(loaded, found, order, run, sheets, progress.to)
        sheets.finish(loaded.outline, shell.obj)
    except KeyboardInterrupt:
        done = len(run.pictures)
        raise KeyboardInterrupt(
            f"{done} of {len(found)} pictures are written to {out}; no file is half-written."
        ) from None
    return _finish(run, loaded, folder, shell.obj)


def _price(model: Model, pictures: list[str], order: Order) -> Outcome:
    queries, sweeps = estimate(model, pictures, order)
    document: dict[str, Any] = {"dry_run": True, "pictures": len(pictures), "queries": queries, "sweeps": sweeps}
    parts = [f"{queries} model evaluations"] + ([f"{sweeps} sweeps"] if sweeps else [])
    price = getattr(model, "price", None)
    if price is not None:
        bill = price.bill(queries)
        document |= {"calls": price.calls(queries), "cost": str(bill), "currency": price.currency}
        parts.append(f"{price.calls(queries)} calls for {price.show(bill)}, retries not counted")
    return Outcome(document, f"{len(pictures)} pictures would take {' and '.join(parts)}. Nothing was written.")


def _finish(run: Run, model: Model, folder: Folder, line: str) -> Outcome:
    """The record on disk, and what the person is told."""
    for failure in run.failures:
        note(f"xplain: {failure['picture']}: {failure['error']['message']}")
    code = 0
    if run.failures:
        code = PARTIAL if run.pictures else USAGE
    document = {
        "command": line,
        "model": {"source": model.outline.source, "sha256": model.outline.digest, "scores": model.outline.scores.kind},
        "out": str(folder.path),
        **run.document(),
    }
    folder.record({"state": "finished", "run": document})
    lines = []
    for picture in run.pictures:
        lines.append(f"{picture['picture']}: {in_words(picture['predictions'])}")
        for one in picture["explanations"]:
            lines.append(f"  {one['method']} of {one['target']!r}, {one['unit']}: {folder.path / one['files']['png']}")
    failed = f", {len(run.failures)} failed" if run.failures else ""
    cost = f"{run.queries} evaluations" + (f", {run.sweeps} sweeps" if run.sweeps else "")
    lines.append(f"{len(run.pictures)} pictures{failed}; {cost}, {run.seconds:.1f} s.")
    lines.append(f"Open {folder.path / PAGE}; {RECORD} tells how it was made.")
    return Outcome(document, "\n".join(lines), code)
