"""Draws what docs/how-to/embed.md shows, and prints its figures: crops of photographs, as MobileNetV2 sees them.

    python benchmarks/pictures/embedded.py FLOAT.onnx INT8.onnx CARD PICTURES [OUT]

15 random crops (0.45 to 0.9 of the shorter side) of each photograph in PICTURES and of 19 of scikit-image's, a folder
per photograph, which is then the true class of its crops.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import xplain
from xplain.render import pictures

OWN = [
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel"),
    *("horse", "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text"),
]
HERE = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def crops(sources: list[str], out: Path) -> int:
    """Write the crops; how many there are."""
    rng, count = np.random.default_rng(0), 0
    for source in sources:
        pixels = pictures.read(source)
        folder = out / Path(source.removeprefix("skimage:")).stem
        folder.mkdir(parents=True)
        height, width = pixels.shape[:2]
        for k in range(15):
            side = int(rng.uniform(0.45, 0.9) * min(height, width))
            y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            crop = Image.fromarray(pixels[y : y + side, x : x + side])
            crop.resize((256, 256)).save(folder / f"{k:02d}.jpg", quality=88)
            count += 1
    return count


def main() -> None:
    single, quantised, card, folder = sys.argv[1:5]
    out = Path(sys.argv[5]) if len(sys.argv) > 5 else HERE
    sources = [str(path) for path in sorted(Path(folder).iterdir())] + [f"skimage:{name}" for name in OWN]
    model = xplain.load(single, card=card)
    with tempfile.TemporaryDirectory() as made:
        print(crops(sources, Path(made)), "crops")
        how = {"labelled": True}
        near = xplain.see(model, "neighbours", made, **how)
        print(near.facts["of one true class"], near.facts["neighbours in common with pixels"])
        near.strips(items=[107, 136, 60, 184, 303], tile=72).save(out / "neighbours.webp", quality=80, method=6)
        atlas = xplain.see(model, "map", made, **how)
        print(atlas)
        atlas.grid(thumbnail=34).save(out / "atlas.webp", quality=78, method=6)
        print(xplain.see(model, "dimension", made, mds=16, **how))
        layers = {"layer": "all", "positions": "mean"}
        twins = xplain.see(model, "compare", made, other=xplain.load(quantised, card=card), **layers)
        print(twins)


if __name__ == "__main__":
    main()
