"""Synthetic audits for tests, made by ``benchmarks/audit/synthetic.py``: what is planted in them is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import xplain

SCRIPT = Path(xplain.__file__).parents[1] / "benchmarks" / "audit" / "synthetic.py"


def script() -> ModuleType:
    """The script as a module."""
    name = "xplain_benchmarks_audit_synthetic"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def write(out: Path, shards: int | None = None, **wished) -> Path:
    """An audit of 6,000 items in four shards, or as ``wished``."""
    made = script()
    made.write(out, made.Wished(**{"items": 6000, "classes": 12, "rows": 1500, "sample": 400, **wished}), shards=shards)
    return out
