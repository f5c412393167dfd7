"""``xplain attack``: how little it takes to make one's own model err, and what its explanation does then."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain import api
from xplain.cli.asking.flags import Force, OutFolder, Seed, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.asking.reading import RowOptions, given
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import FINDING, INTERRUPTED, OK, PARTIAL, Outcome, Progress
from xplain.cli.telling.notes import hint_at_labels
from xplain.core.declaring.registry import ATTACKS
from xplain.core.errors import UsageError, XplainError
from xplain.results.attack import Attack

__all__ = ["attack"]

_DOTS, _PAPER = 1200, 841
"""Dots per inch, and millimetres, that a sheet to print has at most: a fine printer's, and A1's longer side."""

_WIDE = 40  # letters of a class in the robustness curve


def attack(
    shell: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The attack, one of:", show_default=False)],
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    reading: RowOptions,
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ITEM",
            help="Pictures (files, folders, globs, skimage:NAME), a table (.csv ...), or arrays (.npy) as the model "
            "takes them, a row per item. An attack that begins with noise needs none.",
            show_default=False,
        ),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(help="How large a change may be: 2/255, 0.5, or several, 1/255,2/255,4/255. l0 counts positions."),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="linf, l2, l1 or l0. Default: the attack's usual one.", show_default=False)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Class number or label to reach. Default: any other than the one that is said."),
    ] = None,
    low: Annotated[
        float | None, typer.Option(help="Smallest value of rows and arrays. Default: no limit.", show_default=False)
    ] = None,
    high: Annotated[
        float | None, typer.Option(help="Largest value of rows and arrays. Default: no limit.", show_default=False)
    ] = None,
    explain: Annotated[
        str, typer.Option(help="Method whose map is held before against after; auto, or none.")
    ] = "auto",
    defend: Annotated[
        str | None,
        typer.Option(
            help="Hold the attack against simple defences, with commas: jpeg, depth, median, resize, or all; each is "
            "also attacked through."
        ),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Print the robustness curve per class: the share fooled at each size.")
    ] = False,
    dpi: Annotated[int, typer.Option(help="Of a patch's sheet to print.")] = 300,
    millimetres: Annotated[float, typer.Option(help="Width of a patch on paper.")] = 60.0,
    out: OutFolder = Path("xplain-attacked"),
    seed: Seed = 0,
    force: Force = False,
    **options: Any,
) -> Outcome:
    """Test MODEL with the attack KIND: which small changes of each PICTURE turn the class that it says?

    For testing one's own models. Pictures are attacked as the model sees them, after resize and crop, on whole numbers
    of 0..255; what is told is what a plain run of the model says of the finished picture. Writes the result (.npz), a
    sheet (.png) and a page (.html). Ctrl-C keeps what was found until then. A picture that cannot be read
    is told at the end, and the others go on. Exit code 1 where something was found.

    Raises:
        XplainError: what concerns the attack, the model or all pictures.
    """
    if not 1 <= dpi <= _DOTS or not 1 <= millimetres <= _PAPER:
        raise UsageError(
            f"--dpi is {dpi} and --millimetres {millimetres:g}; accepted: 1 to {_DOTS}, and 1 to {_PAPER}."
        )
    entry = ATTACKS.find(kind)
    own = options_for([entry], options)[entry.name]
    loaded, found = _read(model, loading, items or [], reading)
    hint_at_labels(loaded.outline)
    failures: list[dict[str, Any]] = []

    def failed(_place: int, one: Any, error: XplainError) -> None:
        failures.append({"picture": str(one), "error": error.fields(shell.obj.words)})

    with Folder(out, force) as folder, Progress(None) as progress:
        result = api.attack(
            loaded,
            found,
            entry.name,
            epsilon=epsilon,
            norm=norm,
            target=target,
            low=low,
            high=high,
            explain=None if explain == "none" else explain,
            defend=defend,
            seed=seed,
            batch_size=asking.batch_size,
            max_queries=asking.max_queries,
            cache=asking.cache,
            progress=lambda done, _asked: progress.to(done),
            failed=failed,
            **own,
        )
        result = result.in_words(shell.obj.words)
        files = keep_result(folder, entry.name, result, shell.obj.line)
        files |= _for_print(folder, entry.name, result, dpi, millimetres)
        document = {**_document(result), "failures": failures, "command": shell.obj.line}
        document |= {"out": str(folder.path), "files": files}
        folder.record({"state": "finished", "run": document})
    lines = [str(result), *(_curve(result) if curve else [])]
    lines += [f"{one['picture']}: {one['error']['message']}" for one in failures]
    lines += [f"{name}: {folder.path / file}" for name, file in files.items()]
    found_any = FINDING if result.fooled.any() else PARTIAL if failures else OK
    return Outcome(document, "\n".join(lines), INTERRUPTED if result.facts.get("interrupted") else found_any)


def _read(model: str, loading: Loading, items: list[str], reading: RowOptions) -> tuple[Any, Any]:
    """The model, and what is attacked: pictures, the rows of a table, arrays as they are, or nothing.

    Raises:
        UsageError: an array that cannot be read, or does not fit the others.
    """
    from xplain.render import pictures

    if items and all(Path(one).suffix.lower() == ".npy" for one in items):
        return loading.open(model), _arrays(items)
    rows = given(items, reading) if items else None
    if rows is not None:
        return rows.open(model, loading), rows.source
    return loading.open(model), pictures.collect(items) if items else None


def _arrays(files: list[str]) -> Any:
    try:
        found = [np.load(one, allow_pickle=False) for one in files]
        return np.concatenate(found)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{', '.join(files)[:200]} cannot be read as items [N, ...] of one shape: {error}. Save such an array with "
            "numpy.save."
        ) from None


def _document(result: Attack) -> dict[str, Any]:
    """The result as plain values: one entry per item, and success by size."""
    items = []
    for n in range(len(result)):
        was, now = result.each["class before"][n], result.each["class after"][n]
        one = {
            "picture": result.name_of(n),
            "fooled": bool(result.fooled[n]),
            "already": bool(result.already[n]),
            "before": {"class": result.labels[n], "label": was, "confidence": float(result.confidence[n, 0])},
            "after": {"class": int(result.became[n]), "label": now, "confidence": float(result.confidence[n, 1])},
            "size": dict(zip(("linf", "l2", "l1", "l0"), map(float, result.sizes[n]), strict=True)),
            "steps": int(result.steps[n]),
            "queries": int(result.queries[n]),
        }
        items.append(one)
    cost = {"queries": result.cost.queries, "sweeps": result.cost.sweeps, "seconds": round(result.cost.seconds, 3)}
    meta = result.meta()
    return {
        "model": {"source": result.provenance.source, "sha256": result.model},
        "attack": result.method,
        "options": meta["options"],
        "norm": result.norm,
        "success": result.rates,
        "curve": result.curve if result.epsilons else {},
        "pictures": items,
        "facts": {name: fact for name, fact in result.facts.items() if isinstance(fact, (str, int, float))},
        "defences": {name: _plain(one) for name, one in result.facts.get("defences", {}).items()},
        "warnings": result.said,
        "cost": cost,
    }


def _plain(told: dict[str, float]) -> dict[str, float | None]:
    return {name: None if one != one else one for name, one in told.items()}  # JSON has no NaN


def _for_print(folder: Folder, stem: str, result: Attack, dpi: int, millimetres: float) -> dict[str, str]:
    """A patch as a sheet to print."""
    from xplain.render.attacked import printed

    patch = result.shared
    if patch is None or patch.dtype.name != "uint8" or patch.ndim != 3:
        return {}
    name = f"{stem}.print.png"
    folder.announce([name])
    buffer = io.BytesIO()
    printed(patch, millimetres=millimetres, dpi=dpi).save(buffer, "PNG", dpi=(dpi, dpi))
    folder.write(name, buffer.getvalue())
    return {"print": name}


def _brief(name: str) -> str:
    """The first of a class's names, whole, and as many more as a column has room for."""
    first, *more = name.split(", ")
    while more and len(f"{first}, {more[0]}") <= _WIDE:
        first = f"{first}, {more.pop(0)}"
    return f"{first} ..." if more else first


def _curve(result: Attack) -> list[str]:
    """The robustness curve per class, as lines; a class with many names is called by its first ones."""
    called = {name: _brief(name) for name in result.curve}
    if len(set(called.values())) < len(called):
        called = {name: name for name in called}
    wide = 2 + max(map(len, ["fooled at", *called.values()]))
    lines = [f"{'fooled at':<{wide}}" + "  ".join(f"{one:>8}" for one in result.rates)]
    for name, rates in result.curve.items():
        lines.append(f"{called[name]:<{wide}}" + "  ".join(f"{rate:>8.0%}" for rate in rates))
    return lines
