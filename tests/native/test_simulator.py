"""The simulator itself: planted bugs are caught, and the kernels run clean under sanitizers and shuffled schedules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from native.simulator import ROOT, Simulator, build

from xplain import _native
from xplain.native import reference


class Bug(NamedTuple):
    """What stands in a file, what a tired hand would have written instead, and the run that must go wrong."""

    file: str
    right: str
    wrong: str
    run: str


_A_ROW = "(row0 + i * 16 + lane % 16) * kPitch"
BUGS = {
    "cells read before they are drawn": Bug("edit_runs.h", "    sync_block();\n  }", "  }", "grid"),
    "shift of the mask forgotten": Bug("edit_runs.h", "r.x + static_cast<int32_t>(of_edit[1])", "r.x", "grid"),
    "every second word not reloaded": Bug("occlude.cu", "if (m % 32 == 0", "if (m % 64 == 0", "coalitions"),
    "patch mirrored before it is whole": Bug(
        "gram.cu", "sync_block();\n  const int64_t row", "const int64_t row", "gram"
    ),
    "stage overwritten while in use": Bug("gram.cu", "    sync_block();  // this stage", "    // this stage", "gram"),
    "copies not waited for": Bug("gram.cu", "wait_copies<stages - 2>()", "wait_copies<stages - 1>()", "gram"),
    "tile off by one row": Bug("gram.cu", _A_ROW, _A_ROW.replace("% 16)", "% 16 + 1)"), "gram"),
    "wrong half of a fragment": Bug("gram.cu", "lane / 8 % 2 * 16);", "lane / 16 * 16);", "gram"),
    "digits counted unstably": Bug("rank.cu", "t * kDigits + k] = sum", "k * kThreads + t] = sum", "rank"),
    "elements moved before all are counted": Bug(
        "rank.cu", "    sync_block();\n    uint32_t* swapped", "    uint32_t* swapped", "rank"
    ),
    "largest weight read before all have looked": Bug(
        "accumulate.cu", "largest[t] = own;\n  sync_block();", "largest[t] = own;", "sums of coalitions"
    ),
    "sums not cleared": Bug("accumulate.cu", "{ sums[i] = 0; }", "{ sums[i] &= 1; }", "sums of coalitions"),
    # threads of the simulator change places at barriers alone, so that an atomic becomes a store and not a += here
    "last of 32 edits wins instead of adding": Bug(
        "accumulate.cu", "add_shared(s.of(plane) + feature, sum);", "s.of(plane)[feature] = sum;", "sums of coalitions"
    ),
    "running totals changed while they are read": Bug(
        "accumulate.cu", "    sync_block();\n    totals[t] += before;", "    totals[t] += before;", "sums of windows"
    ),
    "running totals short of the first": Bug("accumulate.cu", "t >= step ?", "t > step ?", "sums of windows"),
    "one plane too few for a drawn cell": Bug(
        "accumulate.cu",
        "plane < min64(first + kPlanesPerThread,",
        "plane < min64(first + kPlanesPerThread - 1,",
        "sums of grids",
    ),
}


def run_grid(module):
    case = next(c for c in reference.edit_cases() if c.name == "NCHW-2x3x16x40-soft-grid")
    out = np.full((2 * case.edits.count, *case.x.shape[1:]), np.nan, np.float32)
    fill = np.broadcast_to(case.edits.fill, case.x.shape)
    grid = (case.edits.seed, case.edits.first, *case.edits.cells, case.edits.keep)
    module.occlude_soft_grid(case.x, fill, None, None, out, grid, samples=case.edits.count, start=0)
    return np.array_equal(out, reference.fill(case.x, case.edits, case.layout))


def run_coalitions(module):
    # so many edits that a block writes more than a word's 32 of them
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((1, 1, 2, 3)).astype(np.float32), np.int32([[[0, 1, 2], [3, -1, 0]]])
    keep = rng.integers(0, 2, (1, 70_000, 4)).astype(np.uint8)
    out = np.full((keep.shape[1], 1, 2, 3), np.nan, np.float32)
    module.occlude_coalitions(x, x * 0, None, None, out, labels, keep, samples=keep.shape[1], start=0)
    kept = np.where(labels < 0, 1, keep[0][:, labels[0]])
    return np.array_equal(out[:, 0], np.where(kept, x[0], 0))


def run_gram(module):
    rng = np.random.default_rng(0)
    f = (np.maximum(rng.standard_normal((130, 1000)), 0) + 0.1).astype(np.float16)
    gram = np.full((130, 130), np.nan, np.float32)
    workspace = np.full(module.gram_workspace([f], [gram], [1.0], tile=64), np.nan, np.float32)
    module.gram([f], [gram], [1.0], workspace, tile=64, precision=0)
    exact = f.astype(np.float64) @ f.astype(np.float64).T
    return bool(np.linalg.norm(gram - exact) < 1e-5 * np.linalg.norm(exact))


def run_rank(module):
    values = np.random.default_rng(0).choice(np.float32([0.5, -1, 2, 0, 3]), (2, 3000))
    rank = np.full(values.shape, -1, np.int32)
    module.rank(values, rank, None)
    return np.array_equal(rank, reference.rank(values))


def sums_hold(module, name, weights, plane, *arrays, **options):
    """Whether the device's sums have the bits of the CPU's; the simulator's workspace comes with rubbish in it."""
    out, expected = np.empty((2, weights.shape[0], weights.shape[2], *plane))
    getattr(module, name)(weights, out, *arrays, **options)
    getattr(_native, name)(weights, expected, *arrays, **options)
    return np.array_equal(out, expected)


def many_sizes(rng, *shape):
    return rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 9, shape)


def run_sums_of_windows(module):
    rng = np.random.default_rng(1)
    boxes = np.sort(rng.integers(-5, 400, (2, 90, 2, 2)), axis=2).reshape(2, 90, 4).astype(np.int32)
    return sums_hold(module, "accumulate_windows", many_sizes(rng, 2, 90, 2), (4, 300), boxes)


def run_sums_of_coalitions(module):
    rng = np.random.default_rng(2)
    labels, keep = rng.integers(-1, 5, (2, 6, 7)).astype(np.int32), rng.integers(0, 2, (2, 300, 5)).astype(np.uint8)
    return sums_hold(module, "accumulate_coalitions", many_sizes(rng, 2, 300, 2), (6, 7), labels, keep)


def run_sums_of_grids(module):
    weights = many_sizes(np.random.default_rng(3), 3, 40, 3)  # more planes than share a draw
    return sums_hold(module, "accumulate_soft_grid", weights, (12, 15), (7, 0, 3, 4, 0.5), squared=True)


RUNS = {
    "grid": run_grid,
    "coalitions": run_coalitions,
    "gram": run_gram,
    "rank": run_rank,
    "sums of windows": run_sums_of_windows,
    "sums of coalitions": run_sums_of_coalitions,
    "sums of grids": run_sums_of_grids,
}


def holds(module, run):
    """Whether the result is right under the orderly schedule and several shuffled ones; a reported error is not."""
    try:
        for seed in (0, 1, 2, 3):
            module.set_schedule(seed)
            if not RUNS[run](module):
                return False
    except (RuntimeError, IndexError) as error:
        assert "simulator" in str(error)  # noqa: PT017 the simulator's own report, not an accident
        return False
    finally:
        module.set_schedule(0)
    return True


@pytest.mark.parametrize("run", RUNS)
def test_kernels_hold_under_shuffled_schedules(simulator, run):
    assert holds(simulator, run)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_caught(tmp_path, name):
    bug = BUGS[name]
    source = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", source)
    file = source / "kernels" / bug.file
    assert file.read_text().count(bug.right) == 1, f"the place to plant {name!r} has moved"
    file.write_text(file.read_text().replace(bug.right, bug.wrong))
    # in a process of its own: a bug may well write where it should not
    script = "import sys; from native import test_simulator as t; sys.exit(t.judge(sys.argv[1], sys.argv[2]))"
    done = subprocess.run([sys.executable, "-c", script, str(build(source=source)), bug.run], env=environment())
    assert done.returncode != 0


def judge(module, run):
    """0 when the module's results hold."""
    return 0 if holds(Simulator(Path(module)), run) else 1


def environment(**more):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), **more}


@pytest.mark.slow
def test_kernels_are_clean_under_address_and_undefined_behaviour_sanitizers(tmp_path):
    """The whole case list again in a process of its own, as the sanitizer has to be loaded first."""
    module = build("address,undefined")
    compiler = os.environ.get("CXX", "g++")
    libraries = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    report = tmp_path / "report"
    chosen = ["-m", "not slow", "-k", "simulator", "tests/native"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *chosen],
        cwd=ROOT,
        env=environment(
            XPLAIN_SIMULATOR=str(module),
            LD_PRELOAD=" ".join(libraries),
            # leaks: Python keeps much on purpose; stacks: the simulator switches them by hand
            ASAN_OPTIONS=f"detect_leaks=0:detect_stack_use_after_return=0:log_path={report}",
            UBSAN_OPTIONS=f"print_stacktrace=1:log_path={report}",
            PYTHONMALLOC="malloc",
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    found = "".join(path.read_text() for path in tmp_path.glob("report*"))
    assert done.returncode == 0, found or done.stdout[-3000:]
