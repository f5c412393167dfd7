"""Whether another model sees in a class picture what the first one was asked for: judges, over classes.

    python benchmarks/methods/class_pictures.py MODEL CARD JUDGE CARD PHOTOGRAPHS [--classes 20]

A net's own score says nothing: plain pixels raise it to 1. So each recipe's pictures of the same classes, drawn by a
seed, are shown to a judge that had no part in them; printed and kept are its median share and rank (best of the whole
picture and two crops), and the processor time of a picture. The answers are compared before any time is told: every
picture must convince the model that it was made for.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import xplain

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bench

RECIPES: dict[str, dict[str, Any]] = {"class": {}, "yosinski": {}, "fourier": {}, "maco": {}}


def main() -> None:
    """Print one row per recipe."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "card", "judge", "judges_card", "photographs"):
        words.add_argument(name)
    words.add_argument("--classes", type=int, default=20)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--recipes", nargs="+", default=[*RECIPES])
    given = words.parse_args()
    model = xplain.load(given.model, card=given.card, threads=1)
    judge = xplain.load(given.judge, card=given.judges_card, threads=1)
    known = {name.split(",")[0].strip() for name in judge.outline.labels}
    shared = [k for k, name in enumerate(model.outline.labels) if any(name.split(",")[0] in one for one in known)]
    chosen = sorted(np.random.default_rng(given.seed).choice(shared, given.classes, replace=False).tolist())
    rows = []
    for name in given.recipes:
        more = {"photographs": given.photographs} if name == "maco" else {}
        started = time.process_time()
        made = xplain.make(model, name, target=chosen, judge=judge, frames=0, seed=given.seed, **more)
        spent = (time.process_time() - started) / len(chosen)
        own, other = made.judged[:, 0, 0, 0], made.judged[:, 1]
        share, rank = np.nanmax(other[..., 0], axis=1), np.nanmin(other[..., 1], axis=1)
        rows.append(
            {
                "recipe": name,
                "own share": float(np.median(own)),
                "judge's share": float(np.nanmedian(share)),
                "its rank": float(np.nanmedian(rank)),
                "rank below 20": float(np.nanmean(rank < 20)),
                "CPU s a picture": spent,
                "ranks": " ".join(f"{one:.0f}" for one in rank),
            }
        )
        print(rows[-1], flush=True)
    note = (
        f"Medians over {given.classes} classes, {' '.join(map(str, chosen))}. Command: `python "
        f"benchmarks/methods/class_pictures.py MODEL CARD JUDGE CARD PHOTOGRAPHS --classes {given.classes} "
        f"--recipes {' '.join(given.recipes)}`."
    )
    bench.save("class_pictures", rows, note)


if __name__ == "__main__":
    main()
