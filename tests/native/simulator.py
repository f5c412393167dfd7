"""Builds the device kernels against the fiber simulator, as a module with the same functions as ``xplain._native``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
FLAGS = [
    "-std=c++20", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
    "-Wno-maybe-uninitialized", "-DXP_SIM", "-DXP_ONE_VARIANT",
]  # fmt: skip

HOST = ["accumulate.cpp", "occlude.cpp", "rank.cpp"]
BINDINGS = [
    "tensor.cpp",
    "bind_status.cpp",
    "bind_perturb.cpp",
    "bind_order.cpp",
    "bind_gram.cpp",
    "bind_device.cpp",
]


def build(sanitize: str = "", source: Path = ROOT / "csrc") -> Path:
    """Compiles ``source`` and returns the module's path; what was compiled from the same text is used again."""
    import pybind11

    device = sorted(source.glob("kernels/*.cu"))
    host = [source / "kernels" / name for name in HOST]
    units = [source / "bind" / name for name in BINDINGS] + host + device + sorted(source.glob("sim/*.cpp"))
    compiler = os.environ.get("CXX", shutil.which("g++") or "c++")
    system = [f"-isystem{pybind11.get_include()}", f"-isystem{sysconfig.get_path('include')}"]
    flags = [*FLAGS, f"-I{source}", *system]
    if sanitize:
        flags += [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    cache = ROOT / "build" / "simulator"
    cache.mkdir(parents=True, exist_ok=True)

    def run(*arguments: object) -> str:
        return subprocess.run([compiler, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout

    def compile_one(unit: Path) -> Path:
        depends = run(*flags, "-x", "c++", "-MM", unit).replace("\\\n", " ").split()[1:]
        text = b"".join(Path(name).read_bytes() for name in depends)
        made = cache / f"{unit.name}-{_digest(text, [*FLAGS, sanitize, sys.version])}.o"
        if not made.exists():
            unfinished = made.with_suffix(f".{os.getpid()}")
            run(*flags, "-x", "c++", "-c", unit, "-o", unfinished)
            unfinished.rename(made)
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, units))
    module = cache / f"module-{_digest(b'', [o.name for o in objects])}.so"
    if not module.exists():
        unfinished = module.with_suffix(f".{os.getpid()}")
        run("-shared", *([f"-fsanitize={sanitize}"] if sanitize else []), *objects, "-o", unfinished, "-lpthread")
        unfinished.rename(module)
    return module


def _digest(text: bytes, words: list[str]) -> str:
    return hashlib.sha256(text + " ".join(words).encode()).hexdigest()[:16]


class Simulator:
    """The simulated module with what the Python layer does for a device: coalitions are packed, workspaces made."""

    def __init__(self, path: Path) -> None:
        spec = importlib.util.spec_from_file_location("_native", path)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def __getattr__(self, name):
        return getattr(self.module, name)

    def packed(self, keep):
        words = np.zeros((keep.shape[0], -(-keep.shape[1] // 32), keep.shape[2]), np.int32)
        self.module.pack_coalitions(keep, words)
        return words

    def occlude_coalitions(self, x, fill, scale, shift, out, labels, keep, **options):
        self.module.occlude_coalitions(x, fill, scale, shift, out, labels, self.packed(keep), **options)

    def accumulate_windows(self, *arrays, **options):
        self._with_workspace(self.module.accumulate_windows, *arrays, **options)

    def accumulate_coalitions(self, weights, out, labels, keep, **options):
        self._with_workspace(self.module.accumulate_coalitions, weights, out, labels, self.packed(keep), **options)

    def accumulate_soft_grid(self, *arrays, **options):
        self._with_workspace(self.module.accumulate_soft_grid, *arrays, **options)

    def _with_workspace(self, kernel, *arrays, **options):
        words = kernel(*arrays, **options)
        assert kernel(*arrays, np.full(words, -1, np.int64), **options) == 0

    def rank(self, values, rank, workspace, **options):
        self.module.rank(values, rank, np.full((len(values), 4, values.shape[1]), -1, np.int32), **options)
