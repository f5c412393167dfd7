"""Files stay short enough to be read in one go, and say what they are for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import xplain

ROOT = Path(xplain.__file__).parent.parent
LONGEST = 400
FOLDERS = ("xplain", "tests", "benchmarks", "csrc", "docs", "plugins")
SUFFIXES = (".py", ".pyi", ".cpp", ".h", ".cu", ".cuh")
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()
)


def test_there_are_sources():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_file_is_too_long(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: find the second idea in it and give it its own file"


def test_no_file_is_a_drawer():
    drawers = ("utils", "util", "helpers", "common", "misc")
    assert [str(path) for path in SOURCES if path.stem in drawers] == []


@pytest.mark.parametrize("path", sorted((ROOT / "xplain").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
