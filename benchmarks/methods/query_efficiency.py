"""How many questions an explanation needs: error against the truth, by number of model evaluations, beside the peers.

    python benchmarks/methods/query_efficiency.py --models ../shared/models [--seeds 20]

Every method plays the same game: the same cells of the same photograph, the same baseline, the same logit of a real
network. All 2^S coalitions of its S cells are asked once, so the truth is exact and every later answer is looked up; a
method may be run with many seeds at no cost. RISE is asked for real, and its truth is a run with 50,000 masks. Error is
the root mean square over features and seeds, as a share of the truth's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

import xplain
from xplain.core.card import Card
from xplain.core.edits import Coalitions
from xplain.core.query import Score, View
from xplain.methods.features.spec import partition
from xplain.methods.perturbation.partition_shap import halving
from xplain.testing import Formula

PLAYERS = 12
REFERENCE = 50_000
WANTED = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Errors for which the number of questions is compared."""

Run = Callable[[int, int], tuple[np.ndarray, int]]
"""(questions to ask, seed) -> (values, questions asked)."""


def game_of(folder: Path, name: str, picture: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all coalitions of a photograph's cells ``[2^S]``, and the cells; kept in the temporary folder."""
    kept = Path(tempfile.gettempdir()) / "xplain-games" / f"{Path(name).stem}-{Path(picture).stem}.npz"
    if kept.exists():
        with np.load(kept) as file:
            return file["scores"], file["labels"]
    entry = next(e for e in json.loads((folder / "manifest.json").read_text())["models"] if e["file"] == name)
    pre = entry["pre"]
    card = Card(
        mode=pre["channels"],
        resize_short=pre["resize_short"],
        crop=(pre["crop"],) * 2,
        scale=pre["scale"],
        mean=tuple(map(float, pre["mean"])),
        std=tuple(map(float, pre["std"])),
    )
    model = xplain.load(folder / name, card=card)
    x = xplain.api.items_of(model, str(folder / "images" / picture)).x
    best = int(xplain.predict(model, x)[0].argmax())
    view = View(x, xplain.label(best), model.outline)
    labels = partition(view, "grid:3x4").of(0)
    keep = ((np.arange(2**PLAYERS)[:, None] >> np.arange(PLAYERS)) & 1).astype(np.uint8)
    fill = np.zeros((1, 1, 1, 1), np.float32)
    question = Score(x, Coalitions(labels, keep, fill), view.target)
    parts = [model.answer(replace(question, part=(k, k + 64))) for k in range(0, len(keep), 64)]
    scores = np.concatenate(parts)[:, 0]
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, scores=scores, labels=labels)
    return scores, labels


class Lookup:
    """The game as a model of S numbers: 0/1 rows are looked up, and counted."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.rows = scores, 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        self.rows += len(rows)
        return self.scores[(rows > 0.5).astype(np.int64) @ (1 << np.arange(rows.shape[1]))]


ONES = np.ones((1, PLAYERS), np.float32)


def ours(scores: np.ndarray, method: str, **options: Any) -> Run:
    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        model = Formula(lambda rows: Lookup(scores)(rows), "NS", (PLAYERS,))
        a = xplain.explain(model, ONES, method, samples=samples, seed=seed, **options)
        return np.array(a.notes["feature_values"][0]), a.cost.queries

    return run


def shap_kernel(scores: np.ndarray) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        np.random.seed(seed)  # noqa: NPY002, TID251  (the only seed that shap takes)
        model = Lookup(scores)
        explainer = shap.KernelExplainer(model, np.zeros((1, PLAYERS)))
        return explainer.shap_values(ONES.astype(float), nsamples=samples, l1_reg=False, silent=True)[0], model.rows

    return run


def shap_permutation(scores: np.ndarray) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        model = Lookup(scores)
        masker = shap.maskers.Independent(np.zeros((1, PLAYERS)))
        explainer = shap.PermutationExplainer(model, masker, seed=seed)
        rounds = -(-samples // (2 * PLAYERS + 1))
        return explainer(ONES.astype(float), max_evals=rounds * (2 * PLAYERS + 1), silent=True).values[0], model.rows

    return run


def shap_partition(scores: np.ndarray, linkage: np.ndarray) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        np.random.seed(seed)  # noqa: NPY002, TID251  (ties of the queue are broken at random)
        model = Lookup(scores)
        masker = shap.maskers.Partition(np.zeros((1, PLAYERS)), clustering=linkage)
        explainer = shap.PartitionExplainer(model, masker)
        return explainer(ONES.astype(float), max_evals=samples, silent=True).values[0], model.rows

    return run


def lime_base(scores: np.ndarray) -> Run:
    """lime_image's sampling, kernel and regression, on the game itself."""
    from lime import lime_base
    from sklearn.metrics import pairwise_distances

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        rng = np.random.RandomState(seed)
        model = Lookup(scores)
        data = rng.randint(0, 2, samples * PLAYERS).reshape(samples, PLAYERS)
        data[0] = 1
        distances = pairwise_distances(data, data[:1], metric="cosine").ravel()
        base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=rng)
        found = base.explain_instance_with_data(data, model(data)[:, None], distances, 0, PLAYERS)[1]
        return np.array([value for _, value in sorted(found)]), model.rows

    return run


def linkage_of(labels: np.ndarray) -> np.ndarray:
    """Our halving as scipy writes it: left, right, height, leaves."""
    joins, leaves = halving(labels, PLAYERS), dict.fromkeys(range(PLAYERS), 1)
    rows = []
    for k, (a, b) in enumerate(joins.tolist()):
        leaves[PLAYERS + k] = leaves[a] + leaves[b]
        rows.append([a, b, leaves[PLAYERS + k], leaves[PLAYERS + k]])
    return np.array(rows, dtype=float)


def errors(run: Run, budgets: list[int], truth: np.ndarray, seeds: int) -> list[tuple[float, float]]:
    """(mean questions asked, relative error) for each budget."""
    found = []
    for samples in budgets:
        runs = [run(samples, seed) for seed in range(seeds)]
        gaps = [np.sqrt(np.mean((values - truth) ** 2)) for values, _ in runs]
        error = float(np.sqrt(np.mean(np.square(gaps))) / np.sqrt(np.mean(truth**2)))
        found.append((float(np.mean([asked for _, asked in runs])), error))
    return found


def questions_for(curve: list[tuple[float, float]], wanted: float) -> float:
    """Questions at which the error falls to ``wanted`` and stays there, on straight lines between measured points."""
    last = [k for k, (_, error) in enumerate(curve) if error > wanted]
    if not last:  # reached before the first measured point: nothing to compare
        return float("nan")
    if last[-1] == len(curve) - 1:
        return float("nan")
    (n0, e0), (n1, e1) = curve[last[-1]], curve[last[-1] + 1]
    e0, e1 = max(e0, 1e-12), max(e1, 1e-12)
    share = (np.log(e0) - np.log(wanted)) / (np.log(e0) - np.log(e1))
    return float(np.exp(np.log(n0) + share * (np.log(n1) - np.log(n0))))


def compare(game: str, method: str, sides: dict[str, list[tuple[float, float]]]) -> list[dict[str, Any]]:
    rows = []
    for wanted in WANTED:
        asked = {name: questions_for(curve, wanted) for name, curve in sides.items()}
        peers = {name: n for name, n in asked.items() if name != "xplain" and np.isfinite(n)}
        if not peers or not np.isfinite(asked["xplain"]):
            continue
        best = min(peers, key=lambda name: peers[name])
        rows.append(
            {
                "game": game,
                "method": method,
                "error": f"{wanted:.0%}",
                "xplain questions": round(asked["xplain"]),
                "best peer": best,
                "peer questions": round(peers[best]),
                "share of the peer's": asked["xplain"] / peers[best],
            }
        )
    return rows


def coalition_games(folder: Path, name: str, picture: str, seeds: int) -> list[dict[str, Any]]:
    scores, labels = game_of(folder, name, picture)
    game = f"{Path(name).stem}, {Path(picture).stem}, {PLAYERS} cells"
    model = Formula(lambda rows: Lookup(scores)(rows), "NS", (PLAYERS,))
    truth = np.array(xplain.explain(model, ONES, "exact-shapley").notes["feature_values"][0])
    linkage = linkage_of(labels)
    few = [48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
    owen, _ = ours(scores, "partition-shap", hierarchy=linkage)(100_000, 0)
    surrogate, _ = ours(scores, "lime")(400_000, 0)
    rows = compare(
        game,
        "kernel-shap",
        {
            "xplain": errors(ours(scores, "kernel-shap"), few, truth, seeds),
            "shap.KernelExplainer": errors(shap_kernel(scores), few, truth, seeds),
        },
    )
    rows += compare(
        game,
        "shapley-sampling",
        {
            "xplain": errors(ours(scores, "shapley-sampling"), few, truth, seeds),
            "shap.PermutationExplainer": errors(shap_permutation(scores), few, truth, seeds),
        },
    )
    small = [8, 12, 16, 24, 32, 48, 64, 96, 128, 160]
    rows += compare(
        game,
        "partition-shap",
        {
            "xplain": errors(ours(scores, "partition-shap", hierarchy=linkage), small, owen, 1),
            "shap.PartitionExplainer": errors(shap_partition(scores, linkage), small, owen, max(1, seeds // 4)),
        },
    )
    if importlib.util.find_spec("lime") is not None:
        rows += compare(
            game,
            "lime",
            {
                "xplain": errors(ours(scores, "lime"), few, surrogate, seeds),
                "lime": errors(lime_base(scores), few, surrogate, seeds),
            },
        )
    return rows


def rise_game(folder: Path, seeds: int) -> list[dict[str, Any]]:
    """RISE on MNIST, against the paper's own estimator on the same masks."""
    model = xplain.load(folder / "mnist" / "mnist-8.onnx")
    x = digit()
    best = int(xplain.predict(model, x)[0].argmax())
    seeds = min(seeds, 10)  # of 784 positions each
    truth = xplain.explain(model, x, "rise", samples=REFERENCE, target=best, seed=10**6)

    def centred(values: np.ndarray) -> np.ndarray:
        return values - values.mean()

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        a = xplain.explain(model, x, "rise", samples=samples, target=best, seed=seed)
        return centred(a.values[0].ravel()), a.cost.queries - 1

    def plain(samples: int, seed: int) -> tuple[np.ndarray, int]:
        """``1 / (keep M) * sum of s m``: our masks and scores, read as the paper does."""
        from xplain import native
        from xplain.core.edits import SoftGrid

        key = int(View(x, xplain.label(best), model.outline, seed).rng("rise masks").integers(2**63))
        grid = SoftGrid(key, samples, (7, 7), 0.5, np.zeros((1, 1, 1, 1), np.float32))
        scores = np.asarray(model.answer(Score(x, grid, xplain.label(best)))).reshape(1, -1)
        return centred(native.accumulate(grid, scores, (28, 28)).ravel() / samples / 0.5), samples

    budgets = [125, 250, 500, 1000, 2000, 4000, 8000, 16_000]
    reference = centred(truth.values[0].astype(np.float64).ravel())
    sides = {
        "xplain": errors(run, budgets, reference, seeds),
        "RISE as in its paper (DIANNA, OpenVINO XAI)": errors(plain, budgets, reference, seeds),
    }
    return compare("mnist-8, a drawn 7", "rise", sides)


def digit() -> np.ndarray:
    """A seven, drawn with two strokes."""
    y, x = np.mgrid[:28, :28]
    bar = (np.abs(y - 7) < 1.6) & (x > 7) & (x < 21)
    stem = (np.abs(x - (20 - 0.55 * (y - 7))) < 1.6) & (y >= 7) & (y < 23)
    return (255.0 * (bar | stem))[None, None].astype(np.float32)


def main() -> None:
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own deprecations
    rows = rise_game(options.models, options.seeds)
    for name, picture in (
        ("imagenet/squeezenet_fp16.onnx", "coral_cat_720p.jpg"),
        ("imagenet/mobilenetv2_imagenet1001_fp32.onnx", "coral_owl.jpg"),
    ):
        rows += coalition_games(options.models, name, picture, options.seeds)
    bench.save("query_efficiency", rows, f"{options.seeds} seeds; truth: all coalitions, or {REFERENCE} samples")


if __name__ == "__main__":
    main()
