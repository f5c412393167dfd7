"""Do a float model and its 8-bit twin give the same reasons? Rank correlation of their maps, picture by picture.

    python benchmarks/methods/quantised_twins.py FLOAT.onnx INT8.onnx CARD.toml PICTURE ...

Both are asked for the class that the float model predicts. Maps are averaged over a grid of 14 x 14 cells before their
ranks are compared (Spearman), because a gradient's sign and size flicker from pixel to pixel even between two builds of
one model; the correlation of the full maps is told beside it. As a scale, the last column holds the float model's map
of the same picture against that of the next one: what a correlation is that says nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

METHODS = {
    "saliency": {},
    "input-x-gradient": {},
    "integrated-gradients": {"steps": 16, "tolerance": None},
    "grad-cam": {},
    "occlusion": {"patch": 32, "stride": 32},
}
CELLS = 14


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of the values; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def pooled(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    return values.reshape(CELLS, height // CELLS, CELLS, width // CELLS).mean(axis=(1, 3))


def measured(paths: tuple[str, str], card: str, pictures: list[str]) -> None:
    import xplain

    exact, rounded = (xplain.load(path, card=card) for path in paths)
    scores = [xplain.predict(model, pictures) for model in (exact, rounded)]
    classes = scores[0].argmax(axis=1)
    agree = int((classes == scores[1].argmax(axis=1)).sum())
    rows = []
    for method, options in METHODS.items():
        maps = [
            xplain.explain(m, pictures, method, target=classes.tolist(), **options).values for m in (exact, rounded)
        ]
        cells = [spearman(pooled(a), pooled(b)) for a, b in zip(*maps, strict=True)]
        others = [spearman(pooled(a), pooled(b)) for a, b in zip(maps[0], np.roll(maps[0], -1, axis=0), strict=True)]
        rows.append(
            {
                "method": method,
                "median over cells": float(np.median(cells)),
                "lowest": min(cells),
                "highest": max(cells),
                "median over pixels": float(np.median([spearman(a, b) for a, b in zip(*maps, strict=True)])),
                "against another picture": float(np.median(others)),
            }
        )
    note = (
        f"{Path(paths[0]).name} against {Path(paths[1]).name}, {len(pictures)} pictures; the two predict the same "
        f"class on {agree}. Spearman's rank correlation of maps for the float model's class, over {CELLS} x "
        f"{CELLS} cells unless said otherwise."
    )
    bench.save("quantised_twins", rows, note)


if __name__ == "__main__":
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs=2, metavar="MODEL.onnx", help="the float model, and its 8-bit twin")
    parser.add_argument("card")
    parser.add_argument("pictures", nargs="+")
    options = parser.parse_args()
    measured(tuple(options.models), options.card, options.pictures)
