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


def boxes() -> None:
    """Two things that one detector finds, each with its own map; needs torch."""
    import torch

    class Detector(torch.nn.Module):
        """Each cell of 16 x 16 pixels is a box, its colour is its class."""

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            colours = torch.nn.functional.avg_pool2d(x, 16).flatten(2)
            down, right = torch.meshgrid(torch.arange(8.0) * 16 + 8, torch.arange(8.0) * 16 + 8, indexing="ij")
            rows = torch.stack([right, down, torch.full_like(down, 16), torch.full_like(down, 16)]).flatten(1)
            return {"output0": torch.cat([rows.expand(len(x), -1, -1), (4 * colours - 2).sigmoid()], dim=1)}

    picture = np.full((128, 128, 3), 40, np.uint8)
    picture[32:48, 32:48, 1] = 250
    picture[80:96, 64:80, 2] = 230
    card = xplain.Card(labels=("cat", "dog", "owl"), scale=1 / 255)
    model = xplain.load(Detector().eval(), card=card, layout="NCHW")
    found = xplain.explain_many(model, picture, "rise", target="boxes:2", samples=2000, cells=8, baseline=0.15)
    keep(side_by_side([one.overlay(0) for one in found]), "boxes.webp")


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
    boxes()
