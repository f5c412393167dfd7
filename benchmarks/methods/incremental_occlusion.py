"""Occlusion by incremental inference against the plain way and captum.

    python benchmarks/methods/incremental_occlusion.py [NET ...] [--patch 16] [--stride 8] [--threads 1] [--rounds 3]

Per net: the scores of sampled windows by both ways are compared before anything is timed. Ours answers the whole grid,
the head of each picture included; the plain way (ONNX Runtime) and captum answer a sample that is scaled to the grid.
All sides take turns in one process. Times are CPU seconds of the process, because wall time on a shared machine
measures its other users; the wall ratio of one round is shown as well. "Share of theory" is the ratio reached over the
gain that the plan predicted. Peak memory is that of a fresh process per side. Model files (an .onnx path as NET) are
measured without captum.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

if TYPE_CHECKING:
    import torch

NETS = ("vgg16", "resnet18", "resnet50", "googlenet", "googlenet3", "mobilenetv2", "densenet121")


def net_of(name: str) -> torch.nn.Module:
    """A net of ``nets``; ``googlenet3`` has 3x3 kernels where the paper has 5x5, as torchvision's does."""
    import nets
    import torch  # not at the top: the fresh processes that measure memory must not hold it

    if name != "googlenet3":
        return nets.make(name)
    net = nets.make("googlenet")
    for parent in list(net.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Conv2d) and child.kernel_size == (5, 5):
                smaller = torch.nn.Conv2d(
                    child.in_channels, child.out_channels, 3, padding=1, bias=child.bias is not None
                )
                torch.nn.init.kaiming_normal_(smaller.weight, mode="fan_in")
                setattr(parent, child_name, smaller)
    return net.eval().requires_grad_(False)


def question(item: tuple[int, ...], patch: int, stride: int):
    """Random items, the grid of windows, and the question about them."""
    from xplain.core.edits import Windows
    from xplain.core.query import Score
    from xplain.core.target import every_score
    from xplain.methods.perturbation.windows import sliding_windows

    x = np.random.default_rng(1).standard_normal((1, *item)).astype(np.float32)
    plane = item[1:] if item[0] <= 4 else item[:2]
    boxes, _ = sliding_windows(plane, (patch, patch), (stride, stride))
    fill = np.zeros((1, 1, 1, 1), np.float32)
    return Score(x, Windows(boxes, fill), every_score), boxes, fill


def sampled(score, boxes, fill, count: int):
    """The same question about ``count`` windows of the grid, evenly spaced."""
    from dataclasses import replace

    from xplain.core.edits import Windows

    at = np.linspace(0, len(boxes) - 1, min(count, len(boxes))).astype(int)
    return replace(score, edits=Windows(np.ascontiguousarray(boxes[at]), fill)), at


def captum_run(net: torch.nn.Module, x: np.ndarray):
    """captum's Occlusion over a coarse grid, as an evaluation costs the same for any window; gives their number."""
    import torch
    from captum.attr import Occlusion

    calls = [0]
    side = max(x.shape[-1] // 5, 1)

    def forward(batch):
        calls[0] += len(batch)
        return net(batch)

    occlusion, picture = Occlusion(forward), torch.tensor(x)

    def run():
        calls[0] = 0
        with torch.no_grad():
            window = (x.shape[1], side, side)
            occlusion.attribute(picture, window, window, target=0, perturbations_per_eval=8)
        return calls[0]

    return run


def row_of(name: str, path: Path, options: argparse.Namespace) -> dict:
    import torch

    import xplain

    torch.set_num_threads(options.threads)
    ours, plain = (xplain.load(path, threads=options.threads, engine=e) for e in (options.engine, "plain"))
    score, boxes, fill = question(ours.outline.layout.item, options.patch, options.stride)
    few, at = sampled(score, boxes, fill, options.sample)
    started = time.process_time()
    whole = ours.answer(score)
    first = time.process_time() - started
    report, wanted = ours.windows, plain.answer(few)
    error = float(np.abs(whole[at] - wanted).max() / np.abs(wanted).max())
    if options.engine == "auto" and not error < 1e-5:
        raise SystemExit(f"{name}: the ways differ by {error}; nothing is timed")

    def again():  # another array object of the same content: nothing is remembered from the last time
        from dataclasses import replace

        return ours.answer(replace(score, x=score.x.copy()))

    runs = {"ours": again, "plain": lambda: plain.answer(few)}
    captum = None
    if not name.endswith(".onnx") and options.captum:
        captum = runs["captum"] = captum_run(net_of(name), score.x)
        evaluations = captum()
    walls = bench.pair(runs, 1, 0)
    times = bench.pair(runs, options.rounds, 0, clock=time.process_time)
    grid = len(boxes)
    naive = times["plain"].median * grid / len(at)
    row = {
        "net": name,
        "threads": options.threads,
        "windows": grid,
        "way": f"{report.way}, {report.squares} Winograd",
        "plain s": naive,
        "ours s": times["ours"].median,
        "ours min to max": f"{min(times['ours']):.2f} to {max(times['ours']):.2f}",
        "first run s": first,
        "against plain": naive / times["ours"].median,
        "predicted": report.gain,
        "share of theory": naive / times["ours"].median / (report.gain or 1.0),
        "wall against plain": walls["plain"].median * grid / len(at) / walls["ours"].median,
        "error": error,
    }
    if captum is not None:
        row["against captum"] = times["captum"].median / evaluations * grid / times["ours"].median
    memory = {
        side: bench.fresh_peak(__file__, "--memory", side, str(path), str(options.patch), str(options.stride))
        for side in ("plain", options.engine)
    }
    return {
        **row,
        "plain MiB": memory["plain"],
        "ours MiB": memory[options.engine],
        "memory ratio": memory[options.engine] / memory["plain"],
    }


def memory_of(side: str, path: str, patch: int, stride: int) -> None:
    """Child process: answer some windows one way and print the peak memory."""
    import xplain

    model = xplain.load(path, threads=1, engine=side)
    score, boxes, fill = question(model.outline.layout.item, patch, stride)
    if side == "plain":
        model.answer(sampled(score, boxes, fill, 13)[0])
    else:
        from dataclasses import replace

        model.answer(replace(score, part=(0, min(len(boxes), 192))))
        assert model.windows.way != "plain", model.windows.reason
    # not ru_maxrss, which a child inherits from the process that started it
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        memory_of(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=26)
    parser.add_argument("--engine", default="auto", choices=("auto", "fast"))
    parser.add_argument("--captum", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", help="Where exported nets are kept; a temporary folder by default.")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        for name in options.nets:
            path = Path(name) if name.endswith(".onnx") else folder / f"{name}-{options.size}.onnx"
            if not path.exists():
                import nets

                nets.to_onnx(net_of(name), path, options.size)
            rows.append(row_of(name, path, options))
            print(bench.table(rows[-1:]), flush=True)
    tag = f"incremental_occlusion-{options.size}-{options.patch}-{options.stride}-t{options.threads}-{options.engine}"
    bench.save(tag, rows, "CPU seconds of one process in which all sides took turns; the machine was shared.")


if __name__ == "__main__":
    bench.passive()
    main()
