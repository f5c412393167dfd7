"""Time outside the model: what it costs to make the questions and to read the answers, beside the peers' explainers.

    python benchmarks/methods/perturbation_time.py [--rounds 5]

The model is a Python function that takes next to no time and counts its own seconds; what is left of the wall clock is
the explainer's. Same items, same superpixels, same baseline, same number of samples. Peers that are not installed are
left out, and the table says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

SIDE, SEGMENTS, COLUMNS = 224, 49, 40


class Counted:
    """A model that reads a few numbers of each row, and knows how long it ran."""

    def __init__(self, axis: int) -> None:
        self.axis, self.seconds, self.rows = axis, 0.0, 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        flat = np.asarray(rows).reshape(len(rows), -1)[:, :: self.axis].astype(np.float64)
        a, b = flat.sum(axis=1), flat[:, ::2].sum(axis=1)
        scores = np.stack([np.tanh(a / 50), np.sin(b / 50)], axis=1)
        self.seconds += time.perf_counter() - start
        self.rows += len(rows)
        return scores


def outside(run: Callable[[Counted], Any], axis: int, rounds: int) -> tuple[float, int]:
    """Median seconds outside the model, and rows asked."""
    times, rows = [], 0
    for k in range(rounds + 1):
        model = Counted(axis)
        start = time.perf_counter()
        run(model)
        if k:
            times.append(time.perf_counter() - start - model.seconds)
        rows = model.rows
    return bench.Timing(times).median, rows


def peak(run: Callable[[Counted], Any], axis: int) -> float:
    """MiB of Python and numpy memory at the most."""
    tracemalloc.start()
    run(Counted(axis))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def ours(x: np.ndarray, method: str, **options: Any) -> Callable[[Counted], Any]:
    import xplain

    return lambda model: xplain.explain(xplain.load(model), x, method, target=0, **options)


def shap_table(x: np.ndarray, samples: int) -> Callable[[Counted], Any]:
    import shap

    def run(model: Counted) -> Any:
        explainer = shap.KernelExplainer(lambda rows: model(rows)[:, 0], np.zeros((1, COLUMNS)))
        return explainer.shap_values(x, nsamples=samples, l1_reg=False, silent=True)

    return run


def shap_picture(picture: np.ndarray, labels: np.ndarray, samples: int) -> Callable[[Counted], Any]:
    """KernelExplainer over superpixels, as shap's own notebook masks pictures."""
    import shap

    def run(model: Counted) -> Any:
        def shown(z: np.ndarray) -> np.ndarray:
            out = np.zeros((len(z), *picture.shape), np.float32)
            for i in range(len(z)):
                out[i] = picture
                for j in np.flatnonzero(z[i] == 0):
                    out[i][:, labels == j] = 0
            scores = np.empty(len(z))
            for start in range(0, len(z), 32):
                scores[start : start + 32] = model(out[start : start + 32])[:, 0]
            return scores

        explainer = shap.KernelExplainer(shown, np.zeros((1, SEGMENTS)))
        return explainer.shap_values(np.ones((1, SEGMENTS)), nsamples=samples, l1_reg=False, silent=True)

    return run


def lime_picture(picture: np.ndarray, labels: np.ndarray, samples: int) -> Callable[[Counted], Any]:
    from lime import lime_image

    hwc = np.moveaxis(picture, 0, -1).astype(np.float64)

    def run(model: Counted) -> Any:
        explainer = lime_image.LimeImageExplainer(random_state=0)
        return explainer.explain_instance(
            hwc,
            model,
            labels=(0,),
            top_labels=None,
            hide_color=0,
            num_samples=samples,
            batch_size=32,
            segmentation_fn=lambda _: labels,
        )

    return run


def dianna_rise(picture: np.ndarray, samples: int) -> Callable[[Counted], Any]:
    from dianna.methods.rise_image import RISEImage

    def run(model: Counted) -> Any:
        explainer = RISEImage(n_masks=samples, feature_res=7, p_keep=0.5, axis_labels={0: "channels"})
        return explainer.explain(model, picture, labels=(0,), batch_size=32)

    return run


def row(name: str, peer: str, mine: Callable, theirs: Callable, axis: int, rounds: int, samples: int) -> dict:
    our_seconds, our_rows = outside(mine, axis, rounds)
    their_seconds, their_rows = outside(theirs, axis, max(1, rounds // 2))
    return {
        "method": name,
        "samples": samples,
        "peer": peer,
        "peer s outside the model": their_seconds,
        "xplain s outside the model": our_seconds,
        "times less": their_seconds / our_seconds,
        "peer rows asked": their_rows,
        "xplain rows asked": our_rows,
        "peer MiB": peak(theirs, axis),
        "xplain MiB": peak(mine, axis),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # the peers' own deprecations
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(3, SIDE, SIDE)).astype(np.float32)
    across = np.arange(SIDE) * 7 // SIDE
    labels = (across[:, None] * 7 + across).astype(np.int64)
    x = rng.normal(size=(20, COLUMNS)).astype(np.float32)
    grid = {"features": labels}

    cases: list[tuple[str, str, Callable, Callable, int, int]] = [
        (
            "kernel-shap, 20 rows of a table",
            "shap",
            ours(x, "kernel-shap", samples=2048),
            lambda: shap_table(x, 2048),
            1,
            2048,
        ),
        (
            "kernel-shap, picture",
            "shap",
            ours(picture[None], "kernel-shap", samples=1000, **grid),
            lambda: shap_picture(picture, labels, 1000),
            997,
            1000,
        ),
        (
            "lime, picture",
            "lime",
            ours(picture[None], "lime", samples=1000, **grid),
            lambda: lime_picture(picture, labels, 1000),
            997,
            1000,
        ),
        ("rise", "dianna", ours(picture[None], "rise", samples=500), lambda: dianna_rise(picture, 500), 997, 500),
        ("rise", "dianna", ours(picture[None], "rise", samples=2000), lambda: dianna_rise(picture, 2000), 997, 2000),
    ]
    rows, missing = [], []
    for name, package, mine, theirs, axis, samples in cases:
        if importlib.util.find_spec(package) is None:
            missing.append(package)
            continue
        rows.append(row(name, package, mine, theirs(), axis, rounds, samples))
    note = f"Not installed, so left out: {', '.join(missing)}." if missing else ""
    bench.save("perturbation_time", rows, note)


if __name__ == "__main__":
    main()
