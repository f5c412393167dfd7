"""Messages name options as pieces (``xplain.core.declaring.wording``), and only options that the reader's door has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import typer

import xplain
from xplain.analyses import alignment, distances, neighbours, preservation, projection
from xplain.cli import GROUPS, application
from xplain.cli.telling.console import words_of
from xplain.core.declaring import registry
from xplain.core.declaring.wording import Mention, named, option
from xplain.core.errors import UsageError
from xplain.graph.safety import Limits
from xplain.metrics import localisation
from xplain.models.options import AskedOptions, EndpointOptions, FunctionOptions, OnnxOptions, TorchOptions

HOUSE = Path(xplain.__file__).parent
SOURCES = sorted(path for path in HOUSE.rglob("*.py") if path.name != "wording.py")
MAKERS = {"option", "named", "way"}
RAISED = re.compile(r"^([A-Z]\w*(Error|Name|Dependency|Finite|Path|Exported|Open|Operator)|Unsafe|unknown)$")


def literal(node: ast.AST) -> str:
    """The text of a node as far as it stands in the source, ``{}`` for the rest."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else "{}"
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(one) if isinstance(one, ast.Constant) else "{}" for one in node.values)
    return "{}"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a file by the last part of its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", getattr(node.func, "attr", "")), node


@cache
def mentioned() -> dict[str, str]:
    """Options that messages mention, by name, and a file that does."""
    found = {}
    for path in SOURCES:
        imported = "xplain.core.declaring.wording import" in path.read_text(encoding="utf-8")
        for name, call in calls(path):
            first = literal(call.args[0]) if call.args else ""
            if imported and name in MAKERS and first.isidentifier():
                found[first] = str(path.relative_to(HOUSE))
            if RAISED.match(name):
                given = {one.arg: literal(one.value) for one in call.keywords}
                if given.get("option", "").isidentifier():
                    found[given["option"]] = str(path.relative_to(HOUSE))
    return found


def in_python() -> set[str]:
    """Parameters of everything public, and options of every method."""
    doors = [getattr(xplain, name) for name in xplain.__all__]
    judges = (localisation, alignment, distances, neighbours, preservation, projection)
    doors += [getattr(module, name) for module in judges for name in module.__all__]
    doors += [
        getattr(module, name) for module in (xplain.targets, xplain.measure, xplain.audit) for name in module.__all__
    ]
    doors += [
        *(AskedOptions, EndpointOptions, FunctionOptions, OnnxOptions, TorchOptions),
        *[one for door in doors if isinstance(door, type) for one in vars(door).values()],
    ]
    known = {field.name for field in fields(Limits)} | {"limit"}
    for door in filter(callable, doors):
        try:
            known |= set(inspect.signature(door).parameters)
        except (TypeError, ValueError):
            continue
    known |= {name for one in registry.RENDERERS for name in inspect.signature(one.function).parameters}
    xplain.methods()
    return known | {name for method in registry.methods() for name in method.options}


def test_the_scan_sees_messages():
    assert {"card", "seed", "max_queries", "layer", "allow_http"} <= set(mentioned())


def test_every_option_that_a_message_mentions_is_one_in_python():
    known = in_python() | flags()
    strange = {name: file for name, file in mentioned().items() if name not in known}
    assert not strange


def test_no_message_writes_an_option_into_its_text():
    known, wrong = in_python(), []
    for path in SOURCES:
        for name, call in calls(path):
            if not RAISED.match(name):
                continue
            for text in map(literal, [*call.args, *[one.value for one in call.keywords]]):
                for found in re.finditer(r"(?<![\w.'\"])([a-z]\w*)=(?![^()]*\))", text):  # a whole call is Python's own
                    if found[1] in known:
                        wrong.append(f"{path.relative_to(HOUSE)}:{call.lineno}: {found[0]}")
    assert not wrong


# ---------------------------------------------------------------------- the command line


@cache
def verbs() -> dict[str, typer.core.TyperCommand]:
    """The commands of the command line by name; ``audit plan`` is one."""
    found = typer.main.get_command(application()).commands
    own = {name: one for name, one in found.items() if name not in GROUPS}
    return own | {f"{group} {name}": one for group in GROUPS for name, one in found[group].commands.items()}


def flags() -> set[str]:
    """Options that a verb has as flags, in Python's names."""
    every = {flag for command in verbs().values() for one in command.params for flag in one.opts}
    return {flag[2:].replace("-", "_") for flag in every if flag.startswith("--")}


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_no_verb_advises_a_flag_that_it_does_not_have(verb):
    command = verbs()[verb]
    has = {flag for one in command.params for flag in one.opts}
    words = words_of(command)
    for name in mentioned():
        for piece in (option(name), option(name, "x"), named(name)):
            said = UsageError("Give ", piece, ".").said(words)
            for flag in re.findall(r"--[a-z][\w-]*", said):
                assert flag in has, said
            if f"--{name.replace('_', '-')}" not in has and isinstance(piece, Mention) and piece.advised:
                assert "(in Python)" in said or "(in the file of --endpoint)" in said


def test_flags_that_texts_of_the_command_line_name_exist():
    known = {flag for command in verbs().values() for one in command.params for flag in one.opts} | {"--help"}
    known |= {"--version"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if path.parent.name == "cli" or "cli" in path.relative_to(HOUSE).parts:
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", literal(node)):
                    assert flag in known, f"{path}: {flag}"
