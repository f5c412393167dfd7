"""How many questions trees save: error of proxy-shap against the truth, beside kernel-shap and shap.

    python benchmarks/methods/proxy_shap.py --models ../shared/models [--seeds 20]

The games, the truth and the count of questions are those of ``query_efficiency.py``: a photograph cut into cells or
superpixels, all coalitions of which were asked once. ``saved`` is the share of kernel-shap's questions that proxy-shap
does without at an equal error.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import bench
from query_efficiency import Game, Lookup, errors, game_of, ours, questions_for, shap_kernel

import xplain
from xplain.testing import Formula

QUESTIONS = [64, 128, 256, 512, 1024]
WANTED = (0.2, 0.1, 0.05, 0.03, 0.02)


def rows_of(game: Game, seeds: int) -> list[dict[str, Any]]:
    model = Formula(Lookup(game), "NS", (game.players,))
    truth = np.array(xplain.explain(model, game.on, "exact-shapley").notes["feature_values"][0])
    runs = {
        "proxy": ours(game, "proxy-shap"),
        "kernel": ours(game, "kernel-shap"),
        "shap.KernelExplainer": shap_kernel(game),
    }
    curves = {name: errors(run, QUESTIONS, truth, seeds) for name, run in runs.items()}
    rows = []
    for wanted in WANTED:
        asked = {name: questions_for(curve, wanted) for name, curve in curves.items()}
        if np.isfinite(asked["proxy"]) and np.isfinite(asked["kernel"]):
            rows.append(
                {
                    "game": game.name,
                    "error": f"{wanted:.0%}",
                    "proxy-shap": round(asked["proxy"]),
                    "kernel-shap": round(asked["kernel"]),
                    "saved": f"{1 - asked['proxy'] / asked['kernel']:.0%}",
                    "shap.KernelExplainer": round(asked[peer])
                    if np.isfinite(asked[peer := "shap.KernelExplainer"])
                    else "",
                }
            )
    return rows


def main() -> None:
    bench.passive()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # shap's own deprecations
    rows = []
    for cut in ("grid:3x4", "slic:16,compactness=20"):
        for name, picture in (("squeezenet_fp16", "cat_720p"), ("mobilenetv2_imagenet1001_fp32", "owl")):
            game = game_of(options.models, f"imagenet/{name}.onnx", f"coral_{picture}.jpg", cut)
            rows += rows_of(game, options.seeds)
    bench.save("proxy_shap", rows, f"{options.seeds} seeds; truth: all coalitions")


if __name__ == "__main__":
    main()
