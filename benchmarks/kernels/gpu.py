"""Device kernels: checked against float64 with poisoned outputs, run twice and compared bit by bit, then timed.

    python benchmarks/kernels/gpu.py              builds with CUDA if need be; ceilings, checks and times; --save writes
    python benchmarks/kernels/gpu.py --tiny       small sizes; --sanitize runs them under each tool of compute-sanitizer
    python benchmarks/kernels/gpu.py --simulate   the same script over the fiber simulator, where there is no GPU

Ceilings (write, copy, matrix products) are measured in the same run; a kernel's floor is what its bytes or products
take at them. Sizes are several times the last-level cache, some beyond 2**31 elements. Kernels below 0.1 ms are timed
inside a CUDA graph. Last come whole explanations of a ResNet-50, beside captum and a plain torch loop.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.path.insert(1, str(ROOT / "tests"))

import bench
import gpu_order
import torch
from gpu_cases import FAMILIES, Bench, Case
from gpu_models import end_to_end

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def ceilings(b: Bench) -> dict[str, float]:
    """Bytes per second written and copied, and operations per second of matrix products, on this device now."""
    a = b.tensor(1 << (14 if b.tiny else 30))
    to = torch.empty_like(a)
    found = {
        "copy": 2 * a.nbytes / b.seconds(lambda: to.copy_(a)),
        "write": a.nbytes / b.seconds(lambda: to.fill_(1.5)),
    }
    side = 64 if b.tiny else 8192
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, dtype in (("bfloat16", torch.bfloat16), ("tf32", torch.float32)):
        m = b.tensor(side, side, dtype=dtype)
        found[name] = 2 * side**3 / b.seconds(lambda m=m: m @ m)
    return found


def poison(outputs: list[torch.Tensor]) -> None:
    for out in outputs:
        out.fill_(float("nan") if out.is_floating_point() else -1)


def measure(b: Bench, case: Case, ceiling: dict[str, float]) -> dict[str, Any]:
    """Checks twice over poisoned outputs, then times."""
    poison(case.outputs)
    case.run()
    b.wait()
    error = case.error()
    first = [out.clone() for out in case.outputs]
    poison(case.outputs)
    case.run()
    b.wait()
    same = all(torch.equal(a.nan_to_num(), c.nan_to_num()) for a, c in zip(first, case.outputs, strict=True))
    del first
    seconds, again = b.seconds(case.run), b.seconds(case.run)
    floor = case.work / ceiling[case.bound]
    row = {
        "kernel": case.name,
        "error": error,
        "holds": bool(error <= case.tolerance and same),
        "same bits": same,
        "us": seconds * 1e6,
        "us again": again * 1e6,
        "floor us": floor * 1e6,
        "share": floor / seconds,
        "wanted": case.wanted or "",
    }
    for peer in ("torch eager", "torch.compile", "torch cholesky"):
        row[f"times {peer}"] = b.seconds(case.peers[peer]) / seconds if peer in case.peers else ""
    return row


def built() -> Any:
    """The module with CUDA kernels; builds it for this device where the installed one has none."""
    from xplain import _native

    if _native.built_with_cuda:
        return _native
    if os.environ.get("XPLAIN_CUDA") == "ON":
        sys.exit("The build for CUDA gave a module without CUDA kernels.")
    major, minor = torch.cuda.get_device_capability()
    environment = {**os.environ, "XPLAIN_CUDA": "ON", "XPLAIN_CUDA_ARCHS": f"{major}{minor}-real"}
    tools = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    subprocess.run(tools, check=True, env=environment)
    return os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def sanitized() -> int:
    """The small sizes under every tool of compute-sanitizer; torch's caching allocator would hide what it looks for."""
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    failed = []
    for tool in TOOLS:
        tools = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "3", "--kernel-regex", "kns=xp"]
        run = subprocess.run([*tools, sys.executable, sys.argv[0], "--tiny"], env=environment, check=False)
        failed += [tool] if run.returncode else []
    print(f"compute-sanitizer: BAD {failed}" if failed else f"compute-sanitizer: {', '.join(TOOLS)} found nothing")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--only", default="", help="part of a family's name")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/kernels-gpu.{json,md}")
    given = parser.parse_args()
    if given.sanitize:
        return sanitized()
    if given.simulate:
        from native.simulator import Simulator, build

        b = Bench(Simulator(build()).module, "cpu", tiny=True)
    elif torch.cuda.is_available():
        b = Bench(built(), "cuda", given.tiny)
    else:
        sys.exit("There is no CUDA device. Use --simulate to run this script over the simulator.")
    torch.manual_seed(0)
    ceiling = ceilings(b)
    rows = []
    for family in (*FAMILIES, gpu_order.sums, gpu_order.graphs, gpu_order.streams):
        if given.only in family.__name__:
            for case in family(b):
                rows.append(measure(b, case, ceiling))
                print(f"{'ok ' if rows[-1]['holds'] else 'BAD'} {rows[-1]['share']:6.1%} {case.name}", flush=True)
    whole = list(end_to_end(b)) if given.only in end_to_end.__name__ else []
    device = "fiber simulator: times mean nothing" if given.simulate else torch.cuda.get_device_name()
    note = f"{device}; ceilings {', '.join(f'{k} {v:.3g}/s' for k, v in ceiling.items())}"
    for name, found in (("kernels-gpu", rows), ("models-gpu", whole)):
        if given.save and found and not given.simulate:
            bench.save(name, found, note)
        elif found:
            print(f"{bench.table(found)}\n")
    print(note)
    failed = [row["kernel"] for row in rows if not row["holds"]]
    failed += [f"{row['end to end']} by {row['way']}" for row in whole if not row["holds"]]
    print(f"BAD: {failed}" if failed else f"all {len(rows) + len(whole)} hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
