"""What the patches of a layer cost beyond one forward pass per item: processor time, in one process.

    python benchmarks/methods/patches_cost.py MODEL CARD PICTURES --layer LAYER --items 200

The same tensors are run by ONNX Runtime one at a time, and looked at by lens ``patches`` (k best of every unit, nothing
projected back); items are crops of the pictures, prepared before the clock starts. Rounds alternate, the median counts.
The answer is asserted first: the values are those of a full sort of the layer's maxima.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

import xplain
from xplain.core.card import load_card
from xplain.render import pictures


def crops(card: str, folder: str, count: int) -> np.ndarray:
    """So many different tensors, ``[N, *item]``."""
    found, rng = [], np.random.default_rng(0)
    read = [pictures.read(one) for one in pictures.collect([folder])]
    while len(found) < count:
        one = read[len(found) % len(read)]
        side = int(rng.integers(min(one.shape[:2]) // 2, min(one.shape[:2]) + 1))
        y, x = (int(rng.integers(0, extent - side + 1)) for extent in one.shape[:2])
        found.append(pictures.prepare(load_card(card), one[y : y + side, x : x + side])[0])
    return np.stack(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("card")
    parser.add_argument("pictures")
    parser.add_argument("--layer", required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    x = crops(given.card, given.pictures, given.items)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    proto = onnx.load(given.model)
    layer = xplain.load(given.model).outline.layer_meant(given.layer)
    session = ort.InferenceSession(Path(given.model).read_bytes(), options, providers=["CPUExecutionProvider"])
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
    items = x.astype(np.float16) if "float16" in kind else x
    loaded = xplain.load(given.model, threads=1)

    def raw() -> None:
        for one in items:
            session.run(None, {name: one[None]})

    def own() -> None:
        for one in x:
            loaded.answer(xplain.core.query.Peek(one[None], ("",), batch=1))

    def seen(classes: str = "auto") -> xplain.results.Result:
        return xplain.see(loaded, "patches", list(x), layer=layer, units="0,1,2,3", k=9, classes=classes)

    whole = loaded.answer(xplain.core.query.Peek(x[:40], (layer,)))[layer]
    few = xplain.see(loaded, "patches", list(x[:40]), layer=layer, units="0,1,2,3", k=9, classes="none")
    best = np.sort(whole[:, :4].reshape(40, 4, -1).max(axis=2), axis=0)[::-1][:9].T
    values = np.array([[few.values[n] for n in few.of_unit(unit)] for unit in dict.fromkeys(few.units)], object)
    for got, wanted in zip(values, best, strict=True):
        np.testing.assert_allclose(np.array(got, float), wanted[: len(got)], rtol=1e-3, atol=1e-4)
    asked = {"raw": raw, "own": own, "seen": seen, "alone": lambda: seen("none")}
    for do in asked.values():
        do()
    times: dict[str, list[float]] = {what: [] for what in asked}
    for _ in range(given.rounds):
        for what, do in asked.items():
            started = time.process_time()
            do()
            times[what].append(time.process_time() - started)
    ms = {what: float(np.median(taken)) / given.items * 1e3 for what, taken in times.items()}
    print(f"{Path(given.model).name}, {len(proto.graph.node)} nodes, layer {layer}, {given.items} items")
    print(f"ONNX Runtime {ms['raw']:.2f} ms an item, xplain's own forward pass {ms['own']:.2f}")
    for what, words in (("seen", "with the class that is predicted"), ("alone", "up to the layer, classes='none'")):
        ratios = f"{ms[what] / ms['raw']:.2f} of ONNX Runtime's pass, {ms[what] / ms['own']:.2f} of xplain's"
        print(f"patches {words}: {ms[what]:.2f} ms, {ratios}")


if __name__ == "__main__":
    main()
