"""CPU kernels against the numpy and torch one-liners: the answer is compared first, then both are timed in pairs.

    python benchmarks/kernels/cpu.py [--threads 1] [--rounds 9] [--save]

Times are of the thread alone when one thread is used, so that a busy machine disturbs them less. ``floor ms`` is what
the bytes that a kernel must read and write take at the rate of a plain copy (of a plain fill where it only writes),
measured in the same run; ``share`` is floor over time. Fills pass a share of 1, since they write past the caches and
the plain fill does not.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import bench

H = W = 224
EDITS = 256


def fills(torch, native, options):
    from xplain.core.edits import Coalitions, Ranked, SoftGrid, Windows

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, H, W)).astype(np.float32)
    zero = np.zeros((1, 1, 1, 1), np.float32)
    out = np.empty((EDITS, 3, H, W), np.float32)
    tx = torch.from_numpy(x)
    yy, xx = torch.arange(H)[:, None], torch.arange(W)[None]

    corner = rng.integers(0, H - 32, (EDITS, 2))
    boxes = np.concatenate([corner, corner + 32], axis=1).astype(np.int32)
    tb = torch.from_numpy(boxes)[:, :, None, None]

    def by_windows():
        return torch.where(((yy >= tb[:, 0]) & (yy < tb[:, 2]) & (xx >= tb[:, 1]) & (xx < tb[:, 3]))[:, None], 0.0, tx)

    labels = rng.integers(0, 50, (H // 8, W // 8)).repeat(8, 0).repeat(8, 1).astype(np.int32)
    keep = rng.integers(0, 2, (EDITS, 50)).astype(np.uint8)
    tk, tl = torch.from_numpy(keep).bool(), torch.from_numpy(labels).long()

    rank = rng.permutation(H * W).astype(np.int32).reshape(H, W)
    counts = np.linspace(0, H * W, EDITS).astype(np.int64)
    tr, tc = torch.from_numpy(rank), torch.from_numpy(counts)

    grid = SoftGrid(1, EDITS, (7, 7), 0.5, zero)
    cells, shifts = native.soft_grid_cells(1, 0, EDITS, (7, 7), 0.5, (H, W))
    tg = torch.from_numpy(cells).float()[:, None]

    def by_grids():
        large = torch.nn.functional.interpolate(tg, size=(8 * 32, 8 * 32), mode="bilinear", align_corners=False)
        return tx * torch.stack([large[m, :, y : y + H, c : c + W] for m, (y, c) in enumerate(shifts.tolist())])

    cases = {
        "fill windows": (Windows(boxes, zero), by_windows),
        "fill coalitions": (Coalitions(labels, keep, zero), lambda: torch.where(tk[:, tl][:, None], tx, 0.0)),
        "fill soft grids": (grid, by_grids),
        "fill ranks": (Ranked(rank, counts, zero), lambda: torch.where((tr >= tc[:, None, None])[:, None], tx, 0.0)),
    }
    for name, (edits, eager) in cases.items():
        native.fill(x, edits, 0, EDITS, out, **options)
        assert np.abs(out - eager().numpy()).max() < 1e-5, name
        yield (
            f"{name} {EDITS}x3x{H}x{W}",
            {"xplain": lambda e=edits: native.fill(x, e, 0, EDITS, out, **options), "torch eager": eager},
            5.0,
            ("write", out.nbytes),
        )


def rank(torch, native, options):
    values = np.random.default_rng(2).standard_normal((1, H * W)).astype(np.float32)

    def by_argsort():
        order = np.argsort(-values[0], kind="stable")
        places = np.empty(H * W, np.int32)
        places[order] = np.arange(H * W, dtype=np.int32)
        return places

    assert np.array_equal(native.rank(values)[0], by_argsort())
    contestants = {"xplain": lambda: native.rank(values, **options), "stable argsort": by_argsort}
    yield f"rank {H}x{W}", contestants, 6.0, ("copy", 2 * values.nbytes)


def sums(torch, native, options):
    from xplain.core.edits import SoftGrid, Windows

    zero, samples = np.zeros((1, 1, 1, 1), np.float32), 2000
    rng = np.random.default_rng(3)
    edits = SoftGrid(5, samples, (7, 7), 0.5, zero)
    masks = np.empty((samples, 1, H, W), np.float32)
    native.fill(np.ones((1, 1, H, W), np.float32), edits, 0, samples, masks)
    stored = masks.reshape(samples, -1)
    for kinds, wanted in ((1, 8.0), (10, None)):
        weights = rng.standard_normal((1, samples, kinds))
        narrow = weights[0].T.astype(np.float32)
        got = native.accumulate(edits, weights, (H, W), **options)[0].reshape(kinds, -1)
        assert np.abs(got - narrow @ stored).max() < 1e-3
        yield (
            f"sum of {samples} soft grids, {kinds} kinds",
            {
                "xplain": lambda w=weights: native.accumulate(edits, w, (H, W), **options),
                "product with stored masks": lambda n=narrow: n @ stored,
            },
            wanted,
            ("copy", weights.nbytes + 8 * kinds * H * W),
        )
    boxes = np.sort(rng.integers(0, H, (EDITS, 2, 2)), axis=1).reshape(EDITS, 4).astype(np.int32)
    weights = rng.standard_normal((1, EDITS))

    def by_slices():
        total = np.zeros((H, W), np.float32)
        for (y0, x0, y1, x1), w in zip(boxes, weights[0], strict=True):
            total[y0:y1, x0:x1] += w
        return total

    windows = Windows(boxes, zero)
    assert np.abs(native.accumulate(windows, weights, (H, W))[0] - by_slices()).max() < 1e-4
    yield (
        f"sum of {EDITS} windows",
        {"xplain": lambda: native.accumulate(windows, weights, (H, W), **options), "numpy slices": by_slices},
        None,
        ("copy", boxes.nbytes + weights.nbytes + 8 * H * W),
    )


def numbers(torch, native, options):
    """What an audit tells of maps, and keeps of them."""
    maps = (np.random.default_rng(4).standard_normal((13, H * W)) ** 3).astype(np.float32)
    rows, columns = (np.linspace(0, 1, 3 * n).reshape(3, n) for n in (H, W))
    weights = (2 * np.arange(1, H * W + 1) - H * W - 1) / (H * W)

    def by_numpy():
        sizes = np.abs(maps)
        scale, mass = sizes.max(axis=1), sizes.sum(axis=1, dtype=np.float64)
        shares = (sizes / mass[:, None]).astype(np.float32)
        gini = (np.sort(shares, axis=1) * weights).sum(axis=1)
        entropy = -(shares * np.log(np.maximum(shares, 1e-38))).sum(axis=1, dtype=np.float64)
        parts = rows @ sizes.reshape(-1, H, W) @ columns.T
        place, total = sizes.argmax(axis=1), maps.sum(axis=1, dtype=np.float64)
        return (maps / scale[:, None]).astype(np.float16), scale, total, mass, gini, entropy, place, parts

    laid = maps.reshape(13, 1, H, W)
    for ours, theirs in zip(native.describe(laid, rows, columns), by_numpy(), strict=True):
        assert np.allclose(ours.reshape(theirs.shape), theirs, rtol=1e-4)
    contestants = {"xplain": lambda: native.describe(laid, rows, columns, **options), "passes of numpy": by_numpy}
    yield f"numbers of 13 maps {H}x{W}", contestants, 5.0, ("copy", maps.nbytes + maps.nbytes // 2)


def ceilings(clock, threads):
    """Bytes per second of a copy and of a fill of 256 MiB, by as many threads as the kernels have."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.ones(1 << 26), torch.ones(1 << 26)
    runs = {"copy": lambda: b.copy_(a), "write": lambda: b.fill_(2.0)}
    times = bench.pair(runs, rounds=9, clock=clock)
    return {"copy": 2 * a.nbytes / times["copy"].median, "write": b.nbytes / times["write"].median}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="part of a family's name")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/kernels-cpu.{json,md}")
    given = parser.parse_args()
    wanted_threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(given.threads))
    if any(os.environ.get(name) != value for name, value in wanted_threads.items()):
        os.environ.update(wanted_threads)  # libraries read these when they are loaded
        os.execv(sys.executable, [sys.executable, *sys.argv])

    import torch

    from xplain import native

    clock = time.thread_time if given.threads == 1 else time.perf_counter
    rates = ceilings(clock, given.threads)
    rows = []
    for family in (fills, rank, sums, numbers):
        if given.only not in family.__name__:
            continue
        for name, contestants, wanted, (bound, size) in family(torch, native, {"threads": given.threads}):
            times = bench.pair(contestants, rounds=given.rounds, clock=clock)
            ours, *others = times
            floor = size / rates[bound]
            for other in others:
                faster = 1 / bench.ratio(times[ours], times[other])
                rows.append(
                    {
                        "kernel": name,
                        "xplain": str(times[ours]),
                        "against": other,
                        "theirs": str(times[other]),
                        "times faster": faster,
                        "wanted": wanted if wanted and other == others[0] else "",
                        "MB": size / 1e6,
                        "floor ms": 1e3 * floor,
                        "share": floor / times[ours].median,
                    }
                )
                print(f"{name:48s} {faster:6.1f} times {other}", file=sys.stderr, flush=True)
    note = f"{given.threads} thread(s), medians of {given.rounds} paired rounds (range), answers compared first; "
    note += ", ".join(f"{name} {rate / 1e9:.2f} GB/s" for name, rate in rates.items()) + "."
    if given.save:
        bench.save("kernels-cpu", rows, note)
    else:
        print(f"{bench.table(rows)}\n\n{note}\n{bench.machine()}\n{native.status()}")
    missed = [row["kernel"] for row in rows if row["wanted"] and row["times faster"] < row["wanted"]]
    if missed:
        print(f"Below what is wanted: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
