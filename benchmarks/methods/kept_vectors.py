"""Memory and time of lenses on vectors that were kept: nothing is drawn, the model is asked nothing.

    python benchmarks/methods/kept_vectors.py [--items 100000 --width 1280 --lenses neighbours map dimension]

A folder of made-up vectors is written as `see embed` writes it: points of a bent 10-dimensional sphere around 40
centres, so that neighbours, maps and dimensions have something to find. Each lens then runs in a process of its own.
Two numbers of memory are told beside what the vectors have on the disk: the peak of what belongs to the process alone
(RssAnon, looked at every 20 ms, less what it had before the lens began), and the peak of all that was resident (VmHWM),
which counts the pages of the mapped file too, that the system takes back when it needs them. The neighbours of five
items are compared with those of a plain search before anything is told.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LENSES = {
    "neighbours": {"pixels": 0, "thumbnail": 0},
    "map": {"by": "pca", "thumbnail": 0},
    "dimension": {"draws": 50},
}


def model(path: Path, width: int) -> None:
    """A dense layer on so many numbers."""
    weights = np.random.default_rng(0).normal(size=(width, 4)).astype(np.float32)
    nodes = [helper.make_node("Relu", ["x"], ["features"]), helper.make_node("MatMul", ["features", "w"], ["scores"])]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def folder(path: Path, digest: str, items: int, width: int) -> None:
    """So many vectors, as `see embed` keeps them."""
    from xplain.core.lenses.vector_folder import VectorFolder

    rng = np.random.default_rng(0)
    to = rng.normal(size=(11, 64)) / np.sqrt(11)
    wide = rng.normal(size=(64, width)) / 8
    centres = rng.normal(size=(40, 11)) / 2
    about = {
        "model": digest,
        "source": "dense.onnx",
        "card": "",
        "layout": "",
        "layer": "features",
        "positions": "none",
    }
    with VectorFolder(path, about, width) as kept:
        for first in range(0, items, 1000):
            count = min(1000, items - first)
            z = rng.normal(size=(count, 11))
            z = z / np.linalg.norm(z, axis=1, keepdims=True) + centres[rng.integers(0, 40, count)]
            rows = (np.tanh(z @ to) @ wide).astype(np.float32)
            names = [f"item {first + n}" for n in range(count)]
            kept.append(names, names, rows, [{"predicted": str(n % 4), "confidence": 1.0} for n in range(count)])


def status(name: str) -> float:
    """A number of this process's memory, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def cosines(rows: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Of the angles of some rows to one."""
    rows, to = rows.astype(np.float64), to.astype(np.float64)
    return rows @ to / np.linalg.norm(rows, axis=1) / np.linalg.norm(to)


def one(where: Path, what: str) -> None:
    """One lens, here; prints what it took as JSON."""
    import xplain

    loaded = xplain.load(where / "dense.onnx")
    before, peak, done = status("RssAnon"), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], status("RssAnon"))

    threading.Thread(target=watch, daemon=True).start()
    started, spent = time.perf_counter(), time.process_time()
    found = xplain.see(loaded, what, where / "vectors", **LENSES[what])
    took, cpu = time.perf_counter() - started, time.process_time() - spent
    done.set()
    if what == "neighbours":
        rows = np.load(where / "vectors" / "vectors.npy", mmap_mode="r")
        for n in np.linspace(0, len(rows) - 1, 5).astype(int):
            alike = np.concatenate([cosines(rows[k : k + 4096], rows[n]) for k in range(0, len(rows), 4096)])
            alike[n] = -2
            assert len(np.intersect1d(np.argsort(-alike)[:5], found.near[n])) >= (5 if found.facts["exact"] else 4)
    print(json.dumps({"own": max(peak[0], before) - before, "resident": status("VmHWM"), "wall": took, "cpu": cpu}))


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--items", type=int, default=100_000)
    asked.add_argument("--width", type=int, default=1280)
    asked.add_argument("--lenses", nargs="+", default=["neighbours", "map", "dimension"], choices=LENSES)
    asked.add_argument("--in", dest="inside", type=Path)
    given = asked.parse_args()
    if given.inside is not None:
        one(given.inside, given.lenses[0])
        return
    import xplain

    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        model(where / "dense.onnx", given.width)
        digest = xplain.load(where / "dense.onnx").outline.digest
        folder(where / "vectors", digest, given.items, given.width)
        size = (where / "vectors" / "vectors.npy").stat().st_size / 2**20
        print(f"{given.items:,} vectors of {given.width} numbers, {size:.0f} MiB on the disk")
        print("| lens | own memory, MiB | resident, MiB | processor, s | wall, s |")
        print("|---|---|---|---|---|")
        for what in given.lenses:
            command = [sys.executable, __file__, "--in", name, "--lenses", what]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                sys.exit(ran.stderr)
            told = json.loads(ran.stdout.splitlines()[-1])
            print(f"| {what} | {told['own']:.0f} | {told['resident']:.0f} | {told['cpu']:.0f} | {told['wall']:.0f} |")


if __name__ == "__main__":
    main()
