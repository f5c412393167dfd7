"""A model above 2 GB: its weights lie in another file, and nothing may pass through one protobuf.

    python benchmarks/methods/large_file.py [ROW ...] [--gib 2.4] [--folder DIR]

Makes a classifier of two convolutions and dense layers whose weights, random numbers in one external file, are more
than one protobuf can hold, and runs each row in a fresh process: ONNX Runtime alone on the path; ``xplain.explain`` by
a method; ``xplain.compile`` to a file, which ONNX Runtime alone then runs, onnx.checker having passed it by its path.
Answers are asserted: the scores are those of ONNX Runtime, and a compiled file says what ``explain`` says.

Peak memory is VmHWM, which counts mapped pages of the weights' file; "own MiB" is the most anonymous memory, sampled.
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

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

WIDE, SIDE, CLASSES = 10240, 32, 1000
EXPLAINED = {
    "saliency": {},
    "grad-cam": {},
    "ig": {"steps": 8, "tolerance": None},
    "lrp": {},
    "deeplift": {},
    "occlusion": {"patch": 8, "stride": 8},
}
COMPILED = {"saliency": {}, "grad-cam": {}, "lrp": {}}
ROWS = ("onnxruntime", *EXPLAINED, *(f"compile {method}" for method in COMPILED))


def make(folder: Path, gib: float) -> Path:
    """Write the model: 40 channels of 16 x 16 make one row of 10,240, and dense layers of that width follow."""
    import onnx
    from onnx import TensorProto, helper

    dense = int(np.ceil(gib * 2**30 / (4 * WIDE * WIDE)))
    shapes = {"c1": (20, 3, 3, 3), "c2": (40, 20, 3, 3)}
    shapes |= {f"w{k}": (WIDE, WIDE) for k in range(dense)} | {"head": (CLASSES, WIDE)}
    nodes = [
        helper.make_node("Conv", ["x", "c1"], ["f1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["f1"], ["r1"]),
        helper.make_node("Conv", ["r1", "c2"], ["f2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["f2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["h0"]),
    ]
    for k in range(dense):
        nodes.append(helper.make_node("Gemm", [f"h{k}", f"w{k}"], [f"a{k}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"a{k}"], [f"h{k + 1}"]))
    nodes.append(helper.make_node("Gemm", [f"h{dense}", "head"], ["scores"], transB=1))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
    )
    draws = np.random.default_rng(0)
    with (folder / "large.data").open("wb") as file:
        for name, shape in shapes.items():
            file.write(b"\0" * (-file.tell() % 4096))
            scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            start, length = file.tell(), 4 * int(np.prod(shape))
            for rows in np.array_split(np.arange(shape[0]), max(1, shape[0] // 1024)):
                part = draws.standard_normal((len(rows), *shape[1:]), np.float32)
                part *= scale
                file.write(memoryview(part).cast("B"))
            tensor = graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.data"), ("offset", start), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "large.onnx")
    onnx.checker.check_model(str(folder / "large.onnx"))
    return folder / "large.onnx"


def items() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


class Own:
    """The most anonymous memory while a block runs, MiB."""

    def __enter__(self) -> Own:
        self.most, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            line = next(t for t in Path("/proc/self/status").read_text().splitlines() if t.startswith("RssAnon"))
            self.most = max(self.most, int(line.split()[1]) / 1024)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def plain_session(path: Path, *, as_they_lie: bool = False):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if as_they_lie:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def timed(run):
    started = time.perf_counter()
    found = run()
    return found, time.perf_counter() - started


def child(row: str, path: Path) -> dict:
    """One row, in a process of its own."""
    x = items()
    with Own() as own:
        figures = plain(path, x) if row == "onnxruntime" else ours(row, path, x)
    return {"row": row, **figures, "peak MiB": bench.peak_mib(), "own MiB": own.most}


def plain(path: Path, x: np.ndarray) -> dict:
    session, opened = timed(lambda: plain_session(path))
    (scores,), first = timed(lambda: session.run(None, {"x": x}))
    again = timed(lambda: session.run(None, {"x": x}))[1]
    np.save(path.parent / "scores.npy", scores)
    return {"load s": opened, "first s": first, "again s": again}


def ours(row: str, path: Path, x: np.ndarray) -> dict:
    import xplain

    method = row.removeprefix("compile ")
    model, opened = timed(lambda: xplain.load(path, allow_external_data=True))
    if row.startswith("compile "):
        out = path.parent / f"{method}.onnx"
        _, first = timed(lambda: xplain.compile(model, method, out=out, **COMPILED[method]))
        return {"load s": opened, "first s": first, "again s": ""}
    found, first = timed(lambda: xplain.explain(model, x, method, target=7, **EXPLAINED[method]))
    again = timed(lambda: xplain.explain(model, x, method, target=7, **EXPLAINED[method]))[1]
    scores = np.load(path.parent / "scores.npy")
    np.testing.assert_allclose(found.scores.ravel()[0], scores[0, 7], rtol=1e-3)
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() > 0
    np.save(path.parent / f"{method}.npy", found.values)
    return {"load s": opened, "first s": first, "again s": again}


def checked(path: Path, method: str, *, as_they_lie: bool) -> dict:
    """The compiled file, by onnx.checker and ONNX Runtime alone, with its own copy of the weights or without."""
    import onnx

    out = path.parent / f"{method}.onnx"
    onnx.checker.check_model(str(out))
    x = items()
    with Own() as own:
        session, opened = timed(lambda: plain_session(out, as_they_lie=as_they_lie))
        feeds = {"x": x, "target": np.array([7])}
        found, first = timed(lambda: session.run(["attribution"], feeds)[0])
        again = timed(lambda: session.run(["attribution"], feeds))[1]
    expected = np.load(path.parent / f"{method}.npy")
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), "the compiled file says something else"
    figures = {"load s": opened, "first s": first, "again s": again}
    return {
        "row": f"compiled {method}, onnxruntime alone{', no prepacking' * as_they_lie}",
        **figures,
        "peak MiB": bench.peak_mib(),
        "own MiB": own.most,
    }


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        kind, row, path = sys.argv[2], sys.argv[3], Path(sys.argv[4])
        found = child(row, path) if kind == "row" else checked(path, row, as_they_lie=kind == "mapped")
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--gib", type=float, default=2.3)
    parser.add_argument("--folder", type=Path, help="where the model is, or is made; it stays there")
    parser.add_argument("--remark", default="", help="what else a reader of the table should know")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        path = folder / "large.onnx"
        if not path.exists():
            make(folder, options.gib)
        size = (folder / "large.data").stat().st_size / 2**20
        rows = []
        for row in options.rows:
            rows.append(fresh("row", row, path))
            if row.startswith("compile "):
                rows += [fresh(kind, row.removeprefix("compile "), path) for kind in ("compiled", "mapped")]
    note = (
        f"Weights: {size:,.0f} MiB in one file, one item, single runs in fresh processes. Load: for xplain the checks "
        "and the digest of all bytes too. First and again: the first run or explanation, and the second; for compile "
        "the building and writing. no prepacking: session.disable_prepacking = 1. "
        f"Reproduce: `python benchmarks/methods/large_file.py`. {options.remark}".rstrip()
    )
    bench.save("large_file", rows, note)


def fresh(kind: str, row: str, path: Path) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, row, str(path)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{row}: {done.stderr}")
    print(done.stdout.strip(), file=sys.stderr)
    found: dict = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    bench.passive()
    main()
