"""Runs tests under other processors' arithmetic: BLAS kernels, instruction sets and numbers of threads.

    python tests/variations.py tests/engine tests/models/test_torch_device.py

Libraries choose kernels by the processor, and each rounds in its own way; a test that holds on one machine alone
asserts bits of a third party. What is promised, and may be asserted to the bit: on one machine, an item's result does
not depend on its company, order, chunks, threads of the caller, or a resume. Everything else is compared closely.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VARIATIONS: tuple[dict[str, str], ...] = (
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Haswell"},
    {"OPENBLAS_CORETYPE": "SkylakeX"},
    {"OPENBLAS_CORETYPE": "Zen"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
)
"""A core type or instruction set that the processor lacks is passed over by the libraries, but SkylakeX: see below."""


def possible(variation: dict[str, str]) -> bool:
    """Whether this processor runs it: OpenBLAS takes a core type at its word."""
    wanted = variation.get("OPENBLAS_CORETYPE") == "SkylakeX"
    return not wanted or "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def main(tests: list[str]) -> int:
    """Run the tests once for each variation; how many failed."""
    failed = 0
    for variation in filter(possible, VARIATIONS):
        told = " ".join(f"{name}={value}" for name, value in variation.items())
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, env={**os.environ, **variation}, capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        print(told, "|", lines[-1] if lines else "no output", flush=True)
        for line in lines if done.returncode else []:
            if line.startswith(("FAILED", "ERROR")):
                print("   ", line)
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests/engine", "tests/models/test_torch_device.py", "tests/contract"]))
