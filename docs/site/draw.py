"""Draw the pictures of the documentation's own pages (a feature's page may have a script of its own).

    python docs/site/draw.py            # all into docs/pictures, a minute

Nothing but the package is needed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import xplain
from xplain import demo
from xplain.render import montage

PICTURES = Path(__file__).resolve().parents[1] / "pictures"


def demonstration() -> None:
    """The front page's: three pictures whose cause is known, three methods."""
    model = xplain.load(demo.demo_model_path())
    scenes = [demo.demo_picture(name) for name in demo.SCENES]
    pictures, labels = [scene[0] for scene in scenes], [scene[2] for scene in scenes]
    methods: dict[str, dict[str, Any]] = {"occlusion": {}, "rise": {"samples": 2000}, "grad-cam": {}}
    found = [xplain.explain(model, pictures, name, target=labels, **options) for name, options in methods.items()]
    keep(montage(found, share=False, size=160), "demo.webp")


def bricks() -> None:
    """The first tutorial's."""
    model = xplain.load(demo.demo_model_path())
    picture, _, label = demo.demo_picture("brick-on-grass")
    found = xplain.explain(model, picture, "occlusion", target=label, patch=20, stride=10)
    keep(found.overlay(0), "bricks.webp")


def plots() -> None:
    """A beeswarm and a waterfall, side by side."""
    names = ["age", "income", "rent", "debt"]
    rows = {name: list(np.random.default_rng(k).normal(size=30)) for k, name in enumerate(names)}
    model = xplain.table(
        lambda t: [3 * a + i - 2 * r for a, i, r in zip(t["age"], t["income"], t["rent"], strict=True)], columns=rows
    )
    a = xplain.explain(model, rows, "exact-shapley", background=rows)
    drawn = [a.plot("beeswarm"), a.plot("waterfall", item=3)]
    keep(side_by_side([Image.open(io.BytesIO(one._repr_png_())) for one in drawn]), "plots.webp")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row on white."""
    paper = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "white")
    at = 0
    for picture in pictures:
        paper.paste(picture.convert("RGB"), (at, 0))
        at += picture.width
    return paper


def keep(picture: Image.Image, name: str) -> None:
    """A picture as a small file."""
    picture.convert("RGB").save(PICTURES / name, quality=80, method=6)


if __name__ == "__main__":
    demonstration()
    bricks()
    plots()
