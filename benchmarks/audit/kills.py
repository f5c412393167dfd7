"""Kills audits at random, at every durable step, on a full disk and under jumping clocks, and compares what is left.

    nice -n 19 python benchmarks/audit/kills.py [--kills 1000] [--worker-kills 40] [--out benchmarks/results]

Each life of a run is a process that was forked with everything imported, so that it is killed while it works rather
than while it starts. The reference is a run that nobody disturbs. What is claimed after each story: the store is equal
to the reference bit for bit, and every item stands in it once per lane. SIGKILL does not test a loss of power: that
files are flushed before they are named is seen in the order of the calls.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "audit")]

import planted
import pyarrow.parquet as pq

from xplain.audit.attending import WorkerDied
from xplain.audit.plans import Plan
from xplain.audit.running import run
from xplain.audit.store import Store
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
    """SIGKILL one of two workers, or now and then the supervisor, which its workers must not survive."""
    told: Counter[str] = Counter()
    limit = time.monotonic() + seconds
    while told["worker kills"] + told["supervisor kills"] < kills and time.monotonic() < limit:
        folder = stage.copy(f"workers-{told['audits']}")
        while True:
            number = life(folder, workers=2)
            driver = rng.random() < 0.25
            while (status := ended(number, rng.uniform(0.1, 3))) is None:
                if driver:
                    os.kill(number, signal.SIGKILL)
                    os.waitpid(number, 0)
                    told["supervisor kills"] += 1
                    break
                children = subprocess.run(["pgrep", "-P", str(number)], capture_output=True, text=True).stdout.split()
                if children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(rng.choice(children)), signal.SIGKILL)
                        told["worker kills"] += 1
            if status is not None and status != UNFINISHED:
                assert status == 0, status
                break
        told["audits"] += 1
        told["wrong"] += bool(stage.whole(folder))
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


def main() -> None:
    """Tell all stories and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--worker-kills", type=int, default=40)
    parser.add_argument("--stride", type=int, default=1, help="durable steps between two that are tried")
    parser.add_argument("--rounds", type=int, default=20, help="full disks and jumping clocks")
    parser.add_argument("--minutes", type=float, default=20.0, help="at most, for each kind of kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rng, limit = random.Random(asked.seed), 60 * asked.minutes
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        stories = {
            "a run, killed at random": random_kills(stage, rng, asked.kills, limit),
            "a run, killed after each durable step": every_step(stage, limit),
            "one of two workers, or their supervisor, killed at random": worker_kills(
                stage, rng, asked.worker_kills, limit
            ),
            "a full disk at a random flush": full_disk(stage, rng, 20),
            "a wall clock that jumps by years": jumping_clock(stage, rng, 5),
        }
        rows = [f"| {name} | {'; '.join(f'{k}: {v}' for k, v in told.items())} |" for name, told in stories.items()]
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    command = " ".join(["python", "benchmarks/audit/kills.py", *sys.argv[1:]])
    about = (
        f"`{command}`, commit {commit.stdout.strip()}; {stage.plan.items.count} items, {len(stage.plan.shards)} shards "
        f"and {len(stage.plan.lanes)} lanes. *wrong*: audits whose final store is not equal, bit for bit, to that of "
        "an undisturbed run, or in which an item is lost or stands twice."
    )
    lines = [
        "# Audits that are killed",
        "",
        about,
        "",
        "| what happened | how often |",
        "|---|---|",
        *rows,
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if asked.out is not None:
        (asked.out / "audit-kills.md").write_text(text, encoding="utf-8")
    if any(told["wrong"] for told in stories.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
