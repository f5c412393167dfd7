"""What a model can do is stated in its ``Abilities``; nobody probes a model for an attribute."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import xplain
from xplain.core.abilities import Abilities, abilities_of
from xplain.testing import constant

PACKAGE = Path(xplain.__file__).parent
DOOR = "core/abilities.py"
STATED = {field.name for field in fields(Abilities)} | {"abilities", "answers", "outline", "spent", "calls_made"}
# names of packages, which are loaded when they are first used; operators of ONNX
PACKAGES = {"__init__.py", "audit/__init__.py", "models/endpoint/__init__.py"}
LAZY = PACKAGES | {"graph/build/emitter.py", "graph/build/value.py"}


def probes_of(source: str) -> list[str]:
    """Ways to find out what a model can do without its saying so."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
            name = node.args[1]
            if isinstance(name, ast.Constant) and name.value in STATED:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            found.append(f"line {node.lineno}: __getattr__")
        if isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node).endswith("runtime_checkable"):
            found.append(f"line {node.lineno}: runtime_checkable")
    return found


def test_no_model_is_probed():
    found = {
        path.relative_to(PACKAGE).as_posix(): probes
        for path in sorted(PACKAGE.rglob("*.py"))
        if (probes := probes_of(path.read_text(encoding="utf-8")))
    }
    assert set(found) - LAZY == {DOOR}, f"state it in Abilities and ask abilities_of(model): {found}"


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ('getattr(model, "price", None)', True),
        ('hasattr(model, "balance")', True),
        ("from typing import Protocol\n@typing.runtime_checkable\nclass A(Protocol): ...", True),
        ("class A:\n    def __getattr__(self, name): ...", True),
        ('getattr(tensor, "shape", None)', False),
        ("abilities_of(model).price", False),
    ],
)
def test_a_probe_is_seen(source, seen):
    assert bool(probes_of(source)) is seen


def test_a_model_that_states_nothing_can_answer_and_no_more():
    assert not any(getattr(abilities_of(constant(1.0)), field.name) for field in fields(Abilities))
