"""The README's table of methods, made from the registry.

python tests/docs/methods_table.py     # writes it into the README
"""

from __future__ import annotations

from pathlib import Path

import xplain
from xplain.core.query import Peek, Score, Sweep

README = Path(__file__).parents[2] / "README.md"
START, END = "<!-- methods: start -->", "<!-- methods: end -->"
_NEEDS = {Score: "scores", Peek: "inner values", Sweep: "gradients"}


def table() -> str:
    lines = ["| method | what it says | needs | error bar | compiles | paper |", "|---|---|---|---|---|---|"]
    for one in xplain.methods():
        if one.family == "plugin":
            continue
        needs = " + ".join(word for kind, word in _NEEDS.items() if kind in one.needs)
        error, compiles = ("yes" if flag else "" for flag in (one.sampled, one.traceable))
        summary = one.summary.split("\n")[0].rstrip(".:")
        lines.append(f"| `{one.name}` | {summary} | {needs} | {error} | {compiles} | {one.paper} |")
    return "\n".join(lines)


def inserted(text: str) -> str:
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(inserted(README.read_text()))
