"""``xplain audit report``: what an audit found, as a page for people and files for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xplain import audit
from xplain.audit.stores.home import beside
from xplain.cli.telling.console import Outcome
from xplain.core.keeping.plain import counted

__all__ = ["report"]


def report(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="The report's folder. Default: AUDIT-report.", show_default=False)
    ] = None,
    reviewer: Annotated[str, typer.Option(help="Who reviews it; stands on the page and is signed.")] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="An Ed25519 private key (PEM) that signs the report.", metavar="FILE", show_default=False),
    ] = None,
    items: Annotated[
        str | None, typer.Option(help="Where the items lie, if they were moved.", show_default=False)
    ] = None,
) -> Outcome:
    """Write the report of AUDIT: index.html, audit.json, CSV files and signature.json, in a folder of its own.

    What is sealed is told; of a part the page says so. Run 'xplain audit analyse' before, or the page says that nothing
    was looked for. 'xplain audit verify' on the report's folder finds a file that was altered.

    Raises:
        XplainError: nothing is sealed, or the folder cannot be written.
    """
    target = beside(out, "report") if to is None else to
    paths = audit.report(out, target, reviewer=reviewer, key=key, items=items)
    signed = "signed" if key is not None else "not signed: --key FILE.pem signs it"
    document = {
        "out": str(target),
        "page": str(paths[0]),
        "files": [one.name for one in paths],
        "signed": key is not None,
    }
    return Outcome(document, f"{paths[0]}\n{counted(len(paths), 'file')}, {signed}")
