"""A slice of the damaged files that ``benchmarks/safety/fuzz.py`` makes by the thousand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import nets
import pytest

import xplain

SCRIPT = Path(xplain.__file__).parents[1] / "benchmarks" / "safety" / "fuzz.py"


@pytest.mark.slow
@pytest.mark.parametrize(("count", "more"), [(60, ()), (120, ("--inside",))])
def test_damaged_files_are_loaded_or_refused(count, more, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [sys.executable, str(SCRIPT), "--count", str(count), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_same_numbers_make_the_same_mutants(monkeypatch):
    spec = importlib.util.spec_from_file_location("xplain_benchmarks_fuzz", SCRIPT)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    files = [("cnn", nets.cnn().SerializeToString()), ("forest", nets.forest().SerializeToString())]
    first, second = ([fuzz.mutant(files, k) for k in range(60)] for _ in range(2))
    assert first == second
    assert len({content for _, content in first}) > 50
