"""The advice of messages of lenses on vectors, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from docs.advice_models import convolution
from PIL import Image

import xplain
from xplain.analyses.concepts import sensitivity
from xplain.analyses.dimension import dimension
from xplain.results import Embedding

Told = Callable[[Callable[[], Any]], str]

SPACES: dict[str, Callable[[Told, Path], Any]] = {}

ITEMS = np.random.default_rng(5).random((9, 3, 8, 8)).astype(np.float32)


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        SPACES[fragment] = case
        return case

    return keep


@advice("vectors are distinct; a dimension is estimated of at least {}. Give more items")
def _(told: Told, _folder: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    told(lambda: dimension(rows[:5]))
    dimension(rows, draws=3)


@advice("cannot tell two spaces apart; give at least {}.")
def _(told: Told, _folder: Path) -> None:
    said = told(lambda: xplain.see(convolution(), "compare", ITEMS[:5]))
    assert "at least 8" in said
    xplain.see(convolution(), "compare", ITEMS, draws=3)


@advice("has no one penultimate layer: {}. Name the layer to read{}: layer=.")
def _(told: Told, _folder: Path) -> None:
    import torch

    pooled = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    said = told(lambda: xplain.see(pooled, "embed", ITEMS))
    layer = said.partition("such as ")[2].partition(",")[0]
    xplain.see(pooled, "embed", ITEMS, layer=layer, positions="all")


@advice("The concept has {} beside {} random ones; give 2 of each.")
def _(told: Told, _folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 3))
    told(lambda: sensitivity(rows[:1], rows, rows, sets=2, draws=3, rng=rng))
    sensitivity(rows[:2], rows[2:], rows, sets=2, draws=3, rng=rng)


@advice("No item lies in a folder {}; besides it there are: {}. Name it by of=.")
def _(told: Told, _folder: Path) -> None:
    groups = ["red", "random", "cat"] * 3
    more: dict[str, Any] = {"groups": groups, "label": "1", "sets": 2, "draws": 9}
    assert "cat" in told(lambda: xplain.see(convolution(), "tcav", ITEMS, **more))
    xplain.see(convolution(), "tcav", ITEMS, of="cat", **more)


@advice("are needed; there are: {}. Name the random one by random=.")
def _(told: Told, _folder: Path) -> None:
    groups = ["red", "noise", "items"] * 3
    more: dict[str, Any] = {"groups": groups, "label": "1", "sets": 2, "draws": 9}
    assert "noise" in told(lambda: xplain.see(convolution(), "tcav", ITEMS, **more))
    xplain.see(convolution(), "tcav", ITEMS, random="noise", **more)


CONCEPTS: dict[str, Any] = {"label": "1", "of": "all", "concepts": 2, "patch": 4, "designs": 4}


@advice("Concepts are those of a class. Name it, by label=, as a name or a number.")
def _(told: Told, _folder: Path) -> None:
    more = {name: value for name, value in CONCEPTS.items() if name != "label"}
    told(lambda: xplain.see(convolution(), "craft", ITEMS, **more))
    xplain.see(convolution(), "craft", ITEMS, **CONCEPTS)


@advice("A concept is split at a layer before its own: give split= and below= both.")
def _(told: Told, _folder: Path) -> None:
    import torch

    deeper = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
    net = convolution(*deeper, torch.nn.Flatten(), torch.nn.Linear(4, 3))
    told(lambda: xplain.see(net, "craft", ITEMS, split="1", **CONCEPTS))
    xplain.see(net, "craft", ITEMS, split="1", below="1", parts=2, **CONCEPTS)


@advice("Name one of these by label=, or take all pictures: of='all'.")
def _(told: Told, _folder: Path) -> None:
    net = convolution()
    net[-1].bias.data[2] = 100.0  # everything is class 2
    said = told(lambda: xplain.see(net, "craft", ITEMS, **{**CONCEPTS, "of": "predicted"}))
    assert "they are 2 (9)" in said
    xplain.see(net, "craft", ITEMS, **{**CONCEPTS, "of": "predicted", "label": "2"})
    xplain.see(net, "craft", ITEMS, **CONCEPTS)


TRAINING: dict[str, Any] = {"labels": [0, 1, 2] * 3, "plant": 0}


@advice("Take the mean over positions, positions='mean', where the scores are a function of it, or name another layer")
def _(told: Told, _folder: Path) -> None:
    import torch

    ends = torch.nn.Conv2d(4, 3, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    wide = np.random.default_rng(5).random((9, 3, 65, 65)).astype(np.float32)
    told(lambda: xplain.see(convolution(*ends), "influence", wide, positions="all", **TRAINING))
    xplain.see(convolution(*ends), "influence", wide, positions="mean", **TRAINING)


@advice("Influence by the last layer needs what enters the last layer of weights: name it by layer=.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.see(convolution(), "influence", ITEMS, layer="1", positions="max", **TRAINING))
    xplain.see(convolution(), "influence", ITEMS, layer="3", **TRAINING)


@advice("Checkpoints are those of one training, read together: give them with by='tracin', of the items themselves.")
def _(told: Told, _folder: Path) -> None:
    more = {"checkpoints": [(convolution(), 0.1)], **TRAINING}
    told(lambda: xplain.see(convolution(), "influence", ITEMS, **more))
    xplain.see(convolution(), "influence", ITEMS, by="tracin", **more)


@advice("are asked for with one of them. Give the pictures themselves.")
def _(told: Told, folder: Path) -> None:
    from PIL import Image

    for n in range(4):
        (folder / str(n % 2)).mkdir(exist_ok=True)
        Image.fromarray((255 * ITEMS[n].transpose(1, 2, 0)).astype(np.uint8)).save(folder / str(n % 2) / f"{n}.png")
    files, there = [str(folder / str(n % 2) / f"{n}.png") for n in range(4)], {"card": {"mode": "RGB"}}
    xplain.see(convolution(), "embed", files, vectors=str(folder / "kept"), **there)
    moved = [one.replace(".png", "-moved.png") for one in files]
    for one, other in zip(files, moved, strict=True):
        Path(one).rename(other)
    told(lambda: xplain.see(convolution(), "influence", str(folder / "kept"), plant=0))
    xplain.see(convolution(), "influence", moved, plant=0, **there)


@advice("items that could be read. Give one for each, in their order, and leave out what cannot be read.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.see(convolution(), "influence", ITEMS, labels=[0, 1, 2], plant=0))
    xplain.see(convolution(), "influence", ITEMS, **TRAINING)


@advice("{} of {} have no label, such as {}: they lie in no folder. Give labels=, one for each item.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.see(convolution(), "influence", ITEMS, plant=0))
    xplain.see(convolution(), "influence", ITEMS, **TRAINING)


@advice("There are {} for {}. Give one for each, in their order.")
def _(told: Told, folder: Path) -> None:
    files = [str(folder / f"{n}.png") for n in range(6)]
    for n, name in enumerate(files):
        Image.fromarray(np.full((8, 8, 3), 40 * n, np.uint8)).save(name)
    card = {"mode": "RGB", "resize": [8, 8]}
    told(lambda: xplain.see(convolution(), "influence", files, card=card, plant=0, labels=[0, 1] * 4))
    xplain.see(convolution(), "influence", files, card=card, plant=0, labels=[0, 1] * 3, positions="mean")


@advice("Layer {} has {}, and concepts are at most as many. Give fewer with concepts={}, or name another layer.")
def _(told: Told, _folder: Path) -> None:
    more = {"label": "1", "of": "all", "patch": 4, "designs": 4}
    said = told(lambda: xplain.see(convolution(), "craft", ITEMS, concepts=100, **more))
    fewer = int(said.partition("concepts=")[2].partition(",")[0])
    xplain.see(convolution(), "craft", ITEMS, concepts=fewer, **more)


@advice("All items have the same label, so nothing tells one class from another. Give items of two.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.see(convolution(), "influence", ITEMS, labels=[1] * 9, plant=0))
    xplain.see(convolution(), "influence", ITEMS, labels=[1, 2, 1] * 3, plant=0)


def _kept(folder: Path, **more: Any) -> str:
    """Vectors of pictures in two folders, kept."""
    pictures = folder / "pictures"
    for k, name in enumerate(("dark", "light")):
        (pictures / name).mkdir(parents=True, exist_ok=True)
        for n in range(5):
            pixels = (ITEMS[n] * 90 + 90 * k + n).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(pixels).save(pictures / name / f"{n}.png")
    path = str(folder / f"kept-{len(list(folder.iterdir()))}")
    xplain.see(convolution(), "embed", str(pictures), card="unit", vectors=path, **more)
    return path


LAYER = {"layer": "1", "positions": "max"}


@advice("Masks need the layer's maps: give the pictures instead of vectors that were kept.")
def _(told: Told, folder: Path) -> None:
    masks = {"all": np.ones((10, 8, 8), bool)}
    kept = _kept(folder, **LAYER)
    told(lambda: xplain.see(convolution(), "dissect", kept, masks=masks))
    xplain.see(convolution(), "dissect", str(folder / "pictures"), masks=masks, layer="1", card="unit")


@advice("No picture lies where its vector says with the content that it had; give the pictures.")
def _(told: Told, folder: Path) -> None:
    kept = _kept(folder, **LAYER)
    (folder / "pictures").rename(folder / "moved")
    told(lambda: xplain.see(convolution(), "dissect", kept))
    xplain.see(convolution(), "dissect", str(folder / "moved"), layer="1", card="unit")


@advice("Vectors of layer {} are given more than once. Give one folder for each layer.")
def _(told: Told, folder: Path) -> None:
    kept, other = _kept(folder), _kept(folder, **LAYER)
    told(lambda: xplain.see(convolution(), "dimension", [kept, kept], draws=3))
    xplain.see(convolution(), "dimension", [kept, other], draws=3)


@advice("Vectors that were kept stand beside {}, which holds none. Give vectors alone, or the items")
def _(told: Told, folder: Path) -> None:
    kept = _kept(folder)
    told(lambda: xplain.see(convolution(), "dimension", [kept, str(folder / "pictures")], draws=3))
    xplain.see(convolution(), "dimension", kept, draws=3)


@advice("holds vectors, and lens {} looks at the items themselves: give these.")
def _(told: Told, folder: Path) -> None:
    kept = _kept(folder)
    said = told(lambda: xplain.see(convolution(), "activations", kept))
    assert "dimension" in said
    xplain.see(convolution(), "activations", str(folder / "pictures" / "dark" / "0.png"), card="unit")
    xplain.see(convolution(), "dimension", kept, draws=3)


@advice("True classes are not known of these items: put each class in a folder, and give labelled=True.")
def _(told: Told, folder: Path) -> None:
    kept = _kept(folder)
    told(lambda: xplain.see(convolution(), "map", kept, by="pca", colour="true"))
    assert xplain.see(convolution(), "map", kept, by="pca", colour="true", labelled=True).colour == "true"


@advice("is there already, and a Parquet file is written once. Choose another name, or a folder, which")
def _(told: Told, folder: Path) -> None:
    kept = _kept(folder)
    Embedding.of_folder(kept).to_parquet(folder / "vectors.parquet")
    again = {"card": "unit", "vectors": str(folder / "vectors.parquet")}
    told(lambda: xplain.see(convolution(), "embed", str(folder / "pictures"), **again))
    for other in ("others.parquet", "folder"):
        xplain.see(convolution(), "embed", str(folder / "pictures"), card="unit", vectors=str(folder / other))
