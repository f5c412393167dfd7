"""How many questions an explanation needs: error against the truth, by number of model evaluations, beside the peers.

    python benchmarks/methods/query_efficiency.py --models ../shared/models [--seeds 20]

Every method plays the same game: the same cells or SLIC superpixels of the same photograph, the same baseline, the same
logit of a real network. All 2^S coalitions of its S features are asked once, so the truth is exact and every later
answer is looked up; a method may be run with many seeds at no cost. On superpixels xplain and lime get the picture
itself with one label map, and lime is its own LimeImageExplainer; shap gets the features as switches, as its guide does
for pictures. RISE is asked for real, and its truth is a run with 50,000 masks. Error is the root mean square over
features and seeds, as a share of the truth's. Questions are all rows that the model was asked, the ends included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import bench

import xplain
from xplain.core.card import Card
from xplain.core.edits import Coalitions
from xplain.core.query import Score, View
from xplain.explainers.features.spec import partition
from xplain.explainers.perturbation.partition_shap import halving
from xplain.testing import Formula

REFERENCE, WANTED = 50_000, (0.5, 0.3, 0.2, 0.1, 0.05)
"""Masks of the run that is the truth; errors for which the number of questions is compared."""

Run = Callable[[int, int], tuple[np.ndarray, int]]
"""(questions to ask, seed) -> (values, questions asked)."""


@dataclass(frozen=True)
class Game:
    """A photograph cut into features, and the score of every coalition of them.

    Args:
        name: For the table.
        scores: ``[2^S]``; feature i is bit i of the index.
        labels: Feature of each pixel ``[H, W]``.
        picture: The model's input ``[1, C, H, W]``, hidden where 0.
        shown: Whether xplain and lime get the picture and the label map, or the features as switches.
    """

    name: str
    scores: np.ndarray
    labels: np.ndarray
    picture: np.ndarray
    shown: bool

    @property
    def players(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def on(self) -> np.ndarray:
        return np.ones((1, self.players), np.float32)

    def small(self) -> tuple[np.ndarray, np.ndarray]:
        """A quarter of the picture's rows and columns, and their labels: answers are looked up, so pixels only cost."""
        return np.ascontiguousarray(self.picture[..., ::4, ::4]), np.ascontiguousarray(self.labels[::4, ::4])


def game_of(folder: Path, name: str, picture: str, features: str) -> Game:
    """The game of a photograph; its scores are kept in the temporary folder."""
    cut = "".join(c for c in features if c.isalnum())
    stem = f"{Path(name).stem}-{Path(picture).stem}-{cut}"
    kept = Path(tempfile.gettempdir()) / "xplain-games" / f"{stem}.npz"
    if not kept.exists():
        scores, labels, x = asked(folder, name, picture, features)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, scores=scores, labels=labels, picture=x)
    with np.load(kept) as file:
        scores, labels, x = file["scores"], file["labels"], file["picture"]
    shown = not features.startswith("grid")
    what = "superpixels" if shown else "cells"
    return Game(f"{Path(name).stem}, {Path(picture).stem}, {labels.max() + 1} {what}", scores, labels, x, shown)


def asked(folder: Path, name: str, picture: str, features: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of all coalitions, labels, picture."""
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
    labels = partition(view, features).of(0)
    players = int(labels.max()) + 1
    keep = ((np.arange(2**players)[:, None] >> np.arange(players)) & 1).astype(np.uint8)
    fill = np.zeros((1, 1, 1, 1), np.float32)
    question = Score(x, Coalitions(labels, keep, fill), view.target)
    parts = [model.answer(replace(question, part=(k, k + 64))) for k in range(0, len(keep), 64)]
    return np.concatenate(parts)[:, 0], labels, x


class Lookup:
    """The game as a model of S numbers: 0/1 rows are looked up, and counted."""

    def __init__(self, game: Game) -> None:
        self.scores, self.rows = game.scores, 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        self.rows += len(rows)
        return self.scores[(rows > 0.5).astype(np.int64) @ (1 << np.arange(rows.shape[1]))]


class Looked(Lookup):
    """The game as a model of pictures ``[R, C, H, W]``: one pixel of each feature tells whether it is shown."""

    def __init__(self, game: Game) -> None:
        super().__init__(game)
        picture, labels = game.small()
        visible = (picture[0] != 0).all(axis=0)
        self.probes = np.array([np.argwhere((labels == k) & visible)[0] for k in range(game.players)])

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return super().__call__(rows[:, 0, self.probes[:, 0], self.probes[:, 1]] != 0)


def ours(game: Game, method: str, **options: Any) -> Run:
    picture, labels = game.small()
    look = Looked(game) if game.shown else Lookup(game)
    axes, x = ("NCHW", picture) if game.shown else ("NS", game.on)
    ends = 2 if method == "partition-shap" else 0  # its samples, unlike shap's, do not count the ends

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        model = Formula(look, axes, x.shape[1:])
        features = labels if game.shown else "columns"
        a = xplain.explain(model, x, method, samples=samples - ends, seed=seed, features=features, **options)
        return np.array(a.notes["feature_values"][0]), a.cost.queries

    return run


def shap_kernel(game: Game) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        np.random.seed(seed)  # noqa: NPY002, TID251  (the only seed that shap takes)
        model = Lookup(game)
        explainer = shap.KernelExplainer(model, np.zeros((1, game.players)))
        return explainer.shap_values(game.on.astype(float), nsamples=samples, l1_reg=False, silent=True)[0], model.rows

    return run


def shap_permutation(game: Game) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        model = Lookup(game)
        masker = shap.maskers.Independent(np.zeros((1, game.players)))
        explainer = shap.PermutationExplainer(model, masker, seed=seed)
        rounds = -(-samples // (2 * game.players + 1))
        return explainer(game.on.astype(float), max_evals=rounds * (2 * game.players + 1), silent=True).values[
            0
        ], model.rows

    return run


def shap_partition(game: Game, linkage: np.ndarray) -> Run:
    import shap

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        np.random.seed(seed)  # noqa: NPY002, TID251  (ties of the queue are broken at random)
        model = Lookup(game)
        masker = shap.maskers.Partition(np.zeros((1, game.players)), clustering=linkage)
        explainer = shap.PartitionExplainer(model, masker)
        return explainer(game.on.astype(float), max_evals=samples, silent=True).values[0], model.rows

    return run


def lime_base(game: Game) -> Run:
    """lime_image's sampling, kernel and regression, on the switches."""
    from lime import lime_base
    from sklearn.metrics import pairwise_distances

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        rng = np.random.RandomState(seed)
        model = Lookup(game)
        data = rng.randint(0, 2, samples * game.players).reshape(samples, game.players)
        data[0] = 1
        distances = pairwise_distances(data, data[:1], metric="cosine").ravel()
        base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=rng)
        found = base.explain_instance_with_data(data, model(data)[:, None], distances, 0, game.players)[1]
        return np.array([value for _, value in sorted(found)]), model.rows

    return run


def lime_image(game: Game) -> Run:
    """lime's own explainer of pictures, on the same superpixels."""
    from lime import lime_image

    picture, labels = game.small()
    shown = np.ascontiguousarray(np.moveaxis(picture[0], 0, -1), dtype=np.float64)

    def run(samples: int, seed: int) -> tuple[np.ndarray, int]:
        model = Looked(game)
        found = lime_image.LimeImageExplainer(random_state=seed).explain_instance(
            shown,
            lambda images: model(np.moveaxis(np.asarray(images), -1, 1))[:, None],
            labels=(0,),
            top_labels=None,
            hide_color=0,
            num_features=game.players,
            num_samples=samples,
            segmentation_fn=lambda _: labels,
        )
        return np.array([value for _, value in sorted(found.local_exp[0])]), model.rows

    return run


def linkage_of(game: Game) -> np.ndarray:
    """Our halving as scipy writes it: left, right, height, leaves."""
    players = game.players
    joins, leaves = halving(game.labels, players), dict.fromkeys(range(players), 1)
    rows = []
    for k, (a, b) in enumerate(joins.tolist()):
        leaves[players + k] = leaves[a] + leaves[b]
        rows.append([a, b, leaves[players + k], leaves[players + k]])
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


def coalition_games(game: Game, seeds: int) -> list[dict[str, Any]]:
    model = Formula(Lookup(game), "NS", (game.players,))
    truth = np.array(xplain.explain(model, game.on, "exact-shapley").notes["feature_values"][0])
    linkage = linkage_of(game)
    few = [48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
    owen, _ = ours(game, "partition-shap", hierarchy=linkage)(100_000, 0)
    surrogate, _ = ours(game, "lime")(400_000, 0)
    rows = compare(
        game.name,
        "kernel-shap",
        {
            "xplain": errors(ours(game, "kernel-shap"), few, truth, seeds),
            "shap.KernelExplainer": errors(shap_kernel(game), few, truth, seeds),
        },
    )
    rows += compare(
        game.name,
        "shapley-sampling",
        {
            "xplain": errors(ours(game, "shapley-sampling"), few, truth, seeds),
            "shap.PermutationExplainer": errors(shap_permutation(game), few, truth, seeds),
        },
    )
    small = [8, 12, 16, 24, 32, 48, 64, 96, 128, 160]
    rows += compare(
        game.name,
        "partition-shap",
        {
            "xplain": errors(ours(game, "partition-shap", hierarchy=linkage), small, owen, 1),
            "shap.PartitionExplainer": errors(shap_partition(game, linkage), small, owen, max(1, seeds // 4)),
        },
    )
    if importlib.util.find_spec("lime") is not None:
        peer = ("LimeImageExplainer", lime_image) if game.shown else ("lime", lime_base)
        rows += compare(
            game.name,
            "lime",
            {
                "xplain": errors(ours(game, "lime"), few, surrogate, seeds),
                peer[0]: errors(peer[1](game), few, surrogate, seeds),
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

        key = int(View(x, xplain.label(best), model.outline, seed).rngs("rise masks")[0].integers(2**63))
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
    for cut in ("grid:3x4", "slic:16,compactness=20"):
        for name, picture in (("squeezenet_fp16", "cat_720p"), ("mobilenetv2_imagenet1001_fp32", "owl")):
            file, seen = f"imagenet/{name}.onnx", f"coral_{picture}.jpg"
            rows += coalition_games(game_of(options.models, file, seen, cut), options.seeds)
    bench.save("query_efficiency", rows, f"{options.seeds} seeds; truth: all coalitions, or {REFERENCE} samples")


if __name__ == "__main__":
    main()
