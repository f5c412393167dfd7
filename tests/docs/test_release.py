"""What a release is made of: one version number, notes, wheels that hold everything, and templates that are read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import xplain

ROOT = Path(__file__).resolve().parents[2]
yaml = pytest.importorskip("yaml", reason="the extra docs is not installed")


def test_there_is_one_version_number():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    read = project["tool"]["scikit-build"]["metadata"]["version"]
    assert read["input"] == "xplain/__init__.py"
    assert f'__version__ = "{xplain.__version__}"' in (ROOT / read["input"]).read_text(encoding="utf-8")
    cited = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == xplain.__version__


def test_no_package_is_left_out_of_a_wheel():
    """What an sdist leaves out, a wheel does too; a pattern that is no path from the root would match inside xplain."""
    made = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["scikit-build"]
    assert [pattern for pattern in made["sdist"]["exclude"] if not pattern.startswith("/")] == []
    ignored = [line for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines() if line.endswith("/")]
    folders = {path.name for path in (ROOT / "xplain").rglob("*") if path.is_dir()} - {"__pycache__"}
    assert [line for line in ignored if line.strip("/") in folders and not line.startswith("/")] == []


def test_the_changelog_says_what_is_new():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1].startswith(xplain.__version__)


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_templates_are_read(path):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name != "config.yml":
        assert {"name", "description", "body"} <= set(found)


def test_hooks_run_what_ci_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format --check", "mypy --strict xplain", "clang-format --dry-run --Werror"):
        assert any(hook["entry"].startswith(tool) for hook in hooks)
        assert tool in ci or tool in ci.replace("xargs -0 ", "")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(
    ("version", "said"), [("0.2", "is no version"), ("99.0.0", "would release 99.0.0 with these notes")]
)
def test_the_release_script_says_what_it_would_do(tmp_path, version, said):
    """In a copy that is committed, so that it does not depend on what lies in the checkout."""
    for name in (".ci/release", "docs/changelog.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, env={**os.environ, **who})
    command = ["bash", ".ci/release", version, "--dry-run"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said in ran.stdout + ran.stderr
    assert (ran.returncode == 0) == (version == "99.0.0")
    assert ("Typed stubs" in ran.stdout or "plots" in ran.stdout) == (version == "99.0.0")
