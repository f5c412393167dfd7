"""``xplain audit export``: an audit in another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xplain import audit
from xplain.audit.stores.home import beside
from xplain.cli.telling.console import Outcome

__all__ = ["export"]


def export(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
    kind: Annotated[str, typer.Argument(metavar="TOOL", help="tensorboard, mlflow or fiftyone.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder. Default: AUDIT-TOOL.", show_default=False)
    ] = None,
    items: Annotated[
        str | None, typer.Option(help="Where the items lie, if they were moved.", show_default=False)
    ] = None,
) -> Outcome:
    """Write AUDIT for TOOL, by the tool's own library (extra 'export').

    DuckDB, pandas and Polars need no export: records are Parquet, AUDIT/parts/*.parquet.

    Raises:
        XplainError: no such tool, its library is not installed, or nothing is sealed.
    """
    target = beside(out, kind) if to is None else to
    said = audit.export(out, kind, target, items=items)
    return Outcome({"out": str(target), "kind": kind, "said": said}, said)
