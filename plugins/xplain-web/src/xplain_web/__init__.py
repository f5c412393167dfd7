"""onnxruntime-web (MIT, Microsoft), as published on npm; ``folder()`` says where its files lie."""

from __future__ import annotations

from pathlib import Path

__all__ = ["folder"]


def folder() -> Path:
    """The folder of the runtime's files."""
    return Path(__file__).parent / "dist"
