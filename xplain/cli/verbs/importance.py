"""``xplain importance``: what each column of a table is worth to a model's loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from xplain.cli.asking.flags import Force, OutFolder, Seed
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.asking.tables import read_table
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import Outcome
from xplain.cli.verbs.effect import table_given
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.session.measures.effects import importance as measured

__all__ = ["importance"]


def importance(
    shell: typer.Context,
    model: ModelFile,
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="The table: .csv or .tsv.", show_default=False)],
    loading: Loading,
    asking: Asking,
    truth: Annotated[
        str, typer.Option("--truth", help="The column of ROWS that says what is true: a class, or a number.")
    ],
    columns: Annotated[
        str | None, typer.Option("--columns", help="The columns that the model takes. Default: all but the truth.")
    ] = None,
    kind: Annotated[
        Literal["permutation", "sage"],
        typer.Option(help="permutation: the loss with a column shuffled; sage: its share of the loss, adding up."),
    ] = "permutation",
    repeats: Annotated[
        int | None, typer.Option(help="Shuffles per column (5), or orders (512).", show_default=False)
    ] = None,
    seed: Seed = 0,
    out: OutFolder = Path("xplain-importance"),
    force: Force = False,
) -> Outcome:
    """Tell what each column is worth to MODEL: how much its loss over ROWS rises without it, with 95 % intervals.

    Raises:
        UsageError: no table, or a truth that does not fit the model.
    """
    whole = table_given(rows, None)
    if truth not in whole.items:
        raise unknown("column", truth, list(whole.items))
    wanted = columns or ",".join(name for name in whole.items if name != truth)
    found = table_given(rows, wanted)
    loaded = found.open(model, loading)
    true = read_table(rows, [truth]).columns[truth] if not found.failed else _beside(whole.items[truth], whole, found)
    labels = _numbers(np.asarray(true), loaded)
    one = measured(
        loaded,
        found.source,
        labels,
        kind,
        repeats=repeats,
        seed=seed,
        max_queries=asking.max_queries,
        cache=asking.cache,
    )
    with Folder(out, force) as folder:
        files = keep_result(folder, kind, one, shell.obj.line)
        worth = [
            {"column": name, "value": float(value), "error": float(error)}
            for name, value, error in zip(one.columns, one.values, one.error, strict=True)
        ]
        document = {"out": str(folder.path), "kind": kind, "measure": one.measure, "columns": worth, "files": files}
        folder.record({"state": "finished", "importance": document})
    return Outcome(document, f"{one}\n{folder.path / files['importance']}")


def _beside(true: Any, whole: Any, found: Any) -> Any:
    """The truth of the rows that are left."""
    places = {name: k for k, name in enumerate(whole.names)}
    return [true[places[name]] for name in found.names]


def _numbers(true: Array, model: Any) -> Array:
    """The truth as numbers; names of classes are looked up.

    Raises:
        UsageError: a name, and the model's classes have none.
    """
    if true.dtype.kind in "iufb":
        return true
    labels = list(model.outline.labels)
    if not labels:
        raise UsageError(
            f"The truth is text, such as {str(true[0])!r:.60}, and the model's classes have no names. Give --labels, "
            "or numbers of classes."
        )
    return np.array([model.outline.label_index(str(one), len(labels)) for one in true])
