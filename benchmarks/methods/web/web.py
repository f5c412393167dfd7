"""Compiled explanations in a browser's runtime: onnxruntime-web, run by node, against onnxruntime.

    (cd benchmarks/methods/web && npm install)
    python benchmarks/methods/web/web.py [MODEL.onnx CARD.toml PICTURE] [--rounds 5]

The demo's model is always measured, another model if it is given. Both runtimes have one thread. The attributions are
compared before times are told, by correlation: single positions differ where a ReLU's input is zero up to rounding,
because a gradient jumps there. They do so as well between onnxruntime with and without its graph optimisations, which
is told beside it. Files have the input ``target`` required, which is the form that a page can feed; feeding -1 explains
the predicted class.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
import bench

METHODS = {
    "grad-cam": {},
    "saliency": {},
    "guided-backprop": {},
    "integrated-gradients": {"steps": 8},
}
ALIKE = 0.9999


def installed() -> bool:
    """Whether node and the package are there."""
    folder = Path(os.environ.get("XPLAIN_WEB_MODULES", HERE))
    if not (folder / "node_modules" / "onnxruntime-web" / "package.json").is_file():
        return False
    try:
        return subprocess.run(["node", "--version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def in_web(jobs: list[dict], folder: Path) -> dict:
    """What ``run.mjs`` answers to jobs ``{model: bytes, feeds: {name: array}, rounds: n}``; attributions as arrays."""
    asked = []
    for k, job in enumerate(jobs):
        path = folder / f"{k}.onnx"
        path.write_bytes(job["model"])
        feeds = {}
        for name, array in job["feeds"].items():
            file = folder / f"{k}.{len(feeds)}.bin"
            file.write_bytes(np.ascontiguousarray(array).tobytes())
            feeds[name] = {"type": str(array.dtype), "dims": array.shape, "file": str(file)}
        asked.append({"model": str(path), "feeds": feeds, "out": str(folder / f"{k}.out"), "rounds": job["rounds"]})
    (folder / "jobs.json").write_text(json.dumps(asked))
    line = ["node", str(HERE / "run.mjs"), str(folder / "jobs.json")]
    found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    for one, answer in zip(asked, found["answers"], strict=True):
        if "error" not in answer:
            answer["attribution"] = np.fromfile(one["out"], np.float32).reshape(answer["dims"])
    return found


def native(model: bytes, feeds: dict, rounds: int, plain: bool = False) -> tuple[np.ndarray, list[float]]:
    """The same with onnxruntime, one thread; ``plain`` without its graph optimisations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        (found,) = session.run(["attribution"], feeds)
        seconds.append(time.perf_counter() - start)
    return found, seconds[1:]


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Correlation, and the largest difference as a share of the largest value."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]), float(np.abs(one - other).max() / np.abs(other).max())


def row_of(name: str, method: str, job: dict, web: dict) -> dict:
    found, seconds = native(job["model"], job["feeds"], job["rounds"])
    if "error" in web:
        raise SystemExit(f"{name}, {method}: onnxruntime-web says: {web['error']}")
    plain = native(job["model"], job["feeds"], 1, plain=True)[0]
    correlation, largest = apart(web["attribution"], found)
    if not correlation > ALIKE:
        raise SystemExit(f"{name}, {method}: the two differ (correlation {correlation}); no time is told")
    ours, theirs = bench.Timing(web["seconds"]), bench.Timing(seconds)
    return {
        "model": name,
        "method": method,
        "file MiB": len(job["model"]) / 2**20,
        "1 - correlation": 1 - correlation,
        "largest difference": largest,
        "onnxruntime's own": apart(plain, found)[1],
        "onnxruntime": str(theirs),
        "web": str(ours),
        "web over native": bench.ratio(ours, theirs),
        "web load ms": 1e3 * web["load"],
    }


def measured(rounds: int, given: tuple[str, str, str] | None = None) -> None:
    import xplain
    from xplain.api import items_of
    from xplain.demo import demo_model_path, demo_picture

    models = {"demo": (xplain.load(demo_model_path()), demo_picture()[0])}
    if given is not None:
        models[Path(given[0]).stem] = (xplain.load(given[0], card=given[1]), given[2])
    jobs, names = [], []
    for name, (model, picture) in models.items():
        x = items_of(model, picture).x
        for method, options in METHODS.items():
            made = xplain.compile(model, method, target_input="required", **options)
            feeds = {model.outline.input: x, "target": np.array([-1], np.int64)}
            jobs.append({"model": made.SerializeToString(), "feeds": feeds, "rounds": rounds})
            names.append((name, method))
    with tempfile.TemporaryDirectory() as folder:
        web = in_web(jobs, Path(folder))
    rows = [row_of(*name, job, answer) for name, job, answer in zip(names, jobs, web["answers"], strict=True)]
    note = (
        f"onnxruntime-web {web['version']} (WebAssembly) in node {web['node']}; one thread on both sides; medians of "
        f"{rounds} runs of one picture. Differences: the largest, as a share of the largest value; onnxruntime's own "
        "is that between its graph optimisations on and off. Integrated gradients with 8 steps. "
        f"Load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )
    bench.save("compiled_web", rows, note)


if __name__ == "__main__":
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="MODEL.onnx CARD.toml PICTURE")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if len(options.model) not in (0, 3):
        parser.error("give MODEL.onnx, CARD.toml and PICTURE, or none of them")
    if not installed():
        parser.error(f"node or the package is missing: run npm install in {HERE}, or set XPLAIN_WEB_MODULES")
    measured(options.rounds, tuple(options.model) or None)
