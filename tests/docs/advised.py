"""Every message of the house that gives advice, found in the source, and those that no case follows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from xplain.core.declaring import wording

HERE = Path(__file__).parent
HOUSE = HERE.parents[1] / "xplain"
RAISED = re.compile(r"(Error|Unsafe|UnknownName|Dependency|NoPath|NonFinite|NotExported|Caveat)$")
ADVISES = re.compile(r"\b(Use|Give|State|Set|Name) |[;:,] (use|give|state|set|name) |\bor (use|give|name) |--[a-z]|\w=")


def literal(node: ast.AST) -> str:
    """The text of a message as far as it stands in the source, ``{}`` for the rest."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(one) if isinstance(one, ast.Constant) else "{}" for one in node.values)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in wording.__all__:
        return mentioned(node)
    return "".join(literal(one) for one in ast.iter_child_nodes(node))


def mentioned(call: ast.Call) -> str:
    """An option in Python's words, with ``{}`` for what is not known of it before it runs."""

    def known(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            return Unknown()

    given = [known(one) for one in call.args if not isinstance(one, ast.Starred)]
    more = {one.arg: known(one.value) for one in call.keywords if one.arg}
    more |= {name: "{}" for name, value in more.items() if isinstance(value, Unknown)}
    return str(getattr(wording, call.func.id)(*given, **more)) if given else "{}"  # type: ignore[attr-defined]


class Unknown(str):
    """A value that only a run knows."""

    def __repr__(self) -> str:
        return "{}"

    __str__ = __repr__


def messages(every: bool = False) -> dict[str, str]:
    """Every message with advice in the words that are looked for, or any message; and where it stands."""
    found = {}
    for path in sorted(HOUSE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        raised = [node.exc for node in nodes if isinstance(node, ast.Raise)]
        for node in nodes:
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            parts = [*node.args, *[one.value for one in node.keywords if one.arg in ("accepted", "advice")]]
            text = "".join(literal(one) for one in parts)
            if (RAISED.search(name) or (node in raised and name[:1].isupper())) and (every or ADVISES.search(text)):
                found[text] = f"{path.relative_to(HOUSE)}"
    return found


def not_followed() -> dict[str, str]:
    """Fragments of messages that no case follows, each with a reason."""
    lines = (HERE / "not_followed.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" | ", 1)[::-1] for line in lines if line and not line.startswith("#"))
