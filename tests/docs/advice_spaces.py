"""The advice of messages of lenses on vectors, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from docs.advice_models import convolution

import xplain
from xplain.analyses.concepts import sensitivity
from xplain.analyses.dimension import dimension

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


@advice("items say too little of two spaces; give at least {}.")
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


@advice("items of the concept and {} random ones; give 2 of each.")
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
