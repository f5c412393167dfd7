"""One self-contained HTML page for an attack: success by size, a robustness curve per class, each item's panels."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from xplain.core.keeping.plain import counted
from xplain.render.attacked import panels
from xplain.render.notebook import data_url
from xplain.report.template import framed
from xplain.results.attack import Attack

__all__ = ["attack_page"]


def attack_page(attack: Attack, command: str = "") -> str:
    """The page as text.

    Args:
        attack: What was found.
        command: The command line that made it; printed under "To repeat this".
    """
    what = str(attack.facts.get("attacked", ""))
    return framed(
        "attack.html",
        attack,
        "gallery",
        attack=attack,
        title=f"{attack.method} on {attack.provenance.source or 'a model'}",
        lead=f"{attack.verdict.partition(': ')[2]}.{f' What was attacked: {what}.' if what else ''} Every picture here "
        "is one of 8 bits, and the classes are what a plain run of the model says of it.",
        moved=str(attack.facts.get("what moved first", "")),
        held=str(attack.facts.get("held out", "")),
        sizes=list(attack.rates),
        rates=[f"{rate:.0%}" for rate in attack.rates.values()],
        curve=[(name, [f"{rate:.0%}" for rate in row]) for name, row in attack.curve.items()],
        items=[_item(attack, n) for n in range(len(attack))],
        command=command,
    )


def _item(attack: Attack, n: int) -> dict[str, Any]:
    steps, queries = counted(int(attack.steps[n]), "step"), counted(int(attack.queries[n]), "query", "queries")
    about = f"{steps}, {queries}"
    # made here of letters that need no escape, and longer than any text from outside may be
    shown = [(words.split("\n"), Markup(data_url(tile))) for words, tile in panels(attack, n)]
    return {
        "name": attack.name_of(n),
        "fooled": bool(attack.fooled[n]),
        "verdict": attack.verdict_of(n),
        "about": about,
        "panels": shown,
    }
