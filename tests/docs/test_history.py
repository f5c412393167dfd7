"""The benchmarks' history is git's: every committed version of a table is a point."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "history.py"


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_every_version_of_a_table_is_a_point_and_another_machine_is_marked(tmp_path):
    spec = importlib.util.spec_from_file_location("history", FILE)
    told = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(told)
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)

    def run(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    run("init", "-q")
    for value, cores in ((4.0, 2), (3.0, 8), (2.5, 8)):
        rows = [{"net": "a <b>", "ms": value, "alike": True}, {"net": "c", "ms": 1}]
        machine = {"cores": cores, "commit": f"m{cores}"}
        (results / "speed.json").write_text(json.dumps({"machine": machine, "rows": rows}))
        run("add", "-A")
        run("commit", "-qm", "x")
    (results / "speed.json").write_text("{")  # a version that cannot be read is none
    run("commit", "-qam", "x")
    found = told.history(tmp_path)
    assert {name: [one["value"] for one in points] for name, points in found["speed"].items()} == {
        "a <b>: ms": [4.0, 3.0, 2.5],
        "c: ms": [1, 1, 1],
    }
    assert [one["measured"] for one in found["speed"]["c: ms"]] == ["m2", "m8", "m8"]
    page = told.page(found)
    assert page.count("<circle") == 6
    assert page.count('class="other"') == 2
    assert "a &lt;b&gt;" in page
    assert "<b>:" not in page
