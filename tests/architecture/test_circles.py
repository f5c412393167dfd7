"""No room and no file imports in a circle; rooms inside graph and models stand in one order; none grows too large."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import xplain

PACKAGE = Path(xplain.__file__).parent
LARGEST = 0.20
"""Share of the package's lines that one room may hold."""

GRAPH = {
    "graph": set(),
    "graph/analysis": {"graph"},
    "graph/build": {"graph", "graph/analysis"},
    "graph/ops": {"graph", "graph/analysis", "graph/build"},
    "graph/passes": {"graph", "graph/analysis", "graph/build", "graph/ops"},
    "graph/intake": {"graph", "graph/analysis", "graph/passes"},
    "graph/outline": {"graph", "graph/analysis", "graph/build", "graph/passes", "graph/intake"},
    "graph/reverse": {"graph", "graph/analysis", "graph/build", "graph/ops", "graph/passes", "graph/intake"},
}
"""Rooms inside graph to those that they may import besides themselves; ``graph`` means the files beside the rooms."""

MODELS = {
    "models": set(),
    "models/onnx": {"models"},
    "models/torch": {"models", "models/onnx"},
    "models/rows": {"models", "models/onnx"},
    "models/endpoint": {"models"},
}
"""The same inside models; ``models`` means the files beside the rooms, without the door ``__init__``."""

SPLIT = {name.partition("/")[0] for name in (*GRAPH, *MODELS)}
DOORS = {"models/__init__.py", "models/joint.py", "models/table.py", "models/text.py"}
"""What opens a model of any kind imports every kind, and stands above them."""


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room of a module: its folder, inside graph and models that folder's own, and the file itself at the top."""
    file = MODULES[module].relative_to(PACKAGE).as_posix()
    folders = file.split("/")[:-1]
    if file in DOORS or not folders:
        return file
    return "/".join(folders[:2] if folders[0] in SPLIT else folders[:1])


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules of the package that a file imports, inside functions and for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in found if name in MODULES]
            yield from inner
            if len(inner) < len(found) and node.module != "xplain":  # of the package itself: the kernels, the version
                yield str(node.module)


FILES = {
    module: {name for name in imported(ast.parse(path.read_text(encoding="utf-8"))) if name != module}
    for module, path in MODULES.items()
}


def rooms() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, names in FILES.items():
        room = room_of(module)
        found.setdefault(room, set()).update({room_of(name) for name in names} - {room})
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of nodes that lead to each other, by what each node reaches."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set[str](), [start]
        while waiting:
            for name in graph.get(waiting.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        reach[start] = seen
    found = {tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in graph if a in reach[a]}
    return [list(one) for one in sorted(found)]


def test_no_room_imports_in_a_circle():
    assert circles(rooms()) == []


def test_no_file_imports_in_a_circle():
    assert circles(FILES) == []


@pytest.mark.parametrize("table", [GRAPH, MODELS], ids=["graph", "models"])
def test_rooms_inside_a_room_import_only_what_the_table_allows(table):
    names = set(table)
    found = {room: others & names for room, others in rooms().items() if room in names}
    assert set(found) == names
    assert {room: others - table[room] for room, others in found.items() if others - table[room]} == {}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith(("xplain.graph", "xplain.incr"))))
def test_the_table_has_every_room(module):
    assert room_of(module).startswith("incremental") or room_of(module) in GRAPH


def test_no_room_holds_a_fifth_of_the_lines():
    lines: dict[str, int] = {}
    for module, path in MODULES.items():
        lines[room_of(module)] = lines.get(room_of(module), 0) + len(path.read_text(encoding="utf-8").splitlines())
    total = sum(lines.values())
    assert {room: round(count / total, 3) for room, count in lines.items() if count >= LARGEST * total} == {}


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
