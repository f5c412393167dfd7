"""Ways to run the command line, and what it is run on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.tiny import write_model, write_picture
from typer.testing import CliRunner

from xplain.cli import application


@dataclass(frozen=True)
class Ran:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture
def xplain() -> Callable[..., Ran]:
    """Run a verb in this process."""

    def run(*words: Any) -> Ran:
        arguments = [str(word) for word in words]
        result = CliRunner().invoke(application(arguments), arguments, prog_name="xplain")
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def model(tmp_path) -> Path:
    """The tiny classifier with its card beside it."""
    return write_model(tmp_path / "tiny.onnx")


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of three pictures: two bright ones and a dark one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, bright in (("a.png", True), ("b.png", False), ("c.png", True)):
        write_picture(folder / name, bright)
    return folder
