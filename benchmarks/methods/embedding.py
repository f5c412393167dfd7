"""What embedding costs, in units of the model's own forward passes: processor time and memory, streamed to a folder.

    python benchmarks/methods/embedding.py MODEL CARD [--items 320 --rounds 5] [--pictures 480]

The raw model is ONNX Runtime's own session of the same file, returning the same layer and the scores, on the same rows
in calls of the same size. Items are tensors that are there already, so that decoding pictures, which costs more than
such a model, is in neither. With ``--pictures`` so many JPEG files are embedded too, crops of the shared photographs,
and the processor time of reading and preparing them is taken off and told. Answers are compared before anything is
timed. Memory is the growth of this process's peak while four times the items are written to a folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import onnx
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))
from throughput import pictures as crops

import xplain
from xplain.render import pictures
from xplain.session.lenses.seeing import AT_ONCE


def raw(model: str, layer: str, rows: int):
    """ONNX Runtime alone: a function from items to the layer's values, and the size of its calls."""
    proto = onnx.load(model)
    scores = proto.graph.output[0].name
    if layer not in {one.name for one in proto.graph.output}:
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(layer))
    for one in (*proto.graph.input, *proto.graph.output):
        for dim in one.type.tensor_type.shape.dim[:1]:
            dim.dim_param = "n"
    del proto.graph.value_info[:]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    kind = np.float16 if "float16" in session.get_inputs()[0].type else np.float32

    def ask(x: np.ndarray) -> np.ndarray:
        found = [session.run([layer, scores], {name: x[k : k + rows].astype(kind)})[0] for k in range(0, len(x), rows)]
        return np.concatenate(found)

    return ask


def spent(do) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


class Decoding:
    """Processor time of the threads that read pictures and prepare them, while it is entered."""

    def __enter__(self) -> Decoding:
        self.spent, self._kept = 0.0, {name: getattr(pictures, name) for name in ("read", "prepare")}
        for name, call in self._kept.items():
            setattr(pictures, name, self._watched(call))
        return self

    def __exit__(self, *failed: object) -> None:
        for name, call in self._kept.items():
            setattr(pictures, name, call)

    def _watched(self, call):
        def watched(*given):
            began = time.thread_time()
            try:
                return call(*given)
            finally:
                self.spent += time.thread_time() - began

        return watched


def of_files(model, ask, items: np.ndarray, count: int, rounds: int) -> tuple[list[float], float]:
    """Throughput of files in the raw model's, written to a folder, less decoding; and milliseconds that this took."""
    ratios, took = [], []
    with tempfile.TemporaryDirectory() as place:
        files = sorted(crops(Path(place) / "pictures", count).iterdir())
        for k in range(rounds):
            before = spent(lambda: ask(items))
            with Decoding() as decoding:
                whole = spent(lambda k=k: xplain.see(model, "embed", files, vectors=f"{place}/{k}"))
            plain = (before + spent(lambda: ask(items))) / 2 / len(items)
            ratios.append(plain / ((whole - decoding.spent) / count))
            took.append(1000 * decoding.spent / count)
    return ratios, statistics.median(took)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def many(parts, times: int):
    """Items that are all different, made as they are asked for."""
    rng = np.random.default_rng(times)
    for _ in range(times):
        for part in parts:
            yield part + rng.normal(size=(len(part), 1, 1, 1)).astype(np.float32)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("model")
    asked.add_argument("card")
    asked.add_argument("--items", type=int, default=320)
    asked.add_argument("--positions")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--pictures", type=int, default=0)
    given = asked.parse_args()
    model = xplain.load(given.model, card=given.card, threads=1)
    item = model.outline.layout.item
    items = np.random.default_rng(0).normal(size=(given.items, *item)).astype(np.float32)
    first = xplain.see(model, "embed", items[:AT_ONCE], positions=given.positions)
    layer, (rows,) = first.facts["layer"], first.provenance.rows_per_call["values"]
    ask = raw(given.model, layer, rows)
    values = ask(items[:AT_ONCE]).astype(np.float32)
    expected = values.mean(axis=(2, 3)) if given.positions == "mean" else values.reshape(first.vectors.shape)
    np.testing.assert_allclose(expected, first.vectors, rtol=1e-2, atol=1e-2 * np.abs(expected).max())

    parts = [items[k : k + AT_ONCE] for k in range(0, len(items), AT_ONCE)]
    plain: list[float] = []
    ratios: dict[str, list[float]] = {"kept in memory": [], "written to a folder": []}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(given.rounds):
            before = spent(lambda: ask(items))
            memory = spent(lambda: xplain.see(model, "embed", iter(parts), positions=given.positions))
            between = spent(lambda: ask(items))
            disk = spent(
                lambda k=k: xplain.see(model, "embed", iter(parts), positions=given.positions, vectors=f"{folder}/{k}")
            )
            after = spent(lambda: ask(items))
            ratios["kept in memory"].append((before + between) / 2 / memory)
            ratios["written to a folder"].append((between + after) / 2 / disk)
            plain.append((before + between + after) / 3)
        grown = [peak()]
        for times in (2, 4):
            xplain.see(model, "embed", many(parts, times), positions=given.positions, vectors=f"{folder}/{times}times")
            grown.append(peak())
    print(f"{Path(given.model).name}, layer {layer}, {given.items} items in calls of {rows}, one thread")
    print(f"onnxruntime {ort.__version__}, numpy {np.__version__}, {platform.processor() or platform.machine()}")
    print(f"raw model: {1000 * statistics.median(plain) / given.items:.2f} ms of processor time an item")
    for name, found in ratios.items():
        told = f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"
        print(f"throughput of embed in the raw model's, {name}: {told}")
    if given.pictures:
        found, took = of_files(model, ask, items, given.pictures, given.rounds)
        told = f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"
        print(f"of {given.pictures} JPEG files, written to a folder, less {took:.2f} ms of decoding each: {told}")
    first, second = (f"{grown[k + 1] - grown[k]:+.0f}" for k in (0, 1))
    told = f"{first} after {2 * given.items} further items, {second} after {4 * given.items} more"
    print(f"peak memory in MiB: {grown[0]:.0f}, {told}")


if __name__ == "__main__":
    main()
