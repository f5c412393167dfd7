"""``xplain explain``: pictures, a table or texts in; heat maps, columns or coloured words out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.arrays import arrays_in
from xplain.cli.asking.flags import Force, OutFolder, Seed, find_method, named_methods, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile, Sentinel
from xplain.cli.asking.reading import Given, RowOptions, given
from xplain.cli.asking.together import together
from xplain.cli.keeping.book import Book, stays, told_when_interrupted
from xplain.cli.keeping.conservation import Conserved, conservation_lines
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.pages import PAGE, Drawing, Sheets
from xplain.cli.keeping.rows import Lines, text_of
from xplain.cli.run import Keeper, Order, Run, explain_items, planned
from xplain.cli.telling.bill import Planned
from xplain.cli.telling.console import PARTIAL, USAGE, Outcome, Shell, note
from xplain.cli.telling.notes import hint_at_labels, layer_of, warnings_of
from xplain.core.abilities import abilities_of
from xplain.core.declaring.catalogue import plain_name
from xplain.core.declaring.registry import Method
from xplain.core.errors import UsageError
from xplain.core.keeping.files import RECORD
from xplain.core.keeping.plain import counted
from xplain.core.query import Model, Sweep
from xplain.session.array_files import is_array
from xplain.session.choosing import AUTO, choose
from xplain.session.predictions import in_words

__all__ = ["explain"]

_ROWS = 64
"""Rows that are asked about together."""


def explain(
    shell: typer.Context,
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    reading: RowOptions,
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ITEM",
            help="Pictures: files, folders, globs, skimage:NAME. Or arrays (.npy, .wav) of series, spectrograms, "
            "bands, volumes; a table (.csv, .tsv); texts (.txt, --text). Of several inputs: NAME=FILE for each.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Method, or several: lime,rise. Default: auto, which chooses by what the model answers and says why.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Class number, label, 'a - b', 'layer\\[12]' or 'top3'. Default: each item's predicted class."
        ),
    ] = None,
    out: OutFolder = Path("xplain-out"),
    seed: Seed = 0,
    sentinel: Sentinel = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    native_resolution: Annotated[
        bool, typer.Option("--native-resolution", help="Draw the true cells behind an enlarged map.")
    ] = False,
    shared_scale: Annotated[
        bool, typer.Option("--shared-scale", help="One colour scale for all pictures of a method.")
    ] = False,
    conserved: Annotated[
        bool,
        typer.Option(
            "--conservation", help="Tell which nodes kept relevance, or invented it, on the way to the input."
        ),
    ] = False,
    force: Force = False,
    **options: Any,
) -> Outcome:
    """Explain why MODEL scores each ITEM as it does, and draw it.

    Writes per picture or array and method a PNG and an .npz, and one index.html with all of them. The rows of a table
    and texts are printed as columns and coloured words. The flags of a method are shown by 'xplain explain --method
    NAME --help' and 'xplain methods NAME'. A folder that holds only files of earlier runs is used again; their files
    stay unless they are written anew.

    Raises:
        XplainError: what concerns all items; what concerns one picture is told at the end, and the others are written.
    """
    from xplain.render import pictures as reader

    inputs = together(items or [])
    rows = given([] if inputs is not None else items or [], reading)
    if inputs is not None and rows is not None:
        raise UsageError("--text is for a model of texts alone; several inputs are given as NAME=FILE.")
    said = named_methods(method or []) or [AUTO]
    names = [name for name in said if plain_name(name) != AUTO]
    entries = [find_method(name) for name in names]
    if entries:
        options_for(entries, options)  # what is wrong with them is said before anything is opened
    if rows is None and not items:
        raise UsageError(
            "There is nothing to explain. Name pictures (files, folders, globs, skimage:chelsea), arrays (ecg.npy), a "
            "table (rows.csv), or texts (review.txt, --text 'so good')."
        )
    loaded: Any
    source: Any = None
    found: list[str] = []
    if inputs is not None:
        loaded, source, found = inputs.open(model, loading)
    elif rows is None:
        source = found = reader.collect(items or [])
        loaded = loading.open(model)
    else:
        loaded = rows.open(model, loading)
    hint_at_labels(loaded.outline)
    methods, begins = _asked(loaded, entries, len(names) < len(said), options)
    order = Order(methods, target, seed, asking, sentinel, begins=begins)
    if conserved:
        _check_conserved([find_method(name) for name in order.methods], rows is not None or inputs is not None, order)
    if rows is not None:
        arrays = {name: rows.arrays(given, loaded) for name, given in order.methods.items()}
        order = replace(order, methods=arrays, each=False, look=True, at_once=_ROWS)
        if dry_run:
            return _price(loaded, "items", len(rows.names), planned(loaded, rows.source, len(rows.names), order))
        run, count = Run("item", shell.obj.words), len(rows.names) + len(rows.failed)
        with (
            told_when_interrupted(lambda: _told_done(run, count, len(order.methods), out)),
            Folder(out, force) as folder,
        ):
            return _explain_rows(loaded, rows, order, folder, run, shell.obj)
    given_arrays = arrays_in(found, loaded) if inputs is None and any(map(is_array, found)) else None
    what, source = ("picture", source) if given_arrays is None else ("item", given_arrays)
    called: Sequence[str] = found if given_arrays is None else given_arrays.names
    order = replace(order, named=given_arrays is not None)
    if dry_run:
        return _price(loaded, f"{what}s", len(called), planned(loaded, source, len(called), order))
    run, count = Run(what, shell.obj.words), len(called) + (0 if given_arrays is None else len(given_arrays.failed))
    for name, error in () if given_arrays is None else given_arrays.failed:
        run.fail(name, error)
    with (
        told_when_interrupted(lambda: _told_done(run, count, len(order.methods), out)),
        Folder(out, force) as folder,
    ):
        sheets = Sheets(folder, Drawing(native_resolution, shared_scale), what)
        keeper = Conserved(loaded, order, sheets) if conserved else sheets
        return _explain_pictures(loaded, (source, called), order, sheets, keeper, run, shell.obj)


def _asked(
    model: Model, entries: list[Method], chooses: bool, options: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], str]:
    """Each method with its options; one is chosen for the model where none was named, and the line says which."""
    if not chooses:
        return options_for(entries, options), ""
    choice = choose(model, options)
    asked = options_for([*entries, find_method(choice.method)], options)
    told = choice.why.replace("another method", "another with --method")
    return {**asked, choice.method: {**choice.options, **asked[choice.method]}}, told


def _check_conserved(entries: Sequence[Method], rows: bool, order: Order) -> None:
    asking = [
        entry.name for entry in entries if Sweep not in entry.needs_with(entry.read_options(order.methods[entry.name]))
    ]
    if rows or asking:
        what = f"{asking[0]} asks for no sweep" if asking else "tables, texts and several inputs are told without"
        raise UsageError(
            f"--conservation follows a reverse sweep, but {what}. Use it with lrp or deeplift on pictures."
        )


def _explain_pictures(
    model: Model,
    given: tuple[Any, Sequence[str]],
    order: Order,
    sheets: Sheets,
    keeper: Keeper,
    run: Run,
    shell: Shell,
) -> Outcome:
    """Pictures or arrays, with what each is called."""
    (source, names), folder = given, sheets.folder
    count = len(names) + len(run.failures)
    book = Book(
        folder,
        lambda: _document(run, model, folder, shell.line),
        lambda: sheets.page(model.outline, shell.line),
        lambda: sheets.finish(model.outline, shell.line),
    )
    with book.kept_whatever_happens(lambda: _told_done(run, count, len(order.methods), folder.path)):
        explain_items(model, source, names, order, run, keeper, book.kept)
        sheets.finish(model.outline, shell.line)
    return _finish(run, folder, _document(run, model, folder, shell.line), _lines)


def _explain_rows(model: Any, rows: Given, order: Order, folder: Folder, run: Run, shell: Shell) -> Outcome:
    count = len(rows.names) + len(rows.failed)
    for name, error in rows.failed:
        run.fail(name, error)
    title = f"{model.outline.called}: {counted(count, 'item')}"
    lines = Lines(folder, rows.stem, title, shell.line)
    book = Book(folder, lambda: _document(run, model, folder, shell.line), lines.page, flush=lines.flush)
    with book.kept_whatever_happens(lambda: _told_done(run, count, len(order.methods), folder.path)):
        explain_items(model, rows.source, rows.names, order, run, lines, book.kept)
        lines.flush()
        lines.page()
    document = _document(run, model, folder, shell.line)
    return _finish(run, folder, document, lambda _run, _folder: [text_of(document, lines.found, folder)])


def _told_done(run: Run, count: int, methods: int, folder: Path) -> str:
    """What stays of a run that ends early."""
    whole = sum(len({one["method"] for one in item["explanations"]}) == methods for item in run.items)
    rest = len(run.items) - whole
    page = f" Open {folder / PAGE}." if run.items else ""
    return f"{stays(whole, count, run.what, folder, f', {rest} more in part' if rest else '')}{page}"


def _document(run: Run, model: Model, folder: Folder, line: str) -> dict[str, Any]:
    return {
        "command": line,
        "model": {"source": model.outline.source, "sha256": model.outline.digest, "scores": model.outline.scores.kind},
        "out": str(folder.path),
        **run.document(),
    }


def _price(model: Any, what: str, count: int, planned: Planned) -> Outcome:
    queries, sweeps = planned.queries, planned.sweeps
    document: dict[str, Any] = {"dry_run": True, what: count, "queries": queries, "sweeps": sweeps}
    parts = [counted(queries, "model evaluation"), *([counted(sweeps, "sweep")] if sweeps else [])]
    price = abilities_of(model).price
    if planned.calls:
        document |= {"calls": planned.calls}
        parts.append(f"{planned.calls} calls")
    if price is not None and planned.money is not None:
        document |= {"cost": str(planned.money), "currency": price.currency}
        parts[-1] += f" for {price.show(planned.money)}, retries not counted"
    return Outcome(document, f"{count} {what} would take {' and '.join(parts)}. Nothing was written.")


def _finish(run: Run, folder: Folder, document: dict[str, Any], told: Callable[[Run, Folder], list[str]]) -> Outcome:
    """The record on disk, and what the person is told."""
    for failure in run.failures:
        note(f"xplain: {failure[run.what]}: {failure['error']['message']}")
    if run.items:
        folder.record({"state": "finished", "run": document})
    code = (PARTIAL if run.items else USAGE) if run.failures else 0
    files = [one["files"].get("png") for item in run.items for one in item["explanations"] if "files" in one]
    return Outcome(document, "\n".join(told(run, folder)), code, [folder.path / one for one in files if one])


def _lines(run: Run, folder: Folder) -> list[str]:
    """What a person is told of pictures."""
    lines = []
    for picture in run.items:
        lines.append(f"{picture[run.what]}: {in_words(picture['predictions'])}".removesuffix(": "))
        for one in picture["explanations"]:
            what = f"{one['method']} of {one['target']!r}{layer_of(one)}, {one['unit']}"
            lines.append(f"  {what}: {folder.path / one['files']['png']}")
            lines += warnings_of(one)
            lines += conservation_lines(one)
    failed = f", {len(run.failures)} failed" if run.failures else ""
    swept = f", {counted(run.spent.sweeps, 'sweep')}" if run.spent.sweeps else ""
    cost = f"{counted(run.spent.queries, 'evaluation')}{swept}{run.bill or ''}"
    count = len(run.items)
    lines.append(f"{counted(count, run.what)}{failed}; {cost}, {run.seconds:.1f} s.")
    if run.items:
        lines.append(f"Open {folder.path / PAGE}; {RECORD} tells how it was made.")
    return lines
