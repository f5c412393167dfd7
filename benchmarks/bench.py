"""What every benchmark shares: paired timing, memory of a fresh process, and one table with where it was measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Timing", "fresh_peak", "machine", "pair", "passive", "peak_mib", "ratio", "save", "table"]

RESULTS = Path(__file__).parent / "results"


def passive() -> None:
    """Make OpenMP threads sleep when idle: spinning ones slow every other library in the process many times over."""
    if os.environ.get("OMP_WAIT_POLICY") != "passive":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "passive"})


class Timing(list[float]):
    """Seconds of each run."""

    @property
    def median(self) -> float:
        return statistics.median(self)

    def __str__(self) -> str:
        return f"{1e3 * self.median:.1f} ms ({1e3 * min(self):.1f} to {1e3 * max(self):.1f})"


def pair(
    runs: Mapping[str, Callable[[], Any]],
    rounds: int = 5,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time several ways in turn, A B A B ..., so that a drift of the machine's speed meets all alike."""
    timings = {name: Timing() for name in runs}
    for k in range(warmup + rounds):
        for name, run in runs.items():
            start = clock()
            run()
            if k >= warmup:
                timings[name].append(clock() - start)
    return timings


def ratio(ours: Timing, theirs: Timing) -> float:
    """Median of ours over median of theirs: below 1 is faster."""
    return ours.median / theirs.median


def peak_mib() -> float:
    """Most memory this process held so far, MiB, by VmHWM: ru_maxrss of a child starts at its parent's peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status has no VmHWM; peak memory is measured on Linux")


def fresh_peak(script: str | Path, *arguments: str) -> float:
    """Peak memory in MiB that ``script`` prints as its last line when it is run in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments], check=True, capture_output=True, text=True, env={**os.environ}
    )
    return float(done.stdout.strip().splitlines()[-1])


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    found: dict[str, Any] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            found["cpu"] = line.split(":", 1)[1].strip()
            break
    for name in ("xplain", "numpy", "onnxruntime", "torch", "captum", "shap", "lime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    found["commit"] = commit.stdout.strip()
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table, columns as in the first row."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |")
    return "\n".join(lines)


def save(name: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> None:
    """Print the table, and write it with the raw rows under ``benchmarks/results``."""
    text = table(rows)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"machine": machine(), "note": note, "rows": list(rows)}, indent=1)
    )
    where = ", ".join(f"{k} {v}" for k, v in machine().items())
    (RESULTS / f"{name}.md").write_text(f"# {name}\n\n{text}\n\n{note}\n\nMeasured on: {where}.\n")


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
