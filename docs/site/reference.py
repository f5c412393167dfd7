"""The reference pages, made from the registry, the verbs and the public names when the site is built.

What is declared once in the code is said once: a page cannot go out of date. ``pages()`` needs only xplain itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer.main
from typer.core import TyperGroup

import xplain
from xplain.cli import GROUPS, VERBS, application
from xplain.core.declaring.docstrings import argument_docs, docstring_sections
from xplain.core.declaring.registry import CATALOGUES
from xplain.core.query import Peek, Score, Sweep
from xplain.core.targets.units import spelled
from xplain.core.trees import Ensemble

_NEEDS = {Score: "scores", Ensemble: "trees", Peek: "inner values", Sweep: "gradients"}
_PLURALS = {"features": "features"}
_WHAT = {
    "method": "Every method of attribution: what it says, what it needs, what it costs.",
    "rule table": "Tables of rules for passing relevance or gradients back through a network.",
    "features": "Ways to divide an item into what is hidden together; `features=` names them.",
    "metric": "What judges an explanation; `xplain.measure` runs them.",
    "renderer": "Ways to show a result; `result.render(name)` finds them.",
}


def pages() -> dict[str, str]:
    """All reference pages: Markdown by the path below ``reference/``."""
    made: dict[str, str] = {}
    for catalogue in CATALOGUES:
        entries = [one for one in catalogue if one.function.__module__.startswith("xplain.")]
        folder = plural(catalogue.word).replace(" ", "-")
        made[f"{folder}/index.md"] = _list(catalogue.word, entries)
        made.update({f"{folder}/{slug(one.name)}.md": _entry(catalogue.word, one) for one in entries})
    made.update(_command_line())
    made.update(_python())
    return made


def plural(word: str) -> str:
    """``rule table`` -> ``rule tables``."""
    ending = "es" if word.endswith("s") else "s"
    return _PLURALS.get(word, word[:-1] + "ies" if word.endswith("y") else word + ending)


def slug(name: str) -> str:
    """A name as part of an address."""
    return name.replace("+", "-plus") if "+" in name else name


def plain(text: str) -> str:
    """A docstring's text as Markdown: its double backticks are single ones; pipes do not end a table's cell."""
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)


def cell(text: str) -> str:
    """Text inside one cell of a table: a pipe ends the cell, except in code."""
    parts = " ".join(plain(text).split()).split("`")
    return "`".join(part if k % 2 else part.replace("|", "&#124;") for k, part in enumerate(parts))


def rows(heads: Sequence[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    listed = [list(heads), ["---"] * len(heads), *[[cell(text) for text in line] for line in lines]]
    return "\n".join(f"| {' | '.join(line)} |" for line in listed)


def _list(word: str, entries: list[Any]) -> str:
    title = plural(word).capitalize()
    table = rows(
        ("name", "what it says", "paper"),
        (
            (f"[{one.name}]({slug(one.name)}.md)", one.summary, f"{getattr(one, 'paper', None) or ''}")
            for one in entries
        ),
    )
    return f"# {title}\n\n{_WHAT.get(word, f'Every {word} that is declared.')}\n\n{table}\n"


def _entry(word: str, one: Any) -> str:
    parts = [f"# {one.name}", plain(one.summary)]
    facts = [(name, text) for name, text in _facts(word, one) if text]
    parts += [rows(("", ""), facts)] if facts else []
    parts += [_paragraphs(one.sections.get("body", ""))]
    if call := _call(word, one):
        parts += ["## How to ask", call]
    if one.options:
        accepted = (
            (f"`{o.name}`", f"`{o.default}`", getattr(o.kind, "accepts", "anything"), o.doc)
            for o in one.options.values()
        )
        parts += ["## Options", rows(("option", "default", "accepted", "what it does"), accepted)]
    for name, text in one.sections.items():
        if name not in ("summary", "body", "args") and text:
            parts += [f"## {name.capitalize()}", _paragraphs(text)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(word: str, one: Any) -> list[tuple[str, str]]:
    facts = [
        ("also called", ", ".join(f"`{name}`" for name in one.aliases)),
        ("paper", str(getattr(one, "paper", "") or "")),
    ]
    if word == "method":
        facts += [
            ("family", one.family),
            ("asks the model for", " and ".join(name for kind, name in _NEEDS.items() if kind in one.needs)),
            ("unit", spelled(one.unit)),
            ("sign", "values for and against" if one.signed else "no sign: how much, not which way"),
            ("error bar", "yes, a standard error per value" if one.sampled else "no: nothing is sampled"),
            ("adds up", "to f(x) - f(baseline)" if one.complete else "to nothing in particular"),
            ("can be compiled into the model", "yes" if one.traceable else "no"),
        ]
    if word == "metric":
        facts += [("better", one.better), ("asks the model", "yes" if one.asks else "no: it compares with the truth")]
    if word == "rule table":
        facts += [("option `rule` of", f"`{one.method}`" if one.method else "")]
    return facts


def _call(word: str, one: Any) -> str:
    if word != "method":
        return ""
    return (
        f'```python\na = xplain.explain(model, items, "{one.name}")\n```\n\n'
        f"```bash\nxplain explain MODEL PICTURE --method {one.name}\n```"
    )


def _paragraphs(text: str) -> str:
    """A docstring's text; what is indented in it is code."""
    return plain(inspect.cleandoc(text))


def _command_line() -> dict[str, str]:
    top = typer.main.get_command(application())
    assert isinstance(top, TyperGroup)
    made, listed = {}, []
    verbs: list[tuple[Any, TyperGroup, str]] = [(verb, top, "") for verb in VERBS]
    for word, several in GROUPS.items():
        group = top.commands[word]
        assert isinstance(group, TyperGroup)
        verbs += [(verb, group, f"{word} ") for verb in several]
    for verb, group, before in verbs:
        called = verb.__name__.replace("_", "-")
        command, name, page = group.commands[called], f"{before}{called}", f"{before}{called}".replace(" ", "-")
        said = docstring_sections(inspect.getdoc(verb) or "")
        listed.append((f"[xplain {name}]({page}.md)", said.get("summary", "")))
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        flags = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
        usage = " ".join(["xplain", name, *[f"{p.metavar or p.name.upper()}" for p in arguments], "[OPTIONS]"])
        parts = [
            f"# xplain {name}",
            plain(said.get("summary", "")),
            f"```text\n{usage}\n```",
            _paragraphs(said.get("body", "")),
        ]
        if arguments:
            parts.append(rows(("argument", "what it is"), ((f"`{p.metavar or p.name}`", _help(p)) for p in arguments)))
        parts.append(rows(("flag", "default", "what it does"), ((_flags(p), _default(p), _help(p)) for p in flags)))
        made[f"command-line/{page}.md"] = "\n\n".join(part for part in parts if part) + "\n"
    codes = "Exit codes: 0 ok, 1 finding, 2 usage, 3 refused as unsafe, 4 partial, 130 interrupted."
    table = rows(("verb", "what it does"), listed)
    made["command-line/index.md"] = (
        f"# Command line\n\nOne verb per question; each takes `--json` and `--help`. {codes}\n\n{table}\n"
    )
    return made


def _flags(parameter: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    value = parameter.default
    return "" if value in (None, False, ()) or callable(value) else f"`{value}`"


def _help(parameter: Any) -> str:
    return (getattr(parameter, "help", "") or "").replace("\\[", "[")


def _python() -> dict[str, str]:
    made, listed = {}, []
    for name in xplain.__all__:
        value = getattr(xplain, name)
        said = docstring_sections(inspect.getdoc(value) or "")
        listed.append((f"[xplain.{name}]({name.lower()}-{_kind(value)}.md)", said.get("summary", "")))
        made[f"python/{name.lower()}-{_kind(value)}.md"] = _public(name, value, said)
    table = rows(("name", "what it is"), listed)
    made["python/index.md"] = f"# Python\n\nThe public names; all else may change.\n\n{table}\n"
    return made


def _kind(value: Any) -> str:
    return "class" if inspect.isclass(value) else "function"


def _public(name: str, value: Any, said: Mapping[str, str]) -> str:
    parts = [f"# xplain.{name}", plain(said.get("summary", "")), f"```python\n{_signature(name, value)}\n```"]
    parts += [_paragraphs(said.get("body", ""))]
    if arguments := argument_docs(said.get("args", "")):
        parts += ["## Arguments", rows(("argument", "what it is"), ((f"`{k}`", text) for k, text in arguments.items()))]
    for section, text in said.items():
        if section not in ("summary", "body", "args") and text:
            parts += [f"## {section.capitalize()}", _paragraphs(text)]
    if inspect.isclass(value):
        parts += [_members(value)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _members(kind: type) -> str:
    found = []
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        if name.startswith("_") or (
            not isinstance(member, property | staticmethod | classmethod) and not inspect.isfunction(member)
        ):
            continue
        said = docstring_sections(inspect.getdoc(getattr(kind, name)) or "")
        found.append((f"`{name}`" if isinstance(member, property) else f"`{name}()`", said.get("summary", "")))
    return "## Members\n\n" + rows(("name", "what it is"), found) if found else ""


def _signature(name: str, value: Any) -> str:
    signature = inspect.signature(value)
    # annotations are text in most files, and long names in the others
    parameters = [re.sub(r"\bxplain\.[\w.]*\.|(?<=: )'|'(?=$| =)", "", str(p)) for p in signature.parameters.values()]
    one = f"xplain.{name}({', '.join(parameters)})"
    return one if len(one) < 90 else f"xplain.{name}(\n    " + ",\n    ".join(parameters) + ",\n)"
