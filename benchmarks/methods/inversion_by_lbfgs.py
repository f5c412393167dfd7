"""L-BFGS against Adam on a real net, at equal evaluations for an inversion, at equal sweeps for a texture.

    python benchmarks/methods/inversion_by_lbfgs.py MODEL CARD PICTURE LAYER [--steps 60]

Kept are the relative distance that is left (what both make small), PSNR for the inversion, and processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from skimage import data

import xplain

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bench


def main() -> None:
    """Print the table, and keep it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "card", "picture", "layer"):
        words.add_argument(name)
    words.add_argument("--steps", type=int, default=60)
    given = words.parse_args()
    model = xplain.load(given.model, card=given.card, threads=1)
    gravel = np.repeat(data.gravel()[:160, :160, None], 3, axis=2)
    rows: list[dict[str, Any]] = []
    for recipe, x, more in (("invert", given.picture, {"layers": given.layer}), ("texture", gravel, {})):
        for optimiser in ("adam", "lbfgs"):
            views = 4 if recipe == "texture" and optimiser == "lbfgs" else 1  # of one evaluation
            steps = given.steps // views
            started = time.process_time()
            made = xplain.make(model, recipe, [x], steps=steps, optimiser=optimiser, frames=0, **more)
            spent = time.process_time() - started
            psnr = made.each["PSNR"][0] if "PSNR" in made.each else float("nan")
            row = {"recipe": recipe, "optimiser": optimiser, "evaluations": steps, "sweeps": steps * views}
            rows.append(row | {"distance": float(made.each["distance"][0]), "PSNR": float(psnr), "CPU s": spent})
    asked = f"MODEL CARD PICTURE {given.layer} --steps {given.steps}"
    note = f"Command: `python benchmarks/methods/inversion_by_lbfgs.py {asked}`; SqueezeNet."
    bench.save("inversion_by_lbfgs", rows, note)


if __name__ == "__main__":
    bench.passive()
    main()
