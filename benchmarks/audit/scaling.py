"""Two workers beside one, Ray beside them, and a simulation of more machines than there are here.

    python benchmarks/audit/scaling.py [--pictures 2400] [--ray] [--out benchmarks/results]

Needs two idle cores. A worker reads and decodes in threads beside the model, so one alone already uses more than one
core where decoding is much of the work; so one worker on one core is compared with two on two. What is measured is the
time between seals while all workers have work: from the first seal of each until none is left to begin, without the
seconds until workers have opened plan and model, and without the last shards, when some have nothing to do.

What two cores of a machine are worth is measured before and after each lane: two processes that do nothing but run the
bare model, a core each, against one. They share memory, its bandwidth and what a host gives them, so that is not always
two; and no two workers can be worth more. A host's clock wanders, so each lane is run by one, two, two and one again.

``--ray`` needs Ray and the plugin (``pip install ray[data] plugins/xplain-ray``), and compares two actors with two
workers. The simulation draws from the shards that were measured here and states all else that it assumes.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "plugins" / "xplain-ray")]

from throughput import CARD, NET, pictures

import xplain
from xplain.audit.shards.running import run
from xplain.audit.stores.store import Store

LANES: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "grad-cam, compiled": ("grad-cam", {}, 1.0, 80),
    "rise, 64 masks": ("rise", {"samples": 64}, 0.04, 4),
}
"""Method, options, share of the pictures, and pictures of a shard."""
GIB = 2**30


def paced(folder: Path, workers: int) -> float:
    """Seconds a shard took while all workers had work, by the times of the seals."""
    times = sorted(one.stat().st_mtime_ns for one in (folder / "seals").iterdir())
    if len(times) < 5 * workers:
        raise SystemExit(f"{len(times)} shards say too little: give more --pictures.")
    first, last = workers - 1, len(times) - workers  # from there on, who seals finds nothing left to begin
    return (times[last] - times[first]) / 1e9 / (last - first)


def ran(data: Path, folder: Path, how: dict[str, Any], cores: set[int], workers: int, rayed: bool = False) -> float:
    """Seconds a shard takes by so many workers on these cores; its shards lie in ``folder`` then."""
    xplain.audit.plan({"net": str(NET)}, str(data), out=folder, **how)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        if rayed:
            import xplain_ray

            xplain_ray.run(folder, workers=workers)
        else:
            run(folder, workers=workers)
    finally:
        os.sched_setaffinity(0, before)
    return paced(folder, max(1, workers))


LOOP = """
import sys, time
sys.path.insert(0, {place!r})
from throughput import NET
from xplain.models.onnx.session import Session
import numpy as np
if {small}:
    a = np.ones(2048, np.float32)
    def once():
        for _ in range(10_000):
            np.multiply(a, a, out=a)
else:
    run = Session(NET.read_bytes(), "the model", [("CPUExecutionProvider", {{}})], 1)
    feeds = {{run.inputs[0]: run.fed(np.random.default_rng(0).standard_normal((13, 3, 224, 224), np.float32))}}
    def once():
        run.run(feeds)
for _ in range(3):
    once()
print("ready", flush=True)
for line in sys.stdin:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < float(line):
        once()
        count += 1
    print(count / (time.perf_counter() - began), flush=True)
"""


def bare(cores: set[int], rounds: int = 5, seconds: float = 3.0, small: bool = False) -> float:
    """How many times as much two loops of the bare model do, a core each, as one of them alone; median of rounds.

    ``small``: loops of arithmetic on 8 kB, which each core has in its own first cache: what they lose is the host's.
    """
    loops = []
    before = os.sched_getaffinity(0)
    for core in sorted(cores):
        os.sched_setaffinity(0, {core})  # which a process inherits
        code = LOOP.format(place=str(Path(__file__).parent), small=small)
        loops.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}))  # fmt: skip
    os.sched_setaffinity(0, before)

    def speed(some: list[subprocess.Popen[str]]) -> float:
        for one in some:
            one.stdin.write(f"{seconds}\n")
            one.stdin.flush()
        return sum(float(one.stdout.readline()) for one in some)

    try:
        for one in loops:
            one.stdout.readline()
        found = []
        for _ in range(rounds):
            alone = [speed([one]) for one in loops]
            found.append(speed(loops) / statistics.mean(alone))
    finally:
        for one in loops:
            one.stdin.close()
            one.wait()
    return statistics.median(found)


def shards_of(folder: Path) -> list[float]:
    """Seconds that each shard took, as the run's log has them."""
    told = [json.loads(line) for path in (folder / "log").glob("run-*.jsonl") for line in path.open(encoding="utf-8")]
    return [one["seconds"] for one in told if "seconds" in one]


def part_bytes(folder: Path) -> float:
    """Bytes that a shard leaves in the store."""
    return sum(one.stat().st_size for one in (folder / "parts").iterdir()) / len(list((folder / "seals").iterdir()))


@dataclass(frozen=True)
class Cluster:
    """What the simulation assumes, beside the shards that were measured.

    Args:
        cores: Cores of a machine; a worker has one.
        begin: Seconds until a worker has opened model and plan.
        hand: Seconds that the driver takes to hand out a shard; one driver hands out all.
        request: Seconds that a request to the store takes; a shard makes 6.
        wire: Bytes a second of the network between all machines and the store.
        item: Bytes of an item, which is read from the store as well.
        lost: Machines that are taken away in an hour, each with the shards under way on it; another one comes.
    """

    cores: int = 16
    begin: float = 20.0
    hand: float = 0.002
    request: float = 0.03
    wire: float = 10 * GIB / 8
    item: float = 110_000
    lost: float = 0.02


def simulated(
    took: list[float], size: float, rows: int, shards: int, workers: int, on: Cluster, seed: int = 0
) -> float:
    """Seconds until so many workers have made so many shards, each with a time that was measured.

    A worker waits for the driver, for the wire that all share (first come, first served), and for its own model. What
    was under way on a machine that is taken away is made again from its beginning.
    """
    draw = random.Random(0)
    driver, wire, ended = 0.0, 0.0, 0.0
    free = [(on.begin, worker) for worker in range(workers)]
    heapq.heapify(free)
    left = shards
    while left:
        now, worker = heapq.heappop(free)
        driver = max(driver, now) + on.hand
        load = rows * on.item + size
        wire = max(wire, driver) + load / on.wire
        own = draw.choice(took) + 6 * on.request
        done = max(driver + own, wire)  # reading runs beside the model
        if draw.random() < on.lost * (done - now) / 3600:
            heapq.heappush(free, (now + draw.random() * (done - now) + on.begin, worker))
            continue
        left -= 1
        ended = max(ended, done)
        heapq.heappush(free, (done, worker))
    return ended


def main() -> None:
    """Measure, simulate, print, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2400)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    both = set(sorted(os.sched_getaffinity(0))[:2])
    if len(both) < 2:
        raise SystemExit("Two cores are needed.")
    one = {min(both)}
    rows, took, size, shard_rows, limits = [], [], 0.0, 0, [bare(both)]
    if asked.ray:
        import ray

        begun = time.monotonic()
        path = os.pathsep.join(map(str, (ROOT, ROOT / "plugins" / "xplain-ray", Path(__file__).parent)))
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False,
                 _temp_dir=f"/tmp/r{os.getpid()}", runtime_env={"env_vars": {"PYTHONPATH": path}})  # fmt: skip
        print(f"Ray began in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        data = pictures(root / "all", asked.pictures)
        files = sorted(data.iterdir())
        for name, (method, options, share, each) in LANES.items():
            some = root / method
            some.mkdir()
            for file in files[: round(share * len(files))]:
                os.link(file, some / file.name)
            how = {"methods": {method: options}, "card": CARD, "metrics": None, "shard_rows": each}
            found, roots = {}, set()
            for kind in ("1", "2", *(["r"] if asked.ray else []), "w", "2 again", "1 again"):
                cores, workers = (one if kind[0] == "1" else both), (1 if kind[0] in "1w" else 2)
                folder = root / f"{method}-{kind}"
                found[kind] = ran(some, folder, how, cores, workers, rayed=kind == "r")
                roots.add(Store(folder).root())
            limits.append(bare(both))
            assert len(roots) == 1, "the stores differ"
            alone, two = ((found[k] + found[f"{k} again"]) / 2 for k in "12")
            rows.append((name, each, alone, found["w"], two, found.get("r"), (limits[-2] + limits[-1]) / 2))
            if not took:
                took, size, shard_rows = shards_of(root / f"{method}-1"), part_bytes(root / f"{method}-1"), each
    lines = told(rows, took, size, shard_rows, limits, bare(both, small=True))
    text = "\n".join(lines)
    print(text)
    if asked.out is not None:
        (asked.out / "audit-scaling.md").write_text(text, encoding="utf-8")


def told(
    rows: list[Any], took: list[float], size: float, shard_rows: int, limits: list[float], small: float
) -> list[str]:
    """The tables."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    command = " ".join(["python", "benchmarks/audit/scaling.py", *sys.argv[1:]])
    about = (
        f"`{command}`, commit {commit.stdout.strip()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, "
        "MobileNetV2. Seconds a shard takes, by the clock; the stores of a row are equal, bit for bit."
    )
    heads = ("lane", "pictures a shard", "one worker, one core", "one worker, two cores", "two workers, two cores",
             "two : one, a core each", "the same of bare loops", "of that", "two actors of Ray",
             "Ray : two workers")  # fmt: skip
    lines = ["# How audits scale", "", about, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, each, alone, wide, two, rayed, bound in rows:
        ray = ("-", "-") if rayed is None else (f"{rayed:.3f}", f"{two / rayed:.2f}")
        lines.append(
            f"| {name} | {each} | {alone:.3f} | {wide:.3f} | {two:.3f} | **{alone / two:.2f}** "
            f"| {bound:.2f} | **{alone / two / bound:.2f}** | {ray[0]} | {ray[1]} |"
        )
    worth = ", ".join(f"{one:.2f}" for one in limits)
    bound = (
        f"Two loops of the bare model, a core each, make {worth} times what one makes alone: before, between and after "
        "these lanes. No two workers can be worth more. Two loops of arithmetic in the first cache of a core make "
        f"{small:.2f} times what one makes: what is lost there is the host's, the rest is memory that cores share."
    )
    lines += ["", bound]
    on, items = Cluster(), 1_000_000
    by = 45 / statistics.mean(took)  # shards of a real audit take some 45 s
    long, rows_each = [by * one for one in took], round(by * shard_rows)
    shards = -(-items // rows_each)
    ideal = statistics.mean(long) * shards
    from_here = (
        f"A million items of the first lane in shards of {rows_each:,}, drawn from the {len(took)} shards that one "
        f"worker made on one core here, whose times are made {by:.0f} times longer: {statistics.mean(took):.2f} s each "
        f"here, {statistics.stdev(took) / statistics.mean(took):.1%} apart. **Nothing below was measured.**"
    )
    lines += [
        "", "## Simulated", "", from_here, "",
        "| assumed | |", "|---|---|",
        f"| a worker has opened plan and model after | {on.begin:g} s |",
        f"| one driver hands out a shard in | {1000 * on.hand:g} ms |",
        f"| a request to the store takes, and a shard makes 6 | {1000 * on.request:g} ms |",
        f"| the wire between all machines and the store carries | {on.wire * 8 / GIB:g} Gibit/s |",
        f"| an item, read from the store, has | {on.item / 1000:g} kB |",
        f"| a shard leaves in the store | {by * size / 1000:,.0f} kB |",
        f"| machines taken away, an hour, each with the shard of a worker under way | {on.lost:.0%} |",
        "| a worker's speed | that of one core here, whoever works beside it |", "",
        "| workers | hours | of what as many times one would make |", "|---|---|---|",
    ]  # fmt: skip
    for workers in (1, 2, 16, 64, 256, 1024):
        seconds = simulated(long, by * size, rows_each, shards, workers, on)
        lines.append(f"| {workers:,} | {seconds / 3600:.3g} | {ideal / workers / seconds:.2f} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
