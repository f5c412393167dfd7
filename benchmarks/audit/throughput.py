"""Where the time of an audit goes: processor time per picture and stage, and the share that is the model's.

    python benchmarks/audit/throughput.py [--pictures 1000] [--out benchmarks/results]

MobileNetV2 on JPEG files cut from the shared photographs: one thread for the model, one that decodes ahead into the
rows of batches, one that gathers these, one that keeps what was answered. Times are processor time, so that a loaded
machine changes ratios little. Two shares are told: what the model takes of the thread that asks it, which is what an
audit waits for where cores are free; and of all threads together, less reading and decoding, which is what is paid
where they are not. How workers, Ray and clusters scale says ``scaling.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import xplain
from xplain.audit.plans.lanes import Benches
from xplain.audit.shards import shard
from xplain.audit.shards.guarding import planned_audit
from xplain.audit.shards.keeping import Kept
from xplain.audit.shards.reading import Data
from xplain.audit.shards.trays import Tray
from xplain.audit.stores.store import Part, Store
from xplain.core.lane import LaneRows
from xplain.models.onnx.session import Session
from xplain.session.lanes.graph import Graph
from xplain.session.lanes.lane import Compiled

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("XPLAIN_SHARED_MODELS", ROOT.parent / "shared" / "models"))
NET = MODELS / "imagenet" / "mobilenetv2_imagenet1001_fp32.onnx"
CARD = {"mode": "RGB", "resize_short": 256, "crop": [224, 224], "scale": 2 / 255, "mean": [1.0] * 3, "std": [1.0] * 3}
LANES: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "grad-cam, compiled": ("grad-cam", {}, 1.0, 0),
    "saliency, compiled": ("saliency", {}, 0.25, 0),
    "rise, 250 masks": ("rise", {"samples": 250}, 0.013, 250),
    "occlusion, 32 px at 16 px, incremental": ("occlusion", {"patch": 32, "stride": 16}, 0.026, 169),
}
"""Method, options, share of the pictures, and evaluations per picture of a lane that is driven."""


def pictures(folder: Path, count: int) -> Path:
    """JPEG files of the size of ImageNet's, cut at random from photographs, with a fixed seed."""
    rng = np.random.default_rng(0)
    photographs = []
    for path in sorted((MODELS / "images").iterdir()):
        with Image.open(path) as one:
            photographs.append(one.convert("RGB").copy())
    folder.mkdir(parents=True)
    for k in range(count):
        whole = photographs[k % len(photographs)]
        wide, high = (int(n * rng.uniform(0.6, 1.0)) for n in whole.size)
        left, top = int(rng.integers(0, whole.size[0] - wide + 1)), int(rng.integers(0, whole.size[1] - high + 1))
        short = int(rng.integers(333, 501))
        by = short / min(wide, high)
        small = whole.crop((left, top, left + wide, top + high)).resize(
            (max(short, round(wide * by)), max(short, round(high * by)))
        )
        small.save(folder / f"p{k:05d}.jpg", quality=int(rng.integers(80, 96)))
    return folder


STAGES = (
    "read, hash", "decode, resize, normalise", "batches", "model", "answers", "columns", "hash, write", "records",
    "flush, name, seal", "all else",
)  # fmt: skip


class Watch:
    """Processor time by stage, each without the stages that it calls, of whatever thread it runs in."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._undo: list[Callable[[], None]] = []
        self._inner, self._lock = threading.local(), threading.Lock()

    def over(self, owner: Any, name: str, stage: str) -> None:
        """Count what a function takes."""
        call = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            outer, self._inner.spent = getattr(self._inner, "spent", 0.0), 0.0
            began = time.thread_time()
            try:
                return call(*given, **named)
            finally:
                took = time.thread_time() - began
                with self._lock:
                    self.spent[stage] += took - self._inner.spent
                self._inner.spent = outer + took

        setattr(owner, name, watched)
        self._undo.append(lambda: setattr(owner, name, call))

    def end(self) -> None:
        """Give the functions back as they were."""
        for undo in self._undo:
            undo()


def measured(folder: Path) -> dict[str, float]:
    """Milliseconds per picture and stage of an audit that is made here, in one process."""
    plan = planned_audit(folder)
    store = Store(folder)
    with Benches(folder, plan) as benches, shard.Maker(plan, benches, Data(folder), threads=1) as maker:
        for lane in maker.lanes:  # the first call of a runtime warms it up
            rows = lane.lane.rows
            x = np.random.default_rng(0).standard_normal((rows, *lane.lane.item), np.float32)
            lane.ask(LaneRows(x, np.arange(rows) < 1, ("warm",) * rows, np.full(rows, -1)))
        watch = Watch()
        for owner, name, stage in (  # what makes a shard, taken apart
            (Data, "content", "read, hash"),
            (shard, "taken", "decode, resize, normalise"),
            (Tray, "put", "batches"),
            (Tray, "take", "batches"),
            (Graph, "run", "model"),
            (Compiled, "_answer", "answers"),
            (Kept, "_describe", "columns"),
            (Part, "write", "hash, write"),
            (Kept, "table", "records"),
            (Part, "end", "flush, name, seal"),
            (Store, "seal", "flush, name, seal"),
        ):
            watch.over(owner, name, stage)
        began, every, clock = time.thread_time(), time.process_time(), time.perf_counter()
        for one in plan.shards:
            maker.seal(one.number, store)
        main, every, clock = time.thread_time() - began, time.process_time() - every, time.perf_counter() - clock
        watch.end()
    each = 1000 / plan.items.count
    if watch.spent["model"]:  # of a lane that is driven the model is all else
        watch.spent["all else"] = every - sum(watch.spent.values())
    whole = {"main thread": main * each, "all threads": every * each, "clock": clock * each}
    return {**{stage: spent * each for stage, spent in watch.spent.items()}, **whole}


def forward(rows: int = 13, times: int = 12) -> float:
    """Milliseconds of one row of the bare model, in batches as the engine cuts them."""
    runtime = Session(NET.read_bytes(), "the model", [("CPUExecutionProvider", {})], 1)
    x = np.random.default_rng(0).standard_normal((rows, 3, 224, 224), np.float32)
    feeds = {runtime.inputs[0]: runtime.fed(x)}
    runtime.run(feeds)
    took = []
    for _ in range(times):
        began = time.thread_time()
        runtime.run(feeds)
        took.append((time.thread_time() - began) / rows)
    return 1000 * float(np.median(took))


def looped(files: list[str]) -> float:
    """Milliseconds of ``xplain.explain`` per picture, 64 files a call, and decoding alone taken off."""
    model = xplain.load(str(NET), card=CARD, threads=1)
    xplain.explain(model, files[:8], "grad-cam")
    began = time.process_time()
    for k in range(0, len(files), 64):
        xplain.explain(model, files[k : k + 64], "grad-cam")
    return 1000 * (time.process_time() - began) / len(files)


def main() -> None:
    """Measure, print, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows, stages = [], []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        data = pictures(root / "all", asked.pictures)
        files = sorted(map(str, data.iterdir()))
        before = forward()
        for name, (method, options, share, asks) in LANES.items():
            some = root / method
            some.mkdir()
            for file in files[: max(13, round(share * len(files)))]:
                os.link(file, some / Path(file).name)
            folder = root / f"{method}-audit"
            how = {"methods": {method: options}, "card": CARD, "metrics": None}
            xplain.audit.plan({"net": str(NET)}, str(some), out=folder, shard_rows=len(list(some.iterdir())), **how)
            found = measured(folder)
            raw = forward()
            model = found.get("model", 0.0) or asks * raw
            rest = found["all threads"] - found["read, hash"] - found["decode, resize, normalise"]
            count = len(list(some.iterdir()))
            rows.append(
                (name, count, found["main thread"], rest, model, raw, model / found["main thread"], model / rest)
            )
            stages.append((name, found))
        loop = looped(files[: min(256, len(files))])
        after = forward()
    first = stages[0][1]
    decode = first["read, hash"] + first["decode, resize, normalise"]
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    load = os.getloadavg()[0]
    command = " ".join(["python", "benchmarks/audit/throughput.py", *sys.argv[1:]])
    about = (
        f"`{command}`, commit {commit.stdout.strip()}, onnxruntime {version('onnxruntime')}, numpy {np.__version__}; "
        f"load {load:.1f} on {os.cpu_count()} cores. Milliseconds of processor time per picture; a forward "
        f"pass of the bare model took {before:.2f} before and {after:.2f} after."
    )
    model = (
        "The model's time: of a compiled lane what the runtime takes; of one that is driven its evaluations times the "
        "forward pass beside it (windows that are answered incrementally do less, hence a ratio above 1)."
    )
    told = (
        f"`xplain.explain` in a loop over 64 files a call takes {loop:.2f} ms, {loop - decode:.2f} without reading and "
        f"decoding: {rows[0][4] / (loop - decode):.2f} of that is what the compiled lane's model takes."
    )
    names = " | ".join(name for name, _ in stages)
    heads = ("lane", "pictures", "thread that asks", "all threads less decoding", "the model", "forward pass",
             "model / thread that asks", "model / all less decoding")  # fmt: skip
    lines = [
        "# Throughput of an audit", "", about, "",
        f"| {' | '.join(heads)} |", "|---" * len(heads) + "|",
        *(f"| {n} | {c} | {m:.2f} | {a:.2f} | {k:.2f} | {r:.2f} | **{s:.3f}** | {t:.3f} |"
          for n, c, m, a, k, r, s, t in rows),
        "", model, "", f"| stage | {names} |", "|---|" + "---|" * len(stages),
        *(f"| {one} | " + " | ".join(f"{found.get(one, 0):.3f}" for _, found in stages) + " |" for one in STAGES),
        "", told,
    ]  # fmt: skip
    text = "\n".join([*lines, ""])
    print(text)
    if asked.out is not None:
        (asked.out / "audit-throughput.md").write_text(text, encoding="utf-8")
        told = {"rows": rows, "stages": dict(stages), "loop": loop, "load": load}
        (asked.out / "audit-throughput.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
