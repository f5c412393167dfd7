"""What an explanation costs, in units of one forward pass of the same model by ONNX Runtime.

    python benchmarks/methods/forwards.py MODEL CARD PICTURES [--items 32] [--rounds 5] [--nets resnet50 vit_b16]

MODEL is an ONNX file with its preprocessing CARD and a folder of PICTURES; NETS are exported from torch with random
weights and explained on noise. One thread; processor time, not wall time. A forward pass is the median time of the
plain model on one item at a time; a method costs the median time of one `xplain.explain` of all items. Both are timed
in turn, so that a drift of the machine meets them alike. The limit is what the method cannot go below: CAMs read one
layer and its gradient (1 + the part behind the layer), a gradient costs two passes, guided backpropagation as many, LRP
about four, DeepLIFT two, for the baseline's pass is kept. Of the cost, what the runtime itself takes is told apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

METHODS = {
    "grad-cam": "1 + tail", "layer-cam": "1 + tail", "saliency": "2", "guided-backprop": "2", "lrp": "about 4",
    "deeplift": "2",
}  # fmt: skip


def items_of(model, pictures: Path, count: int) -> np.ndarray:
    """``count`` items ``[N, *item]``: the folder's pictures by the card, again and again with a little noise."""
    from xplain.session.items import items_of as read

    files = sorted(p for p in pictures.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".bmp"})
    seen = read(model, files).x
    draws = np.random.default_rng(0)
    rows = seen[np.arange(count) % len(seen)]
    return (rows + draws.normal(size=rows.shape) * 0.02).astype(np.float32)


def forward(path: Path, x: np.ndarray) -> Callable[[], None]:
    """Runs the plain model on one item after the other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> None:
        for row in x:
            session.run(None, {name: row[None]})

    return run


@contextmanager
def in_the_runtime(spent: list[float]) -> Iterator[None]:
    """Adds up the processor time of every run of the runtime."""
    from xplain.models.onnx.session import Session

    plain = Session.watched

    def timed(self, *given, **named):
        start = time.process_time()
        found = plain(self, *given, **named)
        spent[0] += time.process_time() - start
        return found

    Session.watched = timed
    try:
        yield
    finally:
        Session.watched = plain


def rows_of(name: str, path: Path, model, x: np.ndarray, rounds: int) -> list[dict]:
    import xplain

    plain, rows = forward(path, x), []
    for method, limit in METHODS.items():
        spent = [0.0]
        runs = {"forward": plain, method: lambda method=method: xplain.explain(model, x, method)}
        try:
            runs[method]()  # builds the graph and opens its session
            with in_the_runtime(spent):
                took = bench.pair(runs, rounds, warmup=0, clock=time.process_time)
        except xplain.XplainError as error:
            rows.append({"net": name, "method": method, "forwards": f"declined: {str(error)[:60]}", "limit": limit})
            continue
        cost = bench.ratio(took[method], took["forward"])
        runtime = spent[0] / sum(took["forward"])
        each = 1e3 * took["forward"].median / len(x)
        row = {"net": name, "method": method, "forwards": cost, "runtime": runtime, "limit": limit, "forward ms": each}
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    import xplain

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("card")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="*", default=["resnet50", "vit_b16"])
    options = parser.parse_args()
    model = xplain.load(options.model, card=options.card, threads=1)
    x = items_of(model, options.pictures, options.items)
    rows = rows_of(options.model.stem, options.model, model, x, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.nets:
            import nets

            path = Path(folder) / f"{name}.onnx"
            nets.to_onnx(nets.make(name), path)
            noise = np.random.default_rng(0).normal(size=(8, 3, 224, 224)).astype(np.float32)
            rows += rows_of(name, path, xplain.load(path, threads=1), noise, max(3, options.rounds // 2))
    bench.save(
        "forwards",
        rows,
        "Processor time on one thread, per item, over one forward pass of the same file; `runtime` is what of it ONNX "
        "Runtime took. Reproduce: "
        f"`python benchmarks/methods/forwards.py MODEL CARD PICTURES --items {options.items}`.",
    )


if __name__ == "__main__":
    bench.passive()
    main()
