"""Occlusion by incremental inference against the plain way and captum.

    python benchmarks/methods/incremental_occlusion.py [--save]
    python benchmarks/methods/incremental_occlusion.py NET ... [--size 224] [--patch 16] [--stride 8] [--threads 1]
                                                       [--engine auto] [--rounds 2]

Without a NET the whole suite is measured: every net at 224 px with windows of 16 each 8 px, then larger windows, larger
pictures, two threads, the approximate engine and a real model; ``--save`` writes ``results/incremental_occlusion``.

Per net: the scores of sampled windows by both ways are compared before anything is timed. Ours answers the whole grid,
the head of each picture included; the plain way (ONNX Runtime) and captum answer a sample that is scaled to the grid.
All sides take turns in one process. Times are CPU seconds of the process, because wall time on a shared machine
measures its other users; the ratio of wall times is shown as well. "Share of theory" is the ratio reached over the gain
that the plan predicted. Peak memory is that of a fresh process per side. Model files (an .onnx path as NET) are
measured on a picture of shared/models, without captum.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

if TYPE_CHECKING:
    import torch

NETS = ("vgg16", "resnet18", "resnet50", "googlenet", "googlenet3", "mobilenetv2", "densenet121")
NOTE = (
    "CPU seconds of one process in which all sides took turns. Plain is ONNX Runtime, on a sample of windows that is "
    "scaled to the grid. Errors are of the greatest score and, for the map of one class, of its range."
)
REAL = Path(__file__).parents[3] / "shared" / "models"


@dataclass(frozen=True)
class Case:
    """One line of the table: ``net`` is a name or the path of a model file."""

    net: str
    size: int = 224
    patch: int = 16
    stride: int = 8
    threads: int = 1
    engine: str = "auto"
    captum: bool = False
    memory: bool = False
    baseline: str = "zero"


def suite() -> list[Case]:
    """What is measured without arguments; some ten minutes on two cores."""
    light = ("resnet18", "mobilenetv2")
    cases = [Case(net, captum=True, memory=True) for net in NETS]
    cases += [Case(net, engine="fast") for net in NETS if net != "googlenet3"]
    cases += [Case(net, patch=32, stride=16) for net in (*light, "resnet50")]
    cases += [Case(net, size=448, patch=32, stride=16) for net in light]
    cases += [Case(net, threads=2) for net in light]
    real = REAL / "imagenet" / "mobilenetv2_imagenet1001_fp32.onnx"
    if real.exists():
        cases += [Case(str(real), patch=patch, stride=patch // 2) for patch in (16, 32)]
        cases += [Case(str(real), patch=16, stride=8, baseline="picture")]
    return cases


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


def question(case: Case, item: tuple[int, ...]):
    """An item, the grid of windows, and the question about them."""
    from xplain.core.edits import Windows
    from xplain.core.query import Score
    from xplain.core.target import every_score
    from xplain.explainers.design.windows import sliding_windows

    if case.net.endswith(".onnx") and REAL.exists():
        from PIL import Image

        with Image.open(REAL / "images" / "coral_cat_720p.jpg") as file:
            pixels = np.asarray(file.convert("RGB").resize((item[2], item[1])), np.float32)
        x = np.ascontiguousarray(((pixels - 127.5) / 127.5).transpose(2, 0, 1)[None])
    else:
        x = np.random.default_rng(1).standard_normal((1, *item)).astype(np.float32)
    plane = item[1:] if item[0] <= 4 else item[:2]
    boxes, _ = sliding_windows(plane, (case.patch, case.patch), (case.stride, case.stride))
    fill = np.zeros((1, 1, 1, 1), np.float32) if case.baseline == "zero" else np.ascontiguousarray(x[..., ::-1])
    return Score(x, Windows(boxes, fill), every_score), boxes, fill


def sampled(score, boxes, fill, count: int):
    """The same question about ``count`` windows of the grid, evenly spaced."""
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


def ranks(values: np.ndarray) -> np.ndarray:
    """Place of each value in their order."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


def row_of(case: Case, path: Path, rounds: int, sample: int) -> dict:
    import xplain

    ours, plain = (xplain.load(path, threads=case.threads, engine=e) for e in (case.engine, "plain"))
    score, boxes, fill = question(case, ours.outline.layout.item)
    real = case.net.endswith(".onnx")
    few, at = sampled(score, boxes, fill, len(boxes) if real else sample)
    started = time.process_time()
    whole = ours.answer(score)
    first = time.process_time() - started
    report, wanted = ours.windows, plain.answer(few)
    error = float(np.abs(whole[at] - wanted).max() / np.abs(wanted).max())
    if case.engine == "auto" and not error < 1e-5:
        raise SystemExit(f"{case.net}: the ways differ by {error}; nothing is timed")
    best = int(wanted.mean(0).argmax())
    got, want = whole[at, best], wanted[:, best]  # the map of one class
    few, at = sampled(score, boxes, fill, sample)

    def again():  # another array object of the same content: nothing is remembered from the last time
        return ours.answer(replace(score, x=score.x.copy()))

    runs = {"ours": again, "plain": lambda: plain.answer(few)}
    if case.captum:
        import torch

        torch.set_num_threads(case.threads)
        runs["captum"] = captum_run(net_of(case.net), score.x)
        evaluations = runs["captum"]()
    times, walls = pair_both(runs, rounds)
    grid = len(boxes)
    naive = times["plain"].median * grid / len(at)
    row = {
        "net": path.stem if real else case.net,
        "px": ours.outline.layout.item[1] if real else case.size,
        "windows": f"{case.patch}/{case.stride}" + ("" if case.baseline == "zero" else " picture"),
        "threads": case.threads,
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
        "map error": float(np.abs(got - want).max() / np.ptp(want)),
        "rank correlation": float(np.corrcoef(ranks(got), ranks(want))[0, 1]),
        "against captum": times["captum"].median / evaluations * grid / times["ours"].median if case.captum else "",
    }
    memory = {}
    if case.memory:
        for side in ("plain", case.engine):
            memory[side] = bench.fresh_peak(__file__, "--memory", side, str(path), str(case.patch), str(case.stride))
    ratio = memory[case.engine] / memory["plain"] if memory else ""
    return {**row, "plain MiB": memory.get("plain", ""), "ours MiB": memory.get(case.engine, ""), "memory": ratio}


def pair_both(runs: dict, rounds: int) -> tuple[dict[str, bench.Timing], dict[str, bench.Timing]]:
    """CPU and wall seconds of the same runs, all sides in turn."""
    times: tuple[dict, dict] = ({name: bench.Timing() for name in runs}, {name: bench.Timing() for name in runs})
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time(), time.perf_counter()
            run()
            times[0][name].append(time.process_time() - started[0])
            times[1][name].append(time.perf_counter() - started[1])
    return times


def memory_of(side: str, path: str, patch: int, stride: int) -> None:
    """Child process: answer some windows one way and print the peak memory."""
    import xplain

    model = xplain.load(path, threads=1, engine=side)
    score, boxes, fill = question(Case("", patch=patch, stride=stride), model.outline.layout.item)
    if side == "plain":
        model.answer(sampled(score, boxes, fill, 13)[0])
    else:
        model.answer(replace(score, part=(0, min(len(boxes), 192))))
        assert model.windows.way != "plain", model.windows.reason
    print(bench.peak_mib())


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        memory_of(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", help="Names of nets or paths of model files; the whole suite by default.")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sample", type=int, default=26)
    parser.add_argument("--engine", default="auto", choices=("auto", "fast"))
    parser.add_argument("--captum", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--folder", help="Where exported nets are kept; a temporary folder by default.")
    parser.add_argument("--save", action="store_true", help="Write the table to benchmarks/results.")
    given = parser.parse_args()
    cases = suite()
    if given.nets:
        shape = given.size, given.patch, given.stride, given.threads, given.engine
        cases = [Case(net, *shape, given.captum and not net.endswith(".onnx"), memory=True) for net in given.nets]
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            path = Path(case.net) if case.net.endswith(".onnx") else folder / f"{case.net}-{case.size}.onnx"
            if not path.exists():
                import nets

                nets.to_onnx(net_of(case.net), path, case.size)
            rows.append(row_of(case, path, given.rounds, given.sample))
            table = bench.table(rows).splitlines()
            print("\n".join(table if len(rows) == 1 else table[-1:]), flush=True)
            if given.save:  # after each, so that what was measured is not lost
                bench.save("incremental_occlusion", rows, NOTE)


if __name__ == "__main__":
    bench.passive()
    main()
