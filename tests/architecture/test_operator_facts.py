"""What an operator is stands in the table of ``xplain.graph.ops`` alone; nobody keeps a set of operator names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import onnx
import pytest

import xplain
from xplain.graph.operators import known, operators

PACKAGE = Path(xplain.__file__).parent
NAMES = {schema.name for schema in onnx.defs.get_all_schemas()} | {
    name.rpartition("::")[2] for name in (*operators(), *known())
}
TABLE = "graph/ops/"
TORCH = PACKAGE / "models/torch/operators.py"


def names_in(node: ast.AST) -> set[str]:
    """Operators that a literal lists, or a string with blanks between them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        words = node.value.split()
        return set(words) & NAMES if len(words) >= 3 and set(words) <= NAMES else set()
    entries = node.elts if isinstance(node, (ast.Set, ast.Tuple, ast.List)) else []
    return {e.value for e in entries if isinstance(e, ast.Constant) and isinstance(e.value, str)} & NAMES


def sets_of(source: str) -> list[str]:
    """Literals of three operator names or more; where a dictionary hands each to a function, that is no fact."""
    tree = ast.parse(source)
    dispatched = {
        id(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "dict.fromkeys" and call.args
    }
    public = {
        id(one.value)
        for one in ast.walk(tree)
        if isinstance(one, (ast.Assign, ast.AugAssign)) and "__all__" in ast.unparse(one).partition("=")[0]
    }
    found = [node for node in ast.walk(tree) if len(names_in(node)) >= 3 and id(node) not in dispatched | public]
    return [f"line {node.lineno}: {', '.join(sorted(names_in(node)))}" for node in found]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_operators_are_told_apart_by_the_table(path):
    file = path.relative_to(PACKAGE).as_posix()
    if file.startswith(TABLE):
        return
    found = sets_of(path.read_text(encoding="utf-8"))
    assert not found, f"state a fact in graph/ops and ask facts_of(node): {found}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "models/torch").glob("*.py")), ids=lambda p: p.name)
def test_functions_of_torch_are_told_apart_by_their_table(path):
    names = set(
        re.findall(r"\w+", " ".join(re.findall(r'^_facts\("([^"]*)"', TORCH.read_text(encoding="utf-8"), re.M)))
    )
    assert len(names) > 80
    tree = ast.parse(path.read_text(encoding="utf-8"))
    literals = [node for node in ast.walk(tree) if isinstance(node, ast.Set)]
    held = [[e.value for e in node.elts if isinstance(e, ast.Constant) and e.value in names] for node in literals]
    found = [one for one in held if len(one) >= 3]
    assert path == TORCH or not found, f"state a fact in {TORCH.name} and ask facts_of(name): {found}"


def overloads_in(source: str) -> list[str]:
    """Literals that list two or more operators of torch's dispatcher."""
    found = []
    for node in ast.walk(ast.parse(source)):
        listed = node.elts if isinstance(node, (ast.Set, ast.Tuple, ast.List)) else getattr(node, "keys", [])
        if sum(bool(re.search(r"(\b|_)aten\.\w", ast.unparse(one))) for one in listed if one is not None) > 1:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "models/torch").glob("*.py")), ids=lambda p: p.name)
def test_operators_of_the_dispatcher_are_told_apart_by_their_table(path):
    found = overloads_in(path.read_text(encoding="utf-8"))
    assert not found, f"state a fact in {TORCH.name} and ask facts_at(operator): {found}"


def test_lists_of_the_dispatchers_operators_are_seen():
    assert overloads_in("A = frozenset({_aten.relu.default, _aten.elu.default})")
    assert overloads_in("A = {torch.ops.aten.relu.default: 1, torch.ops.aten.elu.default: 2}")
    assert not overloads_in("if func is _aten.relu.default: pass")


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ('A = frozenset({"Relu", "Clip", "Elu"})', True),
        ('A = ("Relu", "Clip", "Elu")', True),
        ('A = set("Relu Clip Elu".split())', True),
        ('if op in ["Relu", "Clip", "Elu"]: pass', True),
        ('A = {"Relu": f, "Clip": g, "Elu": h}', False),
        ('A = dict.fromkeys(("Relu", "Clip", "Elu"), f)', False),
        ('A = ("Relu", "Clip")', False),
        ('__all__ = ["Conv", "Concat", "Resize"]', False),
    ],
)
def test_a_set_is_seen(source, seen):
    assert bool(sets_of(source)) is seen
