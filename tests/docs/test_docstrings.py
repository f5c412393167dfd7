"""Every public name is documented, and the examples in docstrings give what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import xplain
from xplain import api
from xplain.core.declaring.docstrings import argument_docs, docstring_sections


def modules() -> list[ModuleType]:
    names = ["xplain", *(m.name for m in pkgutil.walk_packages(xplain.__path__, "xplain."))]
    return [importlib.import_module(name) for name in names if name != "xplain._native"]


MODULES = modules()
PUBLIC = {
    f"{value.__module__}.{value.__qualname__}": value
    for module in MODULES
    for name in getattr(module, "__all__", [])
    if inspect.isclass(value := getattr(module, name)) or inspect.isfunction(value)
    if value.__module__.startswith("xplain")
}
METHODS = {entry.name: entry for entry in api.methods()}


def members(kind: type) -> list[str]:
    """Public functions and properties written in the class itself."""
    return [
        name
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, (type(members), property, classmethod, staticmethod))
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_all_names_what_there_is(module):
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_documented(name):
    value = PUBLIC[name]
    assert value.__doc__, f"{name} has no docstring"
    if inspect.isclass(value):
        bare = [m for m in members(value) if not inspect.getdoc(getattr(value, m))]
        assert bare == [], f"{name} leaves undocumented: {bare}"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_an_args_section_names_arguments_that_exist(name):
    value = PUBLIC[name]
    text = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    described = argument_docs(docstring_sections(inspect.cleandoc(text or "")).get("args", ""))
    taken = inspect.signature(value).parameters if described else {}
    assert set(described) <= set(taken), f"{name} describes {sorted(set(described) - set(taken))}"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_what_a_person_must_know(name):
    entry = METHODS[name]
    for section in ("summary", "returns", "cost", "source"):
        assert entry.sections.get(section), f"method {name} has no {section}"
    undocumented = [option.name for option in entry.options.values() if not option.doc]
    assert undocumented == []


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_docstring_examples_run(module):
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder().find(module):
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_a_modules_own_text_is_python_where_it_shows_python(module):
    """Indented blocks that begin like a program must parse, so that nobody copies a syntax error."""
    block: list[str] = []
    for line in [*(module.__doc__ or "").splitlines(), ""]:
        if line.startswith("    "):
            block.append(line[4:])
            continue
        text, block = "\n".join(block), []
        if text.startswith(("import ", "from ", "@")):
            ast.parse(text)
