"""Draw the pictures of the page on attacks, with a real classifier.

python docs/site/draw_attacks.py MODEL CARD PICTURES     # MobileNetV2, its card and a folder; a minute
"""

from __future__ import annotations

import argparse
from pathlib import Path

from draw import keep
from PIL import Image

import xplain
from xplain.render import canvas

_SHOWN = 3
_HELD_OUT = ["skimage:chelsea", "skimage:coffee", "skimage:rocket", "skimage:astronaut"]


def fgsm(model: object, pictures: list[Path]) -> None:
    """One step of one whole number, and what Grad-CAM makes of it."""
    found = xplain.attack(model, pictures, "fgsm", epsilon="1/255")
    print(found)
    keep(found[:_SHOWN].render("attack", size=150), "attacked.webp")


def patch(model: object, pictures: list[Path]) -> None:
    """A patch of 64 pixels, and items that it was not made on."""
    found = xplain.attack(
        model, [*pictures, *_HELD_OUT], "patch", target="toaster", held_out=0.54, explain=None, seed=0
    )
    out, won = found.each["held out"], found.each["share of placements"]
    print(f"placements won: {won[~out].mean():.2f} of those it was made on, {won[out].mean():.2f} of those held out")
    shown = [n for n in range(len(found)) if out[n] and found.fooled[n]][:4]
    tiles = [("the patch", Image.fromarray(found.shared))]
    tiles += [(found.words_of(n)[1], Image.fromarray(found.after[n])) for n in shown]
    drawn = [canvas.column([canvas.words([words], 150), tile.resize((150, 150))], 2) for words, tile in tiles]
    keep(canvas.row(drawn, 8), "patch.webp")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "card", "pictures"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    loaded = xplain.load(asked.model, card=asked.card)
    files = sorted(asked.pictures.iterdir())
    fgsm(loaded, files)
    patch(loaded, files)
