"""``xplain methods``: what can be asked, and what it costs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from textwrap import shorten
from typing import Annotated, Any

import typer

from xplain import api
from xplain.cli.asking.flags import find_method, flag
from xplain.cli.telling.console import Outcome, table
from xplain.core.declaring.registry import Method
from xplain.core.query import Peek, Score, Sweep
from xplain.core.targets.units import spelled

__all__ = ["methods"]

_WIDTH = 80
"""Characters of a line of the list; 'xplain methods NAME' shows all of it."""

_ASKS = {Score: "S", Peek: "L", Sweep: "G"}


def methods(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this method in full.")] = None,
) -> Outcome:
    """List the methods, or show one in full: its idea, formula, options, cost and source.

    Raises:
        UnknownName: no such method; the message names the nearest.
    """
    if name is None:
        entries = api.methods()
        return Outcome({"methods": [_facts(entry) for entry in entries]}, _list(entries))
    entry = find_method(name)
    return Outcome(_facts(entry) | {"documentation": _documentation(entry)}, _page(entry))


def _list(entries: Sequence[Method]) -> str:
    """The methods by family, a line each: what it asks the model for, whether it has error bars, what it says."""
    name = max(len(entry.name) for entry in entries)
    lines: list[str] = []
    for family in dict.fromkeys(entry.family for entry in entries):
        lines += ["", f"{family}:"] if lines else [f"{family}:"]
        for one in entries:
            if one.family == family:
                head = f"  {one.name:{name}}  {_asks(one):3} {'±' if one.sampled else ' '} "
                said = one.summary.split("\n")[0].replace("``", "")
                lines.append(head + shorten(said, _WIDTH - len(head), placeholder="..."))
    lines += ["", "S: asks for scores; L: for values of layers; G: for gradients. ±: error bars."]
    lines += ["'xplain methods NAME' shows one in full: formula, options, cost, paper."]
    return "\n".join(lines)


def _asks(entry: Method) -> str:
    return "".join(word for kind, word in _ASKS.items() if kind in entry.needs)


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
