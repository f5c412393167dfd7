"""Occlusion against captum, and RISE against a straightforward loop: the answers first, then time and memory.

    python benchmarks/methods/occlusion.py [--net resnet18] [--rounds 3] [--samples 1000]

Occlusion: the same windows (patch 16, stride 8, 224 x 224) on the same network; captum on the torch module, in its
faster memory format and with 32 windows per call, xplain on the ONNX export. RISE: the same number of masks; the loop
makes all masks with numpy, asks ONNX Runtime 32 at a time and multiplies scores with stored masks. Timed in turn in one
process; peak memory is that of a fresh process per side.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench
import nets

CLASS = 7
BATCH = 32
CELLS, KEEP = 7, 0.5


def picture() -> np.ndarray:
    """Smooth noise: a picture's spectrum without a picture's licence."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(1, 3, 28, 28))
    return (np.kron(coarse, np.ones((8, 8))) + 0.3 * rng.normal(size=(1, 3, 224, 224))).astype(np.float32)


def captum_occlusion(net, x, memory_format):
    import torch
    from captum.attr import Occlusion

    net = net.to(memory_format=memory_format)
    leaf = torch.from_numpy(x).to(memory_format=memory_format)
    windows = {"sliding_window_shapes": (3, 16, 16), "strides": (3, 8, 8), "perturbations_per_eval": BATCH}

    def run():
        with torch.no_grad():
            return Occlusion(net).attribute(leaf, target=CLASS, baselines=0, **windows)[0, 0].numpy()

    return run


def our_occlusion(path, x, **load):
    import xplain

    model = xplain.load(path, **load)
    return lambda: xplain.explain(model, x, "occlusion", patch=16, stride=8, target=CLASS).values[0]


def plain_rise(path, x, samples):
    """RISE as its authors' code does it: masks [M, H, W] in memory, batches, one product at the end."""
    import onnxruntime
    from skimage.transform import resize

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run():
        rng = np.random.default_rng(0)
        cell = 224 // CELLS
        masks = np.empty((samples, 224, 224), np.float32)
        for mask in masks:
            grid = (rng.random((CELLS, CELLS)) < KEEP).astype(np.float32)
            large = resize(grid, ((CELLS + 1) * cell,) * 2, order=1, mode="reflect", anti_aliasing=False)
            down, right = rng.integers(0, cell, 2)
            mask[:] = large[down : down + 224, right : right + 224]
        scores = []
        for start in range(0, samples, BATCH):
            some = x * masks[start : start + BATCH, None]
            scores.append(session.run(None, {"x": some})[0][:, CLASS])
        seen = np.concatenate(scores)
        seen -= seen.mean()  # as ours does: without it two runs hardly agree with themselves
        return (seen @ masks.reshape(samples, -1)).reshape(224, 224) / samples / KEEP

    return run


def our_rise(path, x, samples):
    import xplain

    model = xplain.load(path)
    return lambda: xplain.explain(model, x, "rise", samples=samples, cells=CELLS, keep=KEEP, target=CLASS).values[0]


def side_of(name: str, net: str, path: str, samples: int):
    """One way to run, by its name; built in the process that runs it."""
    x = picture()
    if name.startswith("captum"):
        import torch

        formats = {"captum nchw": torch.contiguous_format, "captum nhwc": torch.channels_last}
        return captum_occlusion(nets.make(net), x, formats[name])
    makers = {
        "occlusion": lambda: our_occlusion(path, x),
        "plain rise": lambda: plain_rise(path, x, samples),
        "rise": lambda: our_rise(path, x, samples),
    }
    return makers[name]()


def compare(ours: str, theirs: list[str], agree, rounds: int, net: str, path: str, samples: int) -> dict:
    runs = {name: side_of(name, net, path, samples) for name in (ours, *theirs)}
    agreement = agree(runs[ours](), runs[theirs[0]]())
    times = bench.pair(runs, rounds)
    best = min(theirs, key=lambda name: times[name].median)
    memory = {name: bench.fresh_peak(__file__, "--memory", name, net, path, str(samples)) for name in (ours, best)}
    row = {
        "method": f"{ours} {net}",
        "agreement": agreement,
        "peer": f"{best}: {times[best]}",
        "xplain": str(times[ours]),
        "ratio of medians": bench.ratio(times[ours], times[best]),
        "peer MiB": memory[best],
        "xplain MiB": memory[ours],
    }
    print(row, flush=True)
    return row


def same_numbers(ours: np.ndarray, theirs: np.ndarray) -> str:
    gap = float(np.abs(ours - theirs).max() / np.ptp(theirs))
    if not gap < 1e-3:
        raise SystemExit(f"occlusion differs from captum by {gap:.2g} of its range; nothing is timed")
    return f"max gap {gap:.1e} of range"


def same_picture(ours: np.ndarray, theirs: np.ndarray) -> str:
    correlation = float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
    if not correlation > 0.3:
        raise SystemExit(f"the two RISE maps have nothing in common (correlation {correlation:.2f}); nothing is timed")
    return f"correlation {correlation:.2f} (other masks)"


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        _, _, name, net, path, samples = sys.argv
        side_of(name, net, path, int(samples))()
        print(bench.peak_mib())
        return
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="resnet18")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(nets.to_onnx(nets.make(options.net), Path(folder) / f"{options.net}.onnx"))
        common = (options.rounds, options.net, path, options.samples)
        rows = [
            compare("occlusion", ["captum nchw", "captum nhwc"], same_numbers, *common),
            compare("rise", ["plain rise"], same_picture, *common),
        ]
    bench.save("occlusion", rows, f"patch 16, stride 8; {options.samples} RISE masks; batch {BATCH} for the peers")


if __name__ == "__main__":
    main()
