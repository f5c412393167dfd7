"""What is made from the registry: the tables of methods and rule tables in docs/, and the stubs of ``explain``.

python tests/docs/methods_table.py     # writes them
"""

from __future__ import annotations

from pathlib import Path

import xplain
from xplain.core.declaring.registry import TABLES
from xplain.core.query import Peek, Score, Sweep
from xplain.core.trees import Ensemble

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "methods.md"
_NEEDS = {Score: "scores", Ensemble: "trees", Peek: "inner values", Sweep: "gradients"}


def methods() -> str:
    lines = ["| method | what it says | needs | error bar | compiles | paper |", "|---|---|---|---|---|---|"]
    for one in xplain.methods():
        if one.family == "plugin":
            continue
        needs = " + ".join(word for kind, word in _NEEDS.items() if kind in one.needs)
        error, compiles = ("yes" if flag else "" for flag in (one.sampled, one.traceable))
        lines.append(f"| `{one.name}` | {first_line(one.summary)} | {needs} | {error} | {compiles} | {one.paper} |")
    return "\n".join(lines)


def tables() -> str:
    lines = ["| rule table | used by | what comes back | options | paper |", "|---|---|---|---|---|"]
    for one in TABLES:
        if not one.function.__module__.startswith("xplain."):
            continue
        options = ", ".join(f"`{option}`" for option in one.options)
        lines.append(f"| `{one.name}` | `{one.method}` | {first_line(one.summary)} | {options} | {one.paper or ''} |")
    return "\n".join(lines)


def first_line(summary: str) -> str:
    return summary.split("\n")[0].rstrip(".:").replace("``", "`")


def inserted(text: str) -> str:
    for name, made in (("methods", methods()), ("tables", tables())):
        start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    from stubs import stubs

    PAGE.write_text(inserted(PAGE.read_text()))
    for path, text in stubs().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
