"""One self-contained HTML page for an attack: success by size, a robustness curve per class, each item's panels."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from markupsafe import Markup

from xplain.core.keeping.plain import counted
from xplain.render.attacked import panels
from xplain.render.notebook import data_url
from xplain.report.template import plain_fact, template, text_of
from xplain.results.attack import Attack

__all__ = ["attack_page"]


def attack_page(attack: Attack, command: str = "") -> str:
    """The page as text.

    Args:
        attack: What was found.
        command: The command line that made it; printed under "To repeat this".
    """
    style = text_of("gallery.css")
    return template("attack.html").render(
        attack=attack,
        title=f"{attack.method} on {attack.provenance.source or 'a model'}",
        lead=f"{attack.verdict.partition(': ')[2]}.",
        moved=str(attack.facts.get("what moved first", "")),
        attacked=str(attack.facts.get("attacked", "")),
        sizes=list(attack.rates),
        rates=[f"{rate:.0%}" for rate in attack.rates.values()],
        curve=[(name, [f"{rate:.0%}" for rate in row]) for name, row in attack.curve.items()],
        items=[_item(attack, n) for n in range(len(attack))],
        command=command,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        facts=_facts(attack),
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


def _facts(attack: Attack) -> list[tuple[str, str]]:
    cost = attack.cost
    return [
        ("Model", attack.provenance.source or "not known"),
        ("Model, sha256", attack.model or "not known"),
        ("Options", ", ".join(f"{name}={plain_fact(value)}" for name, value in attack.options.items()) or "none"),
        ("Cost", f"{cost.asked}, {cost.seconds:.2f} s"),
        ("Seed", str(attack.seed)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(attack.versions.items()))),
    ]
