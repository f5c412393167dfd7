"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_models() -> Path:
    """Folder of real model files and pictures: $XPLAIN_SHARED_MODELS, or ../shared/models beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "models"
    folder = Path(os.environ.get("XPLAIN_SHARED_MODELS", beside))
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no real models in {folder}; set XPLAIN_SHARED_MODELS to the folder that has manifest.json")
    return folder
