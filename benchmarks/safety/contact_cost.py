"""Processor time of the first contact with model files: what a load, and a first sweep, cost once more.

python benchmarks/safety/contact_cost.py MODEL.onnx ...
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path

from xplain.core.rules import Rules
from xplain.graph.analysis import small
from xplain.graph.safety import Limits
from xplain.models.onnx import contact, contact_child


def main() -> None:
    """Do what a child does, in this process and without its limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    contact_child._limit = lambda job: None  # noqa: SLF001
    contact_child.preload()
    small.preload()
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
            started = time.process_time()
            contact_child._work(job, end)  # noqa: SLF001
            spent.append(f"{stage} {time.process_time() - started:.2f} s ({os.read(trail, 64).decode()})")
        print(f"{path.name}, {len(content) / 1e6:.1f} MB: {', '.join(spent)}")


if __name__ == "__main__":
    main()
