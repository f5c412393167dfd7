"""Processor time of the first contact with model files: what a load, and a first sweep, cost once more.

python benchmarks/safety/contact_cost.py MODEL.onnx ...
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xplain.core.rules import Rules
from xplain.graph.analysis import small
from xplain.graph.safety import Limits
from xplain.models.onnx import contact, contact_child

PARTS = {"read": "read", "build": "build", "open_session": "open"}
"""Functions that the child calls, and what their time is printed as; what is left is mostly the run."""


def timed(part: str, times: dict[str, float]) -> None:
    """Let one function of the child's module add up its processor time."""
    function: Callable[..., Any] = getattr(contact_child, part)

    def call(*given: Any, **named: Any) -> Any:
        started = time.process_time()
        try:
            return function(*given, **named)
        finally:
            times[part] = times.get(part, 0.0) + time.process_time() - started

    setattr(contact_child, part, call)


def main() -> None:
    """Do what a child does, in this process and without its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    contact_child._limit = lambda job: None  # noqa: SLF001
    contact_child.preload()
    small.preload()
    times: dict[str, float] = {}
    for part in PARTS:
        timed(part, times)
    for path in parser.parse_args().models:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        spent = []
        for stage in ("load", "sweep"):
            job = contact._Job(  # noqa: SLF001
                str(path.absolute()),
                content,
                digest,
                True,
                Limits(),
                None,
                None,
                {},
                stage,
                Rules(),
                60,
                2**40,
            )
            trail, end = os.pipe()
            times.clear()
            started = time.process_time()
            contact_child._work(job, end)  # noqa: SLF001
            whole = time.process_time() - started
            parts = [f"{PARTS[part]} {took:.2f}" for part, took in times.items()]
            parts.append(f"the rest {whole - sum(times.values()):.2f}")
            spent.append(f"{stage} {whole:.2f} s ({os.read(trail, 64).decode()} {', '.join(parts)})")
        print(f"{path.name}, {len(content) / 1e6:.1f} MB: {', '.join(spent)}")


if __name__ == "__main__":
    main()
