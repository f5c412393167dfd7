"""No function takes more than eight arguments, unless they are what a person sets: options, flags, words of a door."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import xplain

ROOT = Path(xplain.__file__).parent
MOST = 8

DECLARED = frozenset({"attack", "method", "cam", "table", "features", "lens", "metric", "recipe", "renderer"})
"""What such a decorator of the registry declares has its options as arguments."""

VERBS = ROOT / "cli" / "verbs"
"""A verb's arguments are its flags: the public function of each file here, named after it."""

DOORS = {
    "xplain.explain": "the main door: all that a person may set for one explanation",
    "xplain.explain_many": "what explain takes, for several methods at once",
    "xplain.see": "the door to lenses: what explain takes, but for a target and an endpoint's bill",
    "xplain.make": "the door to recipes: all that a person may set for a picture",
    "xplain.audit.plan": "the door to audits: all that decides what a million explanations will be",
    "xplain.audit.run": "the door to an audit's work: what it may spend, and where models and items are now",
    "xplain.plan": "what explain takes, whose cost it foretells",
    "xplain.attack": "what explain takes, and how far an attack may go",
    "xplain.measure.curve": "what explain takes, and the explanation that is judged",
    "xplain.measure.judge": "what explain takes, the explanation that is judged, and by what",
    "xplain.measure.randomisation": "the method that is tested with its options, and how weights are drawn",
    "xplain.render.montage": "the drawing options of the renderer 'figure', for several results",
    "xplain.native.fill": "what a plugin's door writes rows with: which rows, in which layout, and where it runs",
}
"""Public functions whose arguments are the words that users know, each with what these are."""


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    """All that a caller may hand over, a star counting as one; not the object itself."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    own = bool(names) and names[0] in ("self", "cls")
    return len(names) - own + (given.vararg is not None) + (given.kwarg is not None)


def decorators_of(function: ast.AST) -> set[str]:
    """The decorators' names, without what they are called with."""
    called = [one.func if isinstance(one, ast.Call) else one for one in getattr(function, "decorator_list", [])]
    return {ast.unparse(one).rpartition(".")[2] for one in called}


def long_in(path: Path, root: Path) -> dict[tuple[str, str], int]:
    """Functions of a file with more than ``MOST`` arguments that no decorator declares and that are no verb."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        name, count = getattr(node, "name", "lambda"), arguments_of(node)
        verb = root / VERBS.relative_to(ROOT) in path.parents and name == path.stem
        if count > MOST and not verb and not decorators_of(node) & DECLARED:
            found[path.relative_to(root).as_posix(), name] = count
    return found


def place_of(door: str) -> tuple[str, str]:
    """The file that a public name's function is written in, and what it is called there."""
    module, _, name = door.rpartition(".")
    function = inspect.unwrap(getattr(import_module(module), name))
    return Path(function.__code__.co_filename).relative_to(ROOT).as_posix(), function.__name__


def test_no_function_takes_more_than_eight_arguments():
    found = {place: count for path in ROOT.rglob("*.py") for place, count in long_in(path, ROOT).items()}
    doors = {place_of(door): door for door in DOORS}
    new = [f"{file}: {name} takes {count}" for (file, name), count in found.items() if (file, name) not in doors]
    assert new == [], "some of these arguments are one thing: give it a frozen dataclass whose name says what it is"
    assert [doors[place] for place in doors if place not in found] == [], "these take few now: take them from the list"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("def f(a, b, /, c, *, d, e, f, g, h, i): ...", 9),
        ("def f(a, b, c, d, e, f, g, *h, **i): ...", 9),
        ("class C:\n    def f(self, a, b, c, d, e, f, g, h, i): ...", 9),
        ("class C:\n    @classmethod\n    def f(cls, a, b, c, d, e, f, g, h): ...", None),
        ("async def f(a, b, c, d, e, f, g, h, i, j): ...", 10),
        ("x = [lambda a, b, c, d, e, f, g, h, i: 0]", 9),
        ("@method('f', needs=Score)\ndef f(a, b, c, d, e, f, g, h, i): ...", None),
        ("@plugins.cam\ndef f(a, b, c, d, e, f, g, h, i): ...", None),
        ("@cache\ndef f(a, b, c, d, e, f, g, h, i): ...", 9),
    ],
)
def test_every_form_of_a_function_is_counted(tmp_path, text, count):
    path = tmp_path / "some.py"
    path.write_text(text, encoding="utf-8")
    assert list(long_in(path, tmp_path).values()) == ([] if count is None else [count])


def test_a_helper_beside_a_verb_is_counted_though_the_verb_is_not(tmp_path):
    path = tmp_path / VERBS.relative_to(ROOT) / "explain.py"
    path.parent.mkdir(parents=True)
    taken = "(a, b, c, d, e, f, g, h, i): ..."
    path.write_text(f"def explain{taken}\ndef helper{taken}\n", encoding="utf-8")
    assert list(long_in(path, tmp_path)) == [("cli/verbs/explain.py", "helper")]
