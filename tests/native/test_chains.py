"""Chains of element-wise steps under sanitizers; what they compute is asked in ``tests/models/test_chained.py``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_random_chains_are_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path):
    flags = [
        "-std=c++20",
        "-O1",
        "-g1",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fno-sanitize-recover=all",
    ]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize=float-divide-by-zero", f"-I{ROOT / 'csrc'}"]
    units = [ROOT / "tests/native/chains.cpp", ROOT / "csrc/kernels/elementwise.cpp"]
    program = tmp_path / "chains"
    subprocess.run([os.environ.get("CXX", "g++"), *flags, *units, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
