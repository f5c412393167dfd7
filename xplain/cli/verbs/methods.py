"""``xplain methods``: what can be asked, and what it costs."""

from __future__ import annotations

import inspect
from textwrap import shorten
from typing import Annotated, Any

import typer

from xplain import api
from xplain.cli.asking.flags import find_method, flag
from xplain.cli.telling.console import Outcome, table
from xplain.core.registry import Method
from xplain.core.units import spelled

__all__ = ["methods"]

_COST = 48
"""Characters of the cost in the list; 'xplain methods NAME' shows all of it."""


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this method in full.")] = None,
) -> Outcome:
    """List the methods, or show one in full: its idea, formula, options, cost and source.

    Raises:
        UnknownName: no such method; the message names the nearest.
    """
    if name is None:
        entries = api.methods()
        rows = [(m.name, m.family, _needs(m), spelled(m.unit), shorten(m.cost, _COST), str(m.paper)) for m in entries]
        return Outcome(
            {"methods": [_facts(entry) for entry in entries]},
            table(rows, ("name", "family", "needs", "unit", "cost", "paper")),
        )
    entry = find_method(name)
    return Outcome(_facts(entry) | {"documentation": _documentation(entry)}, _page(entry))


def _needs(entry: Method) -> str:
    return " and ".join(sorted(kind.__name__ for kind in entry.needs))


def _documentation(entry: Method) -> str:
    return inspect.getdoc(entry.function) or ""


def _facts(entry: Method) -> dict[str, Any]:
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "family": entry.family,
        "summary": entry.summary,
        "needs": sorted(kind.__name__ for kind in entry.needs),
        "unit": spelled(entry.unit),
        "signed": entry.signed,
        "sampled": entry.sampled,
        "complete": entry.complete,
        "cost": entry.cost,
        "paper": str(entry.paper),
        "options": [
            {"name": o.name, "flag": flag(o.name), "accepts": o.kind.accepts, "default": o.default, "doc": o.doc}
            for o in entry.options.values()
        ],
    }


def _page(entry: Method) -> str:
    options = [(flag(o.name), f"{o.default}", o.kind.accepts) for o in entry.options.values()]
    lines = [
        f"{entry.name}: {entry.family}, asks {_needs(entry)}, unit: {spelled(entry.unit)}",
        *([f"also called {', '.join(entry.aliases)}"] if entry.aliases else []),
        "",
        _documentation(entry),
        "",
        table(options, ("option", "default", "accepted")) if options else "It has no options.",
    ]
    return "\n".join(lines)
