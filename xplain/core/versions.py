"""Versions of what an explanation was computed with."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Name to version of Python and of the packages that took part, as far as they are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("xplain", "numpy", "onnxruntime", "onnxruntime-gpu", "torch"):
        if name == "torch" and "torch" not in sys.modules:
            continue
        installed = _installed(name)
        if installed is not None:
            found[name] = installed
    return found


@cache  # looking a version up reads every distribution's metadata: 20 ms that each explanation would pay again
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
