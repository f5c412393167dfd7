"""What stands beside a map is true of maps of many items and of many classes too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xplain
from xplain.explainers.see import map as map_file
from xplain.render.palette import DISTINCT, colours_of

from .embedded import exported, module


@pytest.fixture(scope="module")
def atlas():
    items = np.random.default_rng(0).normal(size=(36, 3, 16, 16)).astype(np.float32)
    return xplain.see(exported(module()), "map", items, by="pca", groups=2)


def test_one_class_too_many_for_the_colours_is_named_all_the_same(atlas):
    for extra, told in ((1, f"class {len(DISTINCT)} (1)"), (2, "2 others (2)")):
        kinds = len(DISTINCT) + extra
        truth = tuple(f"class {n if n < kinds else n % 3}" for n in range(len(atlas)))
        assert colours_of(replace(atlas, truth=truth), "true").legend[-1][1] == told


@pytest.mark.parametrize(
    ("chance", "told"),
    [(0.001, "Of the nearest items 7.0% are near on the map"), (0.05, "hardly more neighbours than chance")],
)
def test_a_map_that_keeps_few_neighbours_of_many_items_is_not_called_chance(monkeypatch, chance, told):
    real = map_file.preservation

    def few(*given, **how):
        return replace(real(*given, **how), kept=0.07, chance=chance)

    monkeypatch.setattr(map_file, "preservation", few)
    items = np.random.default_rng(1).normal(size=(20, 3, 16, 16)).astype(np.float32)
    found = xplain.see(exported(module()), "map", items, by="pca", groups=1)
    assert told in " ".join(found.said)
