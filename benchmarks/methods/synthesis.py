"""One step of a class picture against a torch loop on the same weights.

    python benchmarks/methods/synthesis.py [NET ...] [--rounds 21]

The peer is the loop that lucent and its like run: Fourier coefficients by ``irfft2``, decorrelated colours, a sigmoid,
a shift by whole pixels, the net, ``backward`` and ``torch.optim.Adam``. Ours is the recipe's own way: a question
through the engine, a canvas of cosines seen through a shifted view, and Adam. Before anything is timed the gradients by
the pixels of one picture are compared. Both run on one thread, in turn in one process; medians of processor time.
"outside the model": what a step of ours takes beyond the bare sweep of the same net; "products alone": the four matrix
products of the canvas, forward and backward, as a share of the step, timed by themselves in the same runtime.
Peak memory is that of a fresh process per side, loading included; ours does not import torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

NETS = ("mobilenetv2", "resnet18")
SIDE, LABEL = 224, 7
WHY = (
    "Of a step with MobileNetV2 the canvas' four products of 3 x 224 x 224 x 224 are 0.27 GFLOP beside some 1.2 "
    "of the sweep (0.3 G multiplications forward, as many back), and run at the core's peak: what they leave of a"
    " tenth, Adam, colours, cosines and Python take and more. Less arithmetic is no less time: cosines shifted by"
    " parts of a pixel keep the symmetry of half a period alone, which saves a quarter of a product and took 0.33"
    " ms for its 0.32, and scipy's cosine transform, for shifts by whole pixels, 0.44 ms for the 0.61 of two "
    "products, outside of the graph."
)


def torch_loop(net: Any) -> Callable[[], None]:
    """A step of the peer."""
    import torch

    from xplain.core.synthesis.canvas import COLOURS

    half = SIDE // 2 + 1
    scale = 1 / torch.clamp(
        torch.sqrt(torch.fft.fftfreq(SIDE)[:, None] ** 2 + torch.fft.rfftfreq(SIDE)[None] ** 2), 1 / SIDE
    )
    state = (torch.randn(1, 3, SIDE, half, 2) * 0.01).requires_grad_()
    colours, optimiser = torch.tensor(COLOURS), torch.optim.Adam([state], 0.05)
    draws = np.random.default_rng(0)

    def step() -> None:
        planes = torch.fft.irfft2(torch.view_as_complex(state) * scale, s=(SIDE, SIDE), norm="ortho")
        picture = torch.sigmoid(torch.einsum("ab,nbhw->nahw", colours, planes))
        picture = torch.roll(picture, tuple(draws.integers(-8, 9, 2).tolist()), (2, 3))
        optimiser.zero_grad()
        (-net(picture)[:, LABEL].mean()).backward()
        optimiser.step()

    return step


def our_loop(path: str) -> tuple[Callable[[], None], Any]:
    """A step of ours, asked through the engine, and the model."""
    import xplain
    from xplain.core.synthesis.canvas import Cosines
    from xplain.core.synthesis.ink import PLAIN
    from xplain.core.synthesis.objective import Aimed, Objective
    from xplain.core.synthesis.slope import Slope
    from xplain.core.synthesis.views import Transforms
    from xplain.engine import Settings
    from xplain.engine.run import Run
    from xplain.explainers.synthesis.optimisers import Adam

    model = xplain.load(path, threads=1)
    run, canvas, adam = Run(model, Settings()), Cosines((SIDE, SIDE)), Adam(0.05)
    objective, draws = Objective((Aimed(target=xplain.label(LABEL)),)), np.random.default_rng(0)
    held: dict[str, Any] = {"state": draws.normal(0, 0.01, (1, *canvas.state)).astype(np.float32), "k": 0}
    held["memory"] = adam.start(held["state"])

    def step() -> None:
        views = Transforms(jitter=8).draw([draws], canvas.extent, canvas.size)
        found = run.ask(Slope(held["state"], canvas, objective, views, PLAIN))
        held["state"], held["memory"] = adam.step(held["state"], found.gradient, held["memory"], held["k"])
        held["k"] += 1

    return step, model


def pixel_gradients(net: Any, model: Any) -> float:
    """Correlation of the two gradients by the pixels of one picture."""
    import torch

    import xplain
    from xplain.core.synthesis.canvas import Pixels
    from xplain.core.synthesis.objective import Aimed, Objective
    from xplain.core.synthesis.slope import Slope

    x = np.random.default_rng(1).uniform(0.2, 0.8, (1, 3, SIDE, SIDE)).astype(np.float32)
    found = model.answer(Slope(x, Pixels((SIDE, SIDE)), Objective((Aimed(target=xplain.label(LABEL)),))))
    leaf = torch.tensor(x, requires_grad=True)
    net(leaf)[:, LABEL].sum().backward()
    return float(np.corrcoef(found.gradient.ravel(), leaf.grad.numpy().ravel())[0, 1])


def products() -> Callable[[], Any]:
    """The four products of a canvas of the picture's size, in ONNX Runtime on one thread."""
    import onnxruntime
    from onnx import TensorProto, helper

    rows, planes = ["basis", "planes"], [["rows", "basis"], ["picture", "basis"], ["basis", "back"]]
    asked = [(rows, "rows"), (planes[0], "picture"), (planes[1], "back"), (planes[2], "slope")]
    nodes = [helper.make_node("MatMul", given, [made]) for given, made in asked]
    kinds = {"basis": [1, 1, SIDE, SIDE], "planes": [1, 3, SIDE, SIDE], "slope": [1, 3, SIDE, SIDE]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in kinds.items()}
    graph = helper.make_graph(nodes, "products", [values["basis"], values["planes"]], [values["slope"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    draws = np.random.default_rng(0)
    feeds = {name: draws.normal(0, 0.05, kinds[name]).astype(np.float32) for name in ("basis", "planes")}
    return lambda: session.run(None, feeds)


def memory_of(side: str, name: str, path: str) -> None:
    """Child process: a few steps of one side, then its peak memory."""
    if side == "torch":
        import nets
        import torch

        torch.set_num_threads(1)
        step = torch_loop(frozen(nets.make(name)))
    else:
        step, _ = our_loop(path)
    for _ in range(3):
        step()
    print(bench.peak_mib())


def frozen(net: Any) -> Any:
    """The net in eval mode, without gradients of its weights, which nobody asks for."""
    return net.eval().requires_grad_(False)


def row_of(name: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One net."""
    import nets
    import torch

    import xplain
    from xplain.core.query import Sweep
    from xplain.core.rules import Rules

    torch.set_num_threads(1)
    path = folder / f"{name}.onnx"
    nets.to_onnx(nets.make(name), path)
    net = frozen(nets.make(name))
    step, model = our_loop(str(path))
    alike = pixel_gradients(net, model)
    if not alike > 0.999:
        raise SystemExit(f"{name}: the gradients differ (correlation {alike}); nothing is timed")
    sweep = Sweep(np.zeros((1, 1, 3, SIDE, SIDE), np.float32), xplain.label(LABEL), Rules())
    runs = {"ours": step, "torch": torch_loop(net), "sweep": lambda: model.answer(sweep), "products": products()}
    times = bench.pair(runs, rounds, warmup=3, clock=time.process_time)
    ours, bare = times["ours"].median, times["sweep"].median
    memory = {one: bench.fresh_peak(__file__, "--memory", one, name, str(path)) for one in ("torch", "ours")}
    return {
        "net": name,
        "1 - correlation": 1 - alike,
        "torch loop": str(times["torch"]),
        "xplain": str(times["ours"]),
        "ratio": bench.ratio(times["ours"], times["torch"]),
        "outside the model": (ours - bare) / ours,
        "products alone": times["products"].median / ours,
        "their GFLOP/s": 4 * 3 * 2 * SIDE**3 / times["products"].median / 1e9,
        "torch MiB": memory["torch"],
        "xplain MiB": memory["ours"],
    }


def main() -> None:
    """Print the table, and keep it."""
    if sys.argv[1:2] == ["--memory"]:
        memory_of(*sys.argv[2:5])
        return
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("nets", nargs="*", default=list(NETS))
    words.add_argument("--rounds", type=int, default=21)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row_of(name, given.rounds, Path(folder)) for name in given.nets]
    note = f"Command: `python benchmarks/methods/synthesis.py {' '.join(given.nets)} --rounds {given.rounds}`.\n\n{WHY}"
    bench.save("synthesis", rows, note)


if __name__ == "__main__":
    bench.passive()
    main()
