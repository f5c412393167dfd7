"""``xplain effect``: how a model's score goes with the columns of a table, over all its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from xplain.cli.asking.flags import Force, OutFolder
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.asking.reading import Given, RowOptions, given
from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import Outcome, note
from xplain.core.errors import UsageError
from xplain.session.measures.effects import effect as measured

__all__ = ["effect", "table_given"]


def effect(
    shell: typer.Context,
    model: ModelFile,
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="The table: .csv or .tsv.", show_default=False)],
    loading: Loading,
    asking: Asking,
    columns: Annotated[
        str | None, typer.Option("--columns", help="The columns that the model takes: a,b,c. Default: all.")
    ] = None,
    of: Annotated[
        list[str] | None, typer.Option("--of", help="The column that is asked about; repeat for several. Default: all.")
    ] = None,
    kind: Annotated[
        Literal["ale", "pdp"] | None,
        typer.Option(
            help="ale: accumulated local effects; pdp: partial dependence, with a curve per row. Default: ale, and pdp "
            "for categories."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class number or label. Default: the second of two, or the only score.")
    ] = None,
    points: Annotated[int, typer.Option(help="Bins, or values, along a column.")] = 20,
    out: OutFolder = Path("xplain-effects"),
    force: Force = False,
) -> Outcome:
    """Tell how MODEL's score goes with each column, over all ROWS, and draw it with its 95 % band.

    Accumulated local effects move every row across its own bin alone; partial dependence sets the column of all rows to
    the same value, also where no such row can be.

    Raises:
        UsageError: no table, or no such column.
    """
    found = table_given(rows, columns)
    loaded = found.open(model, loading)
    told = []
    with Folder(out, force) as folder:
        taken: set[str] = set()
        for name in of or list(found.items):
            which = kind or ("ale" if _ordered(found.items.get(name, ())) else "pdp")
            one = measured(
                loaded,
                found.source,
                name,
                which,
                target=int(target) if target is not None and target.lstrip("-").isdecimal() else target,
                points=points,
                max_queries=asking.max_queries,
                cache=asking.cache,
            )
            files = keep_result(folder, file_stem(f"{name}.{which}", taken), one, shell.obj.line)
            line = {"grid": one.grid.tolist(), "mean": one.mean.tolist(), "error": one.error.tolist()}
            told.append({"column": name, "kind": which, "target": one.target, **line, "files": files})
            note(f"xplain: {which} of {name}: {folder.path / files['effect']}")
        document = {"out": str(folder.path), "effects": told}
        folder.record({"state": "finished", "effects": document})
    lines = [
        f"{one['column']}: {one['kind']} from {min(one['mean']):+.4g} to {max(one['mean']):+.4g} on {one['target']!r}"
        for one in told
    ]
    return Outcome(document, "\n".join([*lines, f"{len(told)} drawn in {out}."]))


def _ordered(values: Any) -> bool:
    """Whether a column has different numbers to go along; words are categories."""
    cells = np.asarray(values)
    return cells.dtype.kind in "iuf" and len(np.unique(cells)) > 1


def table_given(rows: Path, columns: str | None) -> Given:
    """The table that a verb is about; rows that cannot be read are told and left out.

    Raises:
        UsageError: the file is no table.
    """
    found = given([str(rows)], RowOptions(columns=columns))
    if found is None or found.kind != "table":
        raise UsageError(f"{rows} is no table; accepted: a .csv or .tsv file.")
    for name, error in found.failed:
        note(f"xplain: {name} is left out: {error}")
    return found
