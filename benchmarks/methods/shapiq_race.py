"""Questions that Shapley values of a given error take: proxy-shap and kernel-shap beside every estimator of shapiq.

    python3.12 -m venv peer && peer/bin/pip install shapiq
    python benchmarks/methods/shapiq_race.py --models ../shared/models --peer peer/bin/python [--seeds 20]

Four games of 14 players: a small net, boosted trees, a formula of pairs, a sine and a triple, and a photograph in 2 x 7
cells before SqueezeNet. All 2^14 coalitions of each are asked once, so the truth is exact, and an estimator looks its
answers up; questions are all that it asked, the empty and the full coalition too. Error is the root mean square over
players and seeds, as a share of the truth's. shapiq needs a newer Python than xplain does, so it runs in one of its own
(``shapiq_side.py``), on the same tables, budgets and number of seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import bench
from query_efficiency import Game, errors, game_of, ours, questions_for

PLAYERS = 14
BUDGETS = [64, 100, 140, 200, 300, 450, 700, 1000]
SHOWN = (140, 300, 1000)
WANTED = (0.2, 0.1, 0.05, 0.02)
SIDE = Path(__file__).with_name("shapiq_side.py")


def coalitions() -> np.ndarray:
    """All of them, 0 and 1 ``[2^S, S]``; player i is bit i of the row's number."""
    return ((np.arange(2**PLAYERS)[:, None] >> np.arange(PLAYERS)) & 1).astype(np.float64)


def net(rows: np.ndarray) -> np.ndarray:
    """A net of two hidden layers on a row whose hidden columns are zero."""
    rng = np.random.default_rng(0)
    x = rows * rng.normal(size=PLAYERS)
    for width in (24, 12):
        x = np.tanh(x @ rng.normal(scale=1.2 / math.sqrt(x.shape[1]), size=(x.shape[1], width)) + 0.1)
    return x @ rng.normal(size=12)


def trees(rows: np.ndarray) -> np.ndarray:
    """Boosted trees of scikit-learn, trained on rows of normal numbers; hidden columns are those of another row."""
    from sklearn.ensemble import GradientBoostingRegressor

    rng = np.random.default_rng(1)
    x = rng.normal(size=(1500, PLAYERS))
    y = x[:, 0] * x[:, 1] + np.abs(x[:, 2]) + np.where(x[:, 3] > 0, x[:, 4], -x[:, 5]) + 0.3 * x[:, 6:].sum(axis=1)
    model = GradientBoostingRegressor(n_estimators=80, max_depth=4, random_state=0).fit(x, y)
    item, other = rng.normal(size=(2, PLAYERS))
    return model.predict(np.where(rows > 0, item, other))


def formula(rows: np.ndarray) -> np.ndarray:
    """Pairs, a sine over all, and three that work together."""
    x = rows * np.linspace(0.6, 1.6, PLAYERS)
    pairs = sum((-1) ** k * x[:, k] * x[:, k + 5] for k in range(6))
    return pairs + 2 * np.sin(x.sum(axis=1) / 2) + 3 * x[:, 1] * x[:, 6] * x[:, 11] + x[:, 13]


def games(models: Path) -> list[Game]:
    """The four games; feature i is bit i of a score's index."""
    rows, labels, none = coalitions(), np.arange(PLAYERS)[None], np.zeros((1, 1, 1, PLAYERS), np.float32)
    made = [
        Game(f"{name}, {PLAYERS} players", np.asarray(worth(rows), np.float64), labels, none, shown=False)
        for name, worth in (("net", net), ("boosted trees", trees), ("pairs, sine, triple", formula))
    ]
    return [*made, game_of(models, "imagenet/squeezenet_fp16.onnx", "coral_cat_720p.jpg", "grid:2x7")]


def exact(scores: np.ndarray) -> np.ndarray:
    """Shapley values over all coalitions: ``sum over S without i of s! (n - s - 1)! / n! (v(S + i) - v(S))``."""
    rows, n = coalitions().astype(int), PLAYERS
    weights = np.array([math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)])
    found = []
    for i in range(n):
        without = np.flatnonzero(rows[:, i] == 0)
        found.append(float(weights[rows[without].sum(axis=1)] @ (scores[without | 1 << i] - scores[without])))
    return np.array(found)


def peers(python: str, played: list[Game], seeds: int) -> dict[str, Any]:
    """By game and estimator of shapiq: budget, questions asked and values, run by run; and its version."""
    with tempfile.TemporaryDirectory() as folder:
        tables, told = Path(folder) / "games.npz", Path(folder) / "found.json"
        np.savez(tables, **{one.name: one.scores for one in played})
        asked = [str(tables), str(told), json.dumps(BUDGETS), str(seeds)]
        subprocess.run([python, str(SIDE), *asked], check=True)
        return json.loads(told.read_text())


def curve(runs: list[tuple[int, int, list[float]]], truth: np.ndarray) -> dict[int, tuple[float, float]]:
    """Mean questions and relative error by budget, of runs (budget, questions, values)."""
    found = {}
    for budget in BUDGETS:
        some = [(asked, np.array(values)) for given, asked, values in runs if given == budget]
        if some:
            error = np.sqrt(np.mean([np.mean((values - truth) ** 2) for _, values in some]))
            found[budget] = float(np.mean([asked for asked, _ in some])), float(error / np.sqrt(np.mean(truth**2)))
    return found


def told(points: dict[int, tuple[float, float]]) -> dict[str, str]:
    """Questions for each wanted error, and the error at some budgets."""
    row = {}
    for wanted in WANTED:
        early = all(error <= wanted for _, error in points.values())
        questions = questions_for(list(points.values()), wanted)
        late = f"{questions:.0f}" if np.isfinite(questions) else f">{BUDGETS[-1]}"
        row[f"{wanted:.0%}"] = f"<{BUDGETS[0]}" if early else late
    return row | {f"error at {budget}": f"{points[budget][1]:.3f}" for budget in SHOWN if budget in points}


def main() -> None:
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--peer", default="peer/bin/python", help="A Python that has shapiq.")
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    played = games(options.models)
    theirs = peers(options.peer, played, options.seeds)
    rows: list[dict[str, Any]] = []
    for game in played:
        truth = exact(game.scores)
        for name in ("proxy-shap", "kernel-shap"):
            own = errors(ours(game, name), BUDGETS, truth, options.seeds)
            rows.append({"game": game.name, "estimator": name, **told(dict(zip(BUDGETS, own, strict=True)))})
        for name, runs in theirs[game.name].items():
            rows.append({"game": game.name, "estimator": f"shapiq {name}", **told(curve(runs, truth))})
    version = theirs["shapiq"]
    bench.save(
        "shapiq_race",
        rows,
        f"questions for an error, and the error after {', '.join(map(str, SHOWN))} of them; {options.seeds} seeds; "
        f"shapiq {version}",
    )


if __name__ == "__main__":
    main()
