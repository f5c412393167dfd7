"""Sessions for a contributor: ``nox -f .ci/noxfile.py -s tests-3.12 -- tests/render``; ``-l`` lists them.

``.ci/run`` is what CI runs, from a clean checkout; these are its parts, one at a time, in environments that are kept.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).resolve().parents[1]


def installed(session: nox.Session, extras: str) -> None:
    """The checkout itself, editable, with these extras and the versions that CI uses."""
    session.chdir(ROOT)
    session.install("-e", f".[{extras}]", "-c", "tests/constraints.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, its format, and mypy."""
    installed(session, "cpu,lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "--strict", "xplain", "tests/docs/typed_calls.py")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The suite, or what stands behind ``--``."""
    installed(session, "cpu,torch,compare,test")
    session.run("pytest", *(session.posargs or ["tests"]))


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines and branches that the tests run, file by file: of all tests, or of what stands behind ``--``."""
    installed(session, "cpu,torch,compare,test")
    session.install("coverage>=7.10")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or ["tests"]))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--sort=cover")


@nox.session
def docs(session: nox.Session) -> None:
    """Pages, their blocks, notebooks and the site."""
    installed(session, "cpu,torch,compare,test,docs")
    session.run(".ci/docs", external=True, env={"XPLAIN_DOCS_PYTHON": str(Path(session.bin) / "python")})


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def wheels(session: nox.Session) -> None:
    """A wheel for one interpreter, tried without a compiler; ``.ci/wheels`` takes any interpreters by path."""
    session.chdir(ROOT)
    session.run(".ci/wheels", str(Path(session.bin) / "python"), external=True)
