"""Draws what docs/how-to/concepts.md and training-items.md show, and prints their figures.

    python benchmarks/pictures/concepts.py MOBILENET.onnx CARD PICTURES [OUT]

Concepts: 16 random crops (0.4 to 0.8 of the shorter side) of each of two photographs of cats. Training items: 12 crops
of each photograph in PICTURES and of 19 of scikit-image's, labelled as the class that the whole photograph is taken
for; photographs of one class share a folder, and 5 % of the crops are moved to another folder, which is then wrong.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from embedded import OWN
from PIL import Image

import xplain
from xplain.render import pictures

HERE = Path(__file__).resolve().parents[2] / "docs" / "pictures"
CATS = ("coral_cat_720p.jpg", "skimage:chelsea")


def cropped(source: str, folder: Path, count: int, sides: tuple[float, float], rng: np.random.Generator) -> None:
    """Write random crops of a photograph."""
    pixels = pictures.read(source)
    folder.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    for k in range(count):
        side = int(rng.uniform(*sides) * min(height, width))
        y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        crop = Image.fromarray(pixels[y : y + side, x : x + side])
        name = f"{Path(source.removeprefix('skimage:')).stem}-{k:02d}.jpg"
        crop.resize((256, 256)).save(folder / name, quality=88)


def concepts(model: xplain.Model, folder: Path, made: Path, out: Path) -> None:
    """The concepts of a class of two photographs."""
    rng = np.random.default_rng(0)
    for source in CATS:
        cropped(source if ":" in source else str(folder / source), made / "cats", 16, (0.4, 0.8), rng)
    start = time.process_time()
    found = xplain.see(model, "craft", str(made / "cats"), label="Egyptian cat", of="all", concepts=8, k=7, shown=5)
    print(found, found.facts, f"{time.process_time() - start:.1f} s of processor time", sep="\n")
    found.sheet(tile=72, most=5).save(out / "craft.webp", quality=80, method=6)


def items(model: xplain.Model, folder: Path, made: Path, out: Path) -> None:
    """Wrong labels among crops of photographs, and what speaks for one."""
    rng = np.random.default_rng(1)
    names = model.outline.labels
    for source in [*map(str, sorted(folder.iterdir())), *(f"skimage:{name}" for name in OWN)]:
        said = int(xplain.predict(model, source).argmax())
        cropped(source, made / "train" / str(said), 12, (0.5, 0.9), rng)
    files = sorted((made / "train").rglob("*.jpg"))
    folders = sorted({one.parent for one in files})
    wrong = set()
    for n in rng.choice(len(files), round(0.05 * len(files)), replace=False):
        others = [one for one in folders if one != files[n].parent]
        moved = others[rng.integers(len(others))] / files[n].name
        files[n].rename(moved)
        wrong.add(f"{moved.parent.name}/{moved.name}")
    files = [str(one) for one in sorted((made / "train").rglob("*.jpg"))]
    print(len(files), "crops", len(folders), "classes", len(wrong), "in a wrong folder", len(names), "names")
    asked = [next(one for one in files if "coral_owl" in one), next(one for one in files if "coffee" in one)]
    for by in ("representer", "tracin"):
        start = time.process_time()
        found = xplain.see(model, "influence", files, asked=asked, by=by)
        first = [found.names[n] in wrong for n in found.doubtful(len(files))]
        hit = [sum(first[: k * len(wrong)]) / len(wrong) for k in (1, 2)]
        print(by, "found among as many and twice as many:", hit, found.facts)
        print(f"{time.process_time() - start:.1f} s of processor time")
        if by == "representer":
            found.strips(k=4, doubtful=14, tile=64).save(out / "influence.webp", quality=80, method=6)


def main() -> None:
    source, card, folder = sys.argv[1:4]
    out = Path(sys.argv[4]) if len(sys.argv) > 4 else HERE
    model = xplain.load(source, card=card)
    with tempfile.TemporaryDirectory() as made:
        concepts(model, Path(folder), Path(made), out)
        items(model, Path(folder), Path(made), out)


if __name__ == "__main__":
    main()
