"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xplain.core.declaring.registry import CATALOGUES
from xplain.graph.safety import Check, Verdict
from xplain.models.onnx.contact import Contact

MEET = Contact._meet


@pytest.fixture(scope="session", autouse=True)
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests' own models are trusted: no process of its own meets each of thousands of tiny nets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Contact, "_meet", lambda *_: Verdict((Check("first contact", "none: a test"),)))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """First contacts happen, and are remembered in a folder of this test alone, which is given."""
    monkeypatch.setattr(Contact, "_meet", MEET)
    monkeypatch.setattr("xplain.models.onnx.contact._passed", set())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xplain" / "contact"


@pytest.fixture
def undeclared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test declares is forgotten when it ends; what is xplain's own stays."""
    for catalogue in CATALOGUES:
        list(catalogue)
        monkeypatch.setattr(catalogue, "_entries", dict(catalogue._entries))
        monkeypatch.setattr(catalogue, "_aliases", dict(catalogue._aliases))


@pytest.fixture(scope="session")
def real_models() -> Path:
    """Folder of real model files and pictures: $XPLAIN_SHARED_MODELS, or ../shared/models beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "models"
    folder = Path(os.environ.get("XPLAIN_SHARED_MODELS", beside))
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no real models in {folder}; set XPLAIN_SHARED_MODELS to the folder that has manifest.json")
    return folder
