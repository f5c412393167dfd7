"""What an explanation costs, in units of one forward pass of the same model by ONNX Runtime.

    python benchmarks/methods/forwards.py MODEL CARD PICTURES [--items 32] [--rounds 5] [--nets resnet50 vit_b16]

MODEL is an ONNX file with its preprocessing CARD and a folder of PICTURES; NETS are exported from torch with random
weights and explained on noise. One thread; processor time, not wall time. A forward pass is the median time of the
plain model on one item at a time; a method costs the median time of one `xplain.explain` of all items, over that. The
limit is what the method cannot go below: CAMs read one layer and its gradient (1 + the part behind the layer), a
gradient costs two passes, guided backpropagation as many, LRP about four, DeepLIFT three (two when the baseline's pass
is kept).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

METHODS = {
    "grad-cam": "1 + tail", "layer-cam": "1 + tail", "saliency": "2", "guided-backprop": "2", "lrp": "about 4",
    "deeplift": "3",
}  # fmt: skip


def items_of(model, pictures: Path, count: int) -> np.ndarray:
    """``count`` items ``[N, *item]``: the folder's pictures by the card, again and again with a little noise."""
    import xplain

    files = sorted(p for p in pictures.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".bmp"})
    seen = xplain.items_of(model, files).x
    draws = np.random.default_rng(0)
    rows = seen[np.arange(count) % len(seen)]
    return (rows + draws.normal(size=rows.shape) * 0.02).astype(np.float32)


def forward(path: Path, x: np.ndarray, rounds: int) -> bench.Timing:
    """Processor time of the plain model on one item after the other, per item."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> None:
        for row in x:
            session.run(None, {name: row[None]})

    timing = bench.pair({"forward": run}, rounds, clock=time.process_time)["forward"]
    return bench.Timing(seconds / len(x) for seconds in timing)


def rows_of(name: str, path: Path, model, x: np.ndarray, rounds: int) -> list[dict]:
    import xplain

    plain = forward(path, x, rounds)
    rows = []
    for method, limit in METHODS.items():
        try:
            runs = {method: lambda method=method: xplain.explain(model, x, method)}
            took = bench.pair(runs, rounds, clock=time.process_time)[method]
            cost = took.median / len(x) / plain.median
        except xplain.XplainError as error:
            cost = f"declined: {str(error)[:60]}"
        rows.append({"net": name, "method": method, "forwards": cost, "limit": limit, "forward": str(plain)})
        print(rows[-1], flush=True)
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
        "Processor time on one thread, per item, over one forward pass of the same file. Reproduce: "
        f"`python benchmarks/methods/forwards.py MODEL CARD PICTURES --items {options.items}`.",
    )


if __name__ == "__main__":
    bench.passive()
    main()
