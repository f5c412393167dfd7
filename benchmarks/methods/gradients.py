"""Input gradients on the bare ONNX graph against torch autograd.

    python benchmarks/methods/gradients.py [NET ...] [--batch 1 8] [--rounds 5]

Both sides compute d logit / d input for one class per picture. torch has frozen parameters and the faster of its two
memory formats; the answers are compared (correlation with torch) before anything is timed. The two are timed in turn in
one process. Peak memory is that of a fresh process per side, loading included; ours does not import torch. "gradient
file ratio": size of the standalone file that returns the gradient (``xplain.compile``, saliency) over the model's.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

NETS = ("vgg16", "resnet50", "mobilenetv2", "vit_b16")


def torch_gradient(net, x, classes, memory_format):
    import torch

    net = net.to(memory_format=memory_format)
    leaf = torch.tensor(x).to(memory_format=memory_format)
    index = torch.arange(len(x)), torch.tensor(classes)

    def run():
        with torch.enable_grad():
            point = leaf.detach().requires_grad_()
            return torch.autograd.grad(net(point)[index].sum(), point)[0].numpy()

    return run


def ours(path, x, classes):
    import xplain
    from xplain.core.query import Sweep
    from xplain.core.rules import Rules

    model = xplain.load(path)
    query = Sweep(x[:, None], xplain.label([int(c) for c in classes]), Rules())
    return lambda: model.answer(query)["input"][1]


def inputs(batch):
    draws = np.random.default_rng(0)
    return draws.normal(size=(batch, 3, 224, 224)).astype(np.float32), draws.integers(1000, size=batch)


def memory_of(side: str, name: str, batch: int, path: str) -> None:
    """Child process: run one side a few times and print its peak memory."""
    x, classes = inputs(batch)
    if side == "torch":
        import nets
        import torch

        run = torch_gradient(nets.make(name), x, classes, torch.contiguous_format)
    else:
        run = ours(path, x, classes)
    for _ in range(3):
        run()
    print(bench.peak_mib())


def compiled(path: Path) -> tuple[float, float]:
    """Seconds to compile saliency into the model, and the size of what comes out over that of the model."""
    import xplain

    model = xplain.load(path)
    started = time.perf_counter()
    size = xplain.compile(model, method="saliency").ByteSize()
    return time.perf_counter() - started, size / path.stat().st_size


def row_of(name: str, batch: int, rounds: int, folder: Path) -> dict:
    import nets
    import torch

    path = folder / f"{name}.onnx"
    if not path.exists():
        nets.to_onnx(nets.make(name), path)
    x, classes = inputs(batch)
    started = time.perf_counter()
    run = ours(path, x, classes)
    first = run()
    ready = time.perf_counter() - started
    formats = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
    theirs = {key: torch_gradient(nets.make(name), x, classes, value) for key, value in formats.items()}
    reference = theirs["nchw"]()
    correlation = float(np.corrcoef(first.reshape(-1), reference.reshape(-1))[0, 1])
    if not correlation > 0.999:
        raise SystemExit(f"{name}: the gradients differ (correlation {correlation}); nothing is timed")
    times = bench.pair({"ours": run, **theirs}, rounds)
    best = min(("nchw", "nhwc"), key=lambda key: times[key].median)
    del run, theirs
    seconds, growth = compiled(path)
    memory = {
        side: bench.fresh_peak(__file__, "--memory", side, name, str(batch), str(path)) for side in ("torch", "ours")
    }
    return {
        "net": name,
        "batch": batch,
        "1 - correlation": 1 - correlation,
        "torch": f"{times[best]} {best}",
        "xplain": str(times["ours"]),
        "ratio": bench.ratio(times["ours"], times[best]),
        "load and build s": ready,
        "torch MiB": memory["torch"],
        "xplain MiB": memory["ours"],
        "memory ratio": memory["ours"] / memory["torch"],
        "model MiB": path.stat().st_size / 2**20,
        "compile s": seconds,
        "gradient file ratio": growth,
    }


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        memory_of(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row_of(n, b, options.rounds, Path(folder)) for n in options.nets for b in options.batch]
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    command = f"python benchmarks/methods/gradients.py {' '.join(options.nets)}"
    command += f" --batch {' '.join(map(str, options.batch))} --rounds {options.rounds}"
    bench.save(
        "gradients",
        rows,
        f"Geometric mean of the time ratios: {mean:.2f}. Ratios are medians, ours over torch's. Load, build and "
        f"compile times are single. Reproduce: `{command}`.",
    )
    print(f"reproduce: {command}")
    print(f"geometric mean of ratios: {mean:.3f}")


if __name__ == "__main__":
    bench.passive()
    main()
