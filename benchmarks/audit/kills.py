"""Kills audits at random, at every durable step, on a full disk and under jumping clocks, and compares what is left.

    nice -n 19 python benchmarks/audit/kills.py --kills 150 --worker-kills 40 --seed 1 --out benchmarks/results

Each life of a run is a process that was forked with everything imported, and so are its workers, so that they are
killed while they work rather than while they start. The reference is a run that nobody disturbs. What is claimed after
each story: the store is equal to the reference bit for bit, and every item stands in it once per lane. SIGKILL does not
test a loss of power: that files are flushed before they are named is seen in the order of the calls.

With ``--out`` what was counted is added to ``audit-kills.json`` there, and the table sums over all that stands in it:
begin it as often as there is time, each time with another ``--seed``.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "audit"), str(Path(__file__).parent)]

import planted
import pyarrow.parquet as pq
from forked import forking, workers_of

from xplain.audit.plans.plan import Plan
from xplain.audit.shards.attending import WorkerDied
from xplain.audit.shards.running import run
from xplain.audit.stores.store import Store
from xplain.core.errors import OutputError

UNFINISHED, FULL = 3, 4
STEPS = ("open", "fsync", "link", "replace", "unlink", "write")
"""Calls of the system after each of which a process is killed once: those that make, fill, flush and name a file."""


class Stage:
    """One audit, planned once, and the store of an undisturbed run of it.

    Args:
        root: Where copies of it are made.
        items: Pictures.
        shard_rows: Items of a shard.
    """

    def __init__(self, root: Path, items: int = 48, shard_rows: int = 6) -> None:
        self.root = root
        data = planted.pictures(root / "data", items)
        (data / "b" / "broken.png").write_bytes(b"\x89PNG\r\n half of a picture")
        self.plan: Plan = planted.audit(root / "fresh", data, rows=3, shard_rows=shard_rows)
        self.reference = self.copy("reference")
        started = time.monotonic()
        assert os.waitstatus_to_exitcode(os.waitpid(life(self.reference), 0)[1]) == 0
        self.span = time.monotonic() - started
        self.wanted = Store(self.reference).root()

    def copy(self, name: str) -> Path:
        """The plan once more, with nothing done."""
        return Path(shutil.copytree(self.root / "fresh", self.root / name))

    def whole(self, folder: Path) -> str:
        """What is wrong with a store; empty where it is the reference's, bit for bit, with every item once."""
        store = Store(folder)
        seen: Counter[tuple[int, str]] = Counter()
        for seal in store.seals().values():
            table = pq.read_table(io.BytesIO(store.get(seal.parts["records"])), columns=["item", "lane"])
            seen.update(zip(table["item"].to_pylist(), table["lane"].to_pylist(), strict=True))
            for name in seal.parts.values():
                store.get(name)
        wanted = {(item, lane.name) for item in range(self.plan.items.count) for lane in self.plan.lanes}
        lost, twice = wanted - set(seen), [one for one, count in seen.items() if count > 1]
        told = [f"{len(lost)} lost"] if lost else []
        told += [f"{len(twice)} doubled"] if twice else []
        told += ["other bits"] if store.root() != self.wanted else []
        return ", ".join(told)

    def blames(self, folder: Path) -> bool:
        """Whether a store differs by nothing but items that were refused because their workers were killed."""
        rows = []
        for one in (self.reference, folder):
            store = Store(one)
            parts = [io.BytesIO(store.get(seal.parts["records"])) for _, seal in sorted(store.seals().items())]
            rows.append([row for part in parts for row in pq.read_table(part).to_pylist()])
        other = [b for a, b in zip(*rows, strict=True) if a != b]
        return bool(other) and all("died, again and again" in (row["error"] or "") for row in other)


def life(folder: Path, before: Callable[[], None] = lambda: None, **how: Any) -> int:
    """A run in a process of its own, begun now; its number."""
    number = os.fork()
    if number:
        return number
    code = 9
    try:
        os.setpgid(0, 0)
        before()
        code = 0 if run(folder, **{"workers": 0, **how}).done else UNFINISHED
    except OutputError:
        code = FULL
    except WorkerDied:  # killed before it had begun, time after time
        code = UNFINISHED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(number: int, within: float) -> int | None:
    """The status of a process that ends within so many seconds; None where it does not."""
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def random_kills(stage: Stage, rng: random.Random, kills: int, seconds: float) -> Counter[str]:
    """SIGKILL a run at a random moment, begin it again, and so on until it is done; then the next."""
    told: Counter[str] = Counter()
    limit = time.monotonic() + seconds
    while told["kills"] < kills and time.monotonic() < limit:
        folder = stage.copy(f"kills-{told['audits']}")
        while True:
            number = life(folder)
            status = ended(number, rng.uniform(0, 0.7 * stage.span))
            if status is None:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
                told["kills"] += 1
                continue
            assert status == 0, status
            break
        told["audits"] += 1
        told["wrong"] += bool(stage.whole(folder))
        shutil.rmtree(folder)
    return told


def worker_kills(stage: Stage, rng: random.Random, kills: int, seconds: float) -> Counter[str]:
    """SIGKILL one of two workers, or now and then the supervisor, which its workers must not survive.

    Kills are a fifth to all of an undisturbed run apart, so that there is progress between them. An item whose
    worker is killed again and again is refused, for a run cannot know that it was somebody else: an audit that differs
    in nothing but that is counted as ``blamed``.
    """
    told: Counter[str] = Counter()
    limit = time.monotonic() + seconds
    first = stage.copy("workers")
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(life(first, forking, workers=2), 0)[1]) == 0
    span = time.monotonic() - began
    assert not stage.whole(first)
    shutil.rmtree(first)
    while told["worker kills"] + told["supervisor kills"] < kills and time.monotonic() < limit:
        folder, done = stage.copy(f"workers-{told['audits']}"), False
        while not done:
            number = life(folder, forking, workers=2)
            driver = rng.random() < 0.25
            while (status := ended(number, rng.uniform(0.2 * span, span))) is None:
                if driver:
                    os.kill(number, signal.SIGKILL)
                    os.waitpid(number, 0)
                    told["supervisor kills"] += 1
                    break
                if children := workers_of(number):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(rng.choice(children), signal.SIGKILL)
                        told["worker kills"] += 1
            assert status in (None, 0, UNFINISHED), status
            done = status == 0
        told["audits"] += 1
        fault = stage.whole(folder)
        told["blamed" if fault and stage.blames(folder) else "wrong"] += bool(fault)
        shutil.rmtree(folder)
    return told


def counted_steps(at: int, do: Callable[[], None]) -> Callable[[], None]:
    """Do something right after the ``at``-th durable step of this process; see ``STEPS``."""

    def prepare() -> None:
        count = 0

        def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*given: Any, **named: Any) -> Any:
                nonlocal count
                found = call(*given, **named)
                count += 1
                if count == at:
                    do()
                return found

            return stepped

        for name in STEPS:
            setattr(os, name, wrapped(getattr(os, name)))

    return prepare


def every_step(stage: Stage, seconds: float, stride: int = 1) -> Counter[str]:
    """Die after the first durable step, after the second ... of an audit, and begin it again each time."""
    told: Counter[str] = Counter()
    limit, at = time.monotonic() + seconds, 1
    while time.monotonic() < limit:
        folder = stage.copy(f"step-{at}")
        number = life(folder, counted_steps(at, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        if status == 0:
            shutil.rmtree(folder)
            told["all steps"] = 1
            break
        told["steps"] += 1
        assert os.waitstatus_to_exitcode(os.waitpid(life(folder), 0)[1]) == 0
        told["wrong"] += bool(stage.whole(folder))
        shutil.rmtree(folder)
        at += stride
    return told


def full_disk(stage: Stage, rng: random.Random, rounds: int) -> Counter[str]:
    """The disk is full at a random flush: the run says so, and one with room ends at the same store."""
    told: Counter[str] = Counter()

    def fill(at: int) -> Callable[[], None]:
        def prepare() -> None:
            flush, count = os.fsync, 0

            def full(number: int) -> None:
                nonlocal count
                count += 1
                if count >= at:
                    raise OSError(errno.ENOSPC, "No space left on device")
                flush(number)

            os.fsync = full

        return prepare

    for k in range(rounds):
        folder = stage.copy(f"full-{k}")
        status = os.waitstatus_to_exitcode(os.waitpid(life(folder, fill(rng.randint(1, 40))), 0)[1])
        assert status == FULL, status
        assert os.waitstatus_to_exitcode(os.waitpid(life(folder), 0)[1]) == 0
        told["full disks"] += 1
        told["wrong"] += bool(stage.whole(folder))
        shutil.rmtree(folder)
    return told


def jumping_clock(stage: Stage, rng: random.Random, rounds: int) -> Counter[str]:
    """The wall clock jumps by up to ten years either way at every look."""
    told: Counter[str] = Counter()

    def jump() -> None:
        now, now_ns = time.time, time.time_ns
        time.time = lambda: now() + rng.uniform(-3e8, 3e8)
        time.time_ns = lambda: now_ns() + int(rng.uniform(-3e17, 3e17))

    for k in range(rounds):
        folder = stage.copy(f"clock-{k}")
        assert os.waitstatus_to_exitcode(os.waitpid(life(folder, jump), 0)[1]) == 0
        told["clocks"] += 1
        told["wrong"] += bool(stage.whole(folder))
        shutil.rmtree(folder)
    return told


RANDOM, STEP, WORKERS = (
    "a run, killed at random and begun again",
    "a run, killed after each durable step",
    "one of two workers, or their supervisor, killed at random",
)
DISK, CLOCK = "a full disk at a random flush", "a wall clock that jumps by years"


def table(batches: list[dict[str, Any]]) -> str:
    """All that was counted, batch by batch and in sum."""
    sums: dict[str, Counter[str]] = {}
    for batch in batches:
        for story, told in batch["stories"].items():
            sums.setdefault(story, Counter()).update(told)
    wrong = sum(one["wrong"] for one in sums.values())
    rows = [f"| {name} | {'; '.join(f'{k}: {v}' for k, v in told.items())} |" for name, told in sums.items()]
    each = [
        f"| {one['seed']} | {one['commit']} | {one['items']} items, {one['shards']} shards "
        f"| {killed(one['stories'])} | {one['minutes']:.1f} | {one['load']:.0f} |"
        for one in batches
    ]
    head = (
        f"**{killed(sums):,} processes killed by SIGKILL; {wrong} audits that ended wrong.** *wrong*: audits whose "
        "final store is not equal, bit for bit, to that of an undisturbed run, or in which an item is lost or doubled. "
        "*blamed*: an item was refused because its worker was killed there again and again by somebody else, "
        "which a run cannot tell from an item that kills. A loss of power is not tested."
    )
    how = (
        "`nice -n 19 python benchmarks/audit/kills.py --seed SEED --out benchmarks/results`, in batches, Grad-CAM "
        "compiled and RISE driven:"
    )
    lines = ["# Audits that are killed", "", head, "", "| what happened | how often |", "|---|---|", *rows, "", how, ""]
    lines += ["| seed | commit | audit | kills | minutes | load |", "|---|---|---|---|---|---|", *each, ""]
    return "\n".join(lines)


def killed(stories: Mapping[str, Mapping[str, int]]) -> int:
    """Processes that were killed."""
    kinds = ("kills", "worker kills", "supervisor kills", "steps")
    return sum(told.get(kind, 0) for told in stories.values() for kind in kinds)


def main() -> None:
    """Tell all stories and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--worker-kills", type=int, default=40)
    parser.add_argument("--steps", type=int, default=0, help="kill after each so-many-th durable step; 0 for none")
    parser.add_argument("--disks", type=int, default=0, help="full disks")
    parser.add_argument("--clocks", type=int, default=0, help="jumping clocks")
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=20.0, help="at most, for each kind of kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rng, limit, began = random.Random(asked.seed), 60 * asked.minutes, time.monotonic()
    stories: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place), asked.items)
        for name, count, tell in (
            (RANDOM, asked.kills, lambda n: random_kills(stage, rng, n, limit)),
            (WORKERS, asked.worker_kills, lambda n: worker_kills(stage, rng, n, limit)),
            (STEP, asked.steps, lambda n: every_step(stage, limit, n)),
            (DISK, asked.disks, lambda n: full_disk(stage, rng, n)),
            (CLOCK, asked.clocks, lambda n: jumping_clock(stage, rng, n)),
        ):
            if count:
                stories[name] = tell(count)
                print(f"{name}: {dict(stories[name])}", file=sys.stderr, flush=True)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    batch = {
        "seed": asked.seed, "commit": commit.stdout.strip(), "items": stage.plan.items.count,
        "shards": len(stage.plan.shards), "minutes": (time.monotonic() - began) / 60, "load": os.getloadavg()[0],
        "stories": stories,
    }  # fmt: skip
    kept = None if asked.out is None else asked.out / "audit-kills.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.exists() else []
    text = table([*before, batch])
    print(text)
    if kept is not None:
        kept.write_text(json.dumps([*before, batch], indent=1) + "\n", encoding="utf-8")
        kept.with_suffix(".md").write_text(text, encoding="utf-8")
    if any(told["wrong"] for told in stories.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
