"""A tiny model and pictures with a known cause, as an audit finds them: a folder per label."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from audit.sealed import write_audit
from cli.tiny import write_model, write_picture


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of 16 x 16 pictures with its card beside it: ``bright``, ``dark``, ``other``."""
    return write_model(tmp_path / "tiny.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures in a folder per label; no class is called ``dusk``."""
    for name, bright in (("bright/a", 1), ("bright/b", 1), ("dark/a", 0), ("dark/b", 0), ("dusk/a", 0)):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, bool(bright))
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit with two of three shards sealed; tests leave it as it is."""
    return write_audit(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """The same in a folder of the test's own, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "audit"))
