"""``xplain audit analyse``: is the model right for the right reasons?"""

from __future__ import annotations

from typing import Annotated

import typer

from xplain import audit
from xplain.cli.telling.console import FINDING, OK, Outcome
from xplain.core.finding import Finding

__all__ = ["analyse"]

_SHOWN = 8


def analyse(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
    only: Annotated[str, typer.Option(help="Names with commas, all, or what was planned.")] = "planned",
    items: Annotated[
        str | None, typer.Option("--items", help="Where the items lie now, if they were moved.", show_default=False)
    ] = None,
    max_queries: Annotated[
        int | None, typer.Option(help="Evaluations that may be spent by analyses that ask the model.")
    ] = None,
) -> Outcome:
    """Look for shortcuts, drift, changed reasons, leaks, worse subgroups and wrong labels in AUDIT.

    Leads of statistics are candidates; a shortcut is confirmed only by cutting it out and pasting it into pictures of
    other classes, and then a person looks. The report tells what was found. Exit code 0, or 1 where a shortcut is
    confirmed.

    Raises:
        XplainError: the folder holds no audit, or nothing of it is sealed.
    """
    found = audit.analyse(out, only, items=items, max_queries=max_queries)
    lines = [_line(one) for one in found]
    code = FINDING if any(one.standing == "confirmed" for one in found) else OK
    return Outcome({"findings": [_plain(one) for one in found]}, "\n".join(lines) or "Nothing was found.", code)


def _line(one: Finding) -> str:
    members = ", ".join(str(n) for n in one.members[:_SHOWN].tolist())
    lane = one.evidence.get("lane")
    whom = f"{one.kind} of {lane}" if isinstance(lane, str) else one.kind
    return f"{one.standing}: {whom}: {one.statement}" + (f" Items {members}." if members else "")


def _plain(one: Finding) -> dict[str, object]:
    """A finding as JSON tells it, without its arrays: those stand in the audit's folder."""
    told = {name: getattr(one, name) for name in ("kind", "group", "statement", "standing", "unit", "count")}
    effect, p = (None if value is None else float(value) for value in (one.effect, one.p))
    interval = None if one.interval is None else [float(end) for end in one.interval]
    members = [int(n) for n in one.members]
    return {**told, "effect": effect, "p": p, "interval": interval, "members": members, "limits": list(one.limits)}
