"""``xplain audit diff``: what changed from one audit to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain import audit
from xplain.cli.telling.console import Outcome

__all__ = ["diff"]


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="The earlier audit.", show_default=False)],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The later audit.", show_default=False)],
    to: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A folder for the page, JSON and CSV files.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="An Ed25519 private key (PEM) that signs them.", metavar="FILE", show_default=False),
    ] = None,
) -> Outcome:
    """Say what changed from audit BEFORE to audit AFTER: answers, explanations, metrics, classes, items.

    Items are the same where their content is; lanes where their names are. No model is asked.

    Raises:
        XplainError: an audit has nothing sealed, or the folder cannot be written.
    """
    said = audit.diff(before, after, to, key=key)
    names = [column.name for column in said.lanes.columns]
    lanes: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in said.lanes.rows]
    moved = [one.finding for one in said.findings if one.finding.standing == "candidate"]
    document = {
        "roots": list(said.roots),
        "facts": {one.name: one.text for one in said.facts},
        "lanes": lanes,
        "moved": [{"statement": one.statement, "lane": one.evidence["lane"], "p": one.p} for one in moved],
        **({} if to is None else {"out": str(to)}),
    }
    lines = [said.title, *(f"  {one.name}: {one.text}" for one in said.facts)]
    lines += [f"  {one.value} {one.text}" for one in said.leads]
    lines += [f"  {one.evidence['lane']}: {one.statement}" for one in moved]
    return Outcome(document, "\n".join([*lines, *([] if to is None else [str(to / "index.html")])]))
